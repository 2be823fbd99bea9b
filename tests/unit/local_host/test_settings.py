from __future__ import annotations

import json

import pytest

from local_host.settings import (
    DEFAULT_BODY_LIMIT,
    HostError,
    body_limit,
    load_host_settings,
    resolve_connection,
    resolve_names,
    seconds,
)


def host_json(tmp_path, document):
    path = tmp_path / "host.json"
    path.write_text(json.dumps(document))
    return load_host_settings(path)


def test_without_host_json_the_defaults_are_the_real_hosts(tmp_path):
    settings = load_host_settings(tmp_path / "host.json")
    assert settings.route_prefix == "api"
    assert settings.function_timeout_s == 1800
    assert settings.queues.batch_size == 16
    assert settings.queues.max_dequeue_count == 5
    assert settings.queues.visibility_timeout_s == 0
    assert settings.queues.max_polling_interval_s == 60
    assert settings.queues.base64


def test_host_json_is_obeyed(tmp_path):
    settings = host_json(
        tmp_path,
        {
            "functionTimeout": "00:00:02",
            "extensions": {
                "http": {"routePrefix": ""},
                "queues": {
                    "batchSize": 8,
                    "newBatchThreshold": 4,
                    "visibilityTimeout": "00:00:30",
                    "maxPollingInterval": "00:00:05",
                    "messageEncoding": "none",
                },
                "blobs": {"maxDegreeOfParallelism": 3, "poisonBlobThreshold": 2},
            },
        },
    )
    assert settings.route_prefix == ""
    assert settings.function_timeout_s == 2
    assert (settings.queues.batch_size, settings.queues.new_batch_threshold) == (8, 4)
    assert settings.queues.visibility_timeout_s == 30
    assert settings.queues.max_polling_interval_s == 5
    assert not settings.queues.base64
    assert (settings.blobs.parallelism, settings.blobs.poison_threshold) == (3, 2)


def test_the_projects_own_host_json_can_be_read():
    from devtools.process import ROOT

    assert load_host_settings(ROOT / "host.json").route_prefix == ""


@pytest.mark.parametrize(
    "queues", [{"batchSize": 0}, {"batchSize": 33}, {"messageEncoding": "utf8"}]
)
def test_what_the_real_host_refuses_is_refused(tmp_path, queues):
    with pytest.raises(HostError):
        host_json(tmp_path, {"extensions": {"queues": queues}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("00:10:00", 600), ("1.00:00:01", 86_401), ("00:00:00.5", 0.5), ("00:00:05", 5)],
)
def test_time_spans(text, expected):
    assert seconds(text) == expected


def test_a_time_span_that_is_none_is_refused():
    with pytest.raises(HostError):
        seconds("5 minutes")


def test_no_timeout(tmp_path):
    assert host_json(tmp_path, {"functionTimeout": "-1"}).function_timeout_s is None


def test_names_between_percent_signs_are_settings():
    assert resolve_names("%A%-x/%B%", {"A": "1", "B": "2"}) == "1-x/2"
    with pytest.raises(HostError, match="the app setting A, which is not set"):
        resolve_names("%A%", {})


def test_a_connection_is_a_connection_string_by_name_or_by_short_name():
    assert resolve_connection("X", {"X": "a=b"}).connection_string == "a=b"
    assert resolve_connection("X", {"AzureWebJobsX": "a=b"}).connection_string == "a=b"
    assert resolve_connection(None, {"AzureWebJobsStorage": "a=b"}).connection_string == "a=b"
    assert resolve_connection("", {"AzureWebJobsStorage": "a=b"}).connection_string == "a=b"


def test_a_connection_may_be_a_group_of_addresses():
    group = {"X__blobServiceUri": "b", "X__queueServiceUri": "q", "X__clientId": "c"}
    found = resolve_connection("X", group)
    assert (found.blob_uri, found.queue_uri, found.client_id) == ("b", "q", "c")
    assert resolve_connection("X", {**group, "X": "a=b"}).connection_string == "a=b"


def test_development_storage_is_azurite_at_its_usual_ports():
    found = resolve_connection("X", {"X": "UseDevelopmentStorage=true"}).connection_string
    assert found is not None
    assert "127.0.0.1:10001" in found


def test_an_absent_connection_is_named():
    with pytest.raises(HostError, match="the connection X is not set"):
        resolve_connection("X", {})


def test_the_body_limit_is_the_setting_or_the_real_hosts():
    assert body_limit({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "5"}) == 5
    assert body_limit({"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "x"}) == DEFAULT_BODY_LIMIT
    assert body_limit({}) == DEFAULT_BODY_LIMIT == 100 * 1024 * 1024

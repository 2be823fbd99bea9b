"""The key in the vault, and event subscriptions, against a Resource Manager on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.hooks import events, vault
from infra.hooks.azd import Deployment, HookStopped
from infra.hooks.postdeploy import work
from infra.hooks.rest import Rest
from shared.config import _secrets_keys
from tests.support.cloud import GROUP, TOKEN

SITE = {
    "site": "func-1",
    "address": "https://func-1.azurewebsites.net",
    "topic": "evgt-1",
}
_GOLDEN = Path(__file__).parents[2] / "contract" / "golden" / "bindings.json"


# The key ----------------------------------------------------------------------------------


def test_a_key_is_made_once_and_is_one_that_the_app_takes(cloud, rest, capsys):
    assert vault.ensure_key(rest, GROUP, "kv-1")
    key = cloud.secrets["dicom-secrets-key"]
    assert _secrets_keys({"DICOM_SECRETS_KEY": key}) == (key,)
    assert not vault.ensure_key(rest, GROUP, "kv-1")
    assert cloud.secrets["dicom-secrets-key"] == key
    out = capsys.readouterr()
    assert key not in out.out + out.err


def test_two_deployments_have_two_keys(cloud, rest):
    vault.ensure_key(rest, GROUP, "kv-1")
    first = cloud.secrets.pop("dicom-secrets-key")
    vault.ensure_key(rest, GROUP, "kv-1")
    assert cloud.secrets["dicom-secrets-key"] != first


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_without_rights_it_shows_what_to_run(cloud, rest, method):
    cloud.refused = [(method, "KeyVault")]
    with pytest.raises(HookStopped, match="az keyvault secret set --vault-name kv-1") as stopped:
        vault.ensure_key(rest, GROUP, "kv-1")
    assert "--output none" in str(stopped.value)  # or az would print the key
    assert cloud.secrets == {}


def test_a_deleted_key_is_to_be_taken_back(cloud, rest):
    cloud.deleted_secrets.add("dicom-secrets-key")
    with pytest.raises(HookStopped, match="az keyvault secret recover"):
        vault.ensure_key(rest, GROUP, "kv-1")


# Events -----------------------------------------------------------------------------------


def test_each_blob_triggered_function_is_subscribed(cloud, rest):
    cloud.system_keys = {"blobs_extension": "k/+="}
    cloud.subscription_states = ["Creating", "Succeeded"]
    made = events.subscribe(rest, GROUP, tenants=("main", "ward-2"), **SITE)
    assert made == list(cloud.subscriptions)
    assert set(made) == {
        "index-blob-main", "import-blob-main", "index-blob-ward-2", "import-blob-ward-2",
    }  # fmt: skip
    one = cloud.subscriptions["index-blob-ward-2"]
    assert one["filter"]["subjectBeginsWith"] == (
        "/blobServices/default/containers/dicom-ward-2/blobs/instances/"
    )
    assert one["filter"]["includedEventTypes"] == ["Microsoft.Storage.BlobCreated"]
    address = urlsplit(one["destination"]["properties"]["endpointUrl"])
    assert f"{address.scheme}://{address.netloc}" == SITE["address"]
    assert address.path == "/runtime/webhooks/blobs"
    assert parse_qs(address.query) == {
        "functionName": ["Host.Functions.index_blob_ward_2"], "code": ["k/+="],
    }  # fmt: skip


def test_what_is_subscribed_are_functions_of_the_app():
    golden = json.loads(_GOLDEN.read_text("utf-8"))
    paths = {
        name: trigger["path"]
        for name, bindings in golden.items()
        for trigger in bindings
        if trigger["type"] == "blobTrigger"
    }
    subscribed = {
        function: subject.removeprefix("/blobServices/default/containers/").replace("/blobs/", "/")
        for function, subject in events.subscriptions(("main",)).values()
    }
    assert {name: f"{start}{{name}}" for name, start in subscribed.items()} == paths


def test_it_waits_for_the_key_of_a_host_that_has_just_started(cloud):
    pauses = []

    def start(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            cloud.system_keys["blobs_extension"] = "key"

    rest = Rest(cloud.url, lambda: TOKEN, pause=start)
    events.subscribe(rest, GROUP, tenants=("main",), **SITE)
    assert len(pauses) == 3


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({}, "no key blobs_extension"),
        ({"system_keys": {"blobs_extension": "secret-1"}, "states": ["Failed"]}, "handshake"),
        ({"system_keys": {"blobs_extension": "secret-1"}, "states": ["Creating"]}, "ten minutes"),
        ({"refused": [("POST", "listKeys")]}, "Website Contributor"),
        (
            {"system_keys": {"blobs_extension": "secret-1"}, "refused": [("PUT", "EventGrid")]},
            "EventGrid Contributor",
        ),
    ],
)
def test_what_stops_it_is_said_and_the_key_is_not(cloud, rest, capsys, trouble, said):
    cloud.system_keys = trouble.get("system_keys", {})
    cloud.refused = trouble.get("refused", [])
    cloud.subscription_states = trouble.get("states", ["Succeeded"])
    with pytest.raises(HookStopped, match=said) as stopped:
        events.subscribe(rest, GROUP, tenants=("main",), **SITE)
    out = capsys.readouterr()
    assert "secret-1" not in str(stopped.value) + out.out + out.err


ENVIRONMENT = {
    "SERVICE_API_URI": "http://127.0.0.1:9/",
    "SERVICE_API_NAME": "func-1",
    "AZURE_SUBSCRIPTION_ID": "s-1",
    "AZURE_RESOURCE_GROUP": "rg-dicom",
    "DICOM_BLOB_EVENT_TOPIC": "evgt-1",
    "DICOM_SMOKE_TEST": "off",
}


def test_with_a_queue_for_events_nothing_is_subscribed(cloud, rest, capsys):
    work(ENVIRONMENT, rest, lambda: "token")
    assert cloud.requests == []
    assert "http://127.0.0.1:9/main/v2\n" in capsys.readouterr().out


def test_with_blob_triggers_it_subscribes_and_prints_no_key(cloud, rest, capsys):
    cloud.system_keys = {"blobs_extension": "secret-1"}
    work({**ENVIRONMENT, "DICOM_BLOB_EVENTS": "blobTrigger"}, rest, lambda: "token")
    out = capsys.readouterr().out
    assert "index-blob-main" in out
    assert "secret-1" not in out


def test_a_service_that_does_not_answer_stops_it(rest):
    with pytest.raises(HookStopped, match=r"answers nothing \(ConnectError\)"):
        work({**ENVIRONMENT, "DICOM_SMOKE_TEST": ""}, rest, lambda: "token", patience_s=0)


def test_a_variable_that_lacks_is_named():
    with pytest.raises(HookStopped, match="SERVICE_API_URI is not set"):
        Deployment({})["SERVICE_API_URI"]

"""Spans and metrics of the running service, by an SDK that writes them to files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import dicom
from tests.support.patients import PATIENT
from tests.support.requests import DICOM
from tests.support.server import Server
from tests.support.store_client import WHOLE, path_of

_APP = Path(dicom.__file__).parent / "traced_app"
_TRACE = "0af7651916cd43dd8448eb211c80319c"
_NAME, _ID = "Telemetry^Patient", "SECRET-ID"
_EXPORTED_S = 30.0


@dataclass(slots=True)
class Traced:
    base: str
    folder: Path
    ds: Any
    answers: list[httpx.Response]

    def spans(self) -> list[dict[str, Any]]:
        text = (self.folder / "spans.jsonl").read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def metrics(self) -> dict[str, Any]:
        """The last points of each metric."""
        text = (self.folder / "metrics.jsonl").read_text("utf-8")
        found = {}
        for line in text.splitlines():
            for resource in json.loads(line)["resource_metrics"]:
                for scope in resource["scope_metrics"]:
                    for one in scope["metrics"]:
                        found[one["name"]] = one["data"]["data_points"]
        return found

    def text(self) -> str:
        return "".join(path.read_text("utf-8") for path in self.folder.iterdir())


@pytest.fixture(scope="module")
def traced(
    new_account: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Traced]:
    data = tmp_path_factory.mktemp("traced")
    environment = {"TRACES": str(data / "traces"), "DICOM_SWEEP_SCHEDULE": "* * * * * *"}
    with Server(
        connection=new_account(), data=data, app=_APP, seed=True, environment=environment
    ) as server:
        base = f"{server.base_url}/main/v2"
        ds = dicom.ct(PatientName=_NAME, PatientID=_ID)
        parent = {"traceparent": f"00-{_TRACE}-b7ad6b7169203331-01"}
        with httpx.Client(timeout=60) as http:
            answers = [
                http.post(f"{base}/studies", content=dicom.part10(ds), headers=DICOM | parent),
                http.get(f"{base}/studies?PatientName={_NAME}&PatientID={_ID}"),
                http.get(f"{base}{path_of(ds)}", headers=WHOLE),
                http.get(f"{base}{path_of(ds)}/metadata"),
                http.get(f"{base}/changefeed"),
                http.post(f"{base}/studies", content=f"{_NAME} {_ID}".encode(), headers=DICOM),
                http.delete(f"{base}{path_of(ds)}"),
            ]
        yield Traced(base, data / "traces", ds, answers)


def test_a_request_its_use_case_and_its_calls_are_one_trace(traced: Traced) -> None:
    assert [answer.status_code for answer in traced.answers] == [200, 200, 200, 200, 200, 409, 204]
    mine = [one for one in traced.spans() if one["context"]["trace_id"] == f"0x{_TRACE}"]
    by_name = {one["name"]: one for one in mine}
    request, use_case, put = by_name["store"], None, by_name["blob PUT"]
    for one in mine:
        if one["name"] == "store" and one["kind"] == "SpanKind.SERVER":
            request = one
        elif one["name"] == "store":
            use_case = one
    assert use_case is not None
    assert use_case["parent_id"] == request["context"]["span_id"]
    assert put["parent_id"] == use_case["context"]["span_id"]
    assert request["attributes"]["http.response.status_code"] == 200
    correlation = traced.answers[0].headers["x-correlation-id"]
    assert request["attributes"]["dicom.correlation_id"] == correlation
    assert put["attributes"]["http.request.body.size"] == len(dicom.part10(traced.ds))


def test_metrics_count_what_was_done(traced: Traced) -> None:
    wanted = {
        "dicom.store.instances", "dicom.store.bytes", "dicom.call.duration", "dicom.feed.lag",
        "dicom.cache",
    }  # fmt: skip
    deadline = time.monotonic() + _EXPORTED_S
    while not wanted <= traced.metrics().keys():
        assert time.monotonic() < deadline, sorted(traced.metrics())
        time.sleep(0.1)
    found = traced.metrics()
    counts = {
        one["attributes"].get("outcome"): one["value"] for one in found["dicom.store.instances"]
    }
    assert counts == {"stored": 1, "refused": 1}
    assert found["dicom.store.bytes"][0]["value"] == len(dicom.part10(traced.ds))
    assert {one["attributes"]["service"] for one in found["dicom.call.duration"]} >= {
        "blob",
        "table",
    }


def test_nothing_of_a_patient_is_exported(traced: Traced) -> None:
    text = traced.text()
    assert PATIENT.search(text) is None
    for value in (_NAME, "Telemetry", _ID, traced.ds.StudyInstanceUID, traced.ds.SOPInstanceUID):
        assert str(value) not in text


def test_every_response_names_its_trace(traced: Traced) -> None:
    for answer in traced.answers:
        assert answer.headers["x-correlation-id"]

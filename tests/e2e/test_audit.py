"""The record of each access: who, what, with which outcome, and nothing of a patient."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.support import dicom
from tests.support.house import READER, House
from tests.support.requests import DICOM
from tests.support.server import Server

AS_STORED = {"Accept": "application/dicom; transfer-syntax=*"}
_PREFIX = "X-MS-AZUREDICOM-AUDIT-"


def _store(house: House, ds: dicom.Dataset, path: str = "/main/v2/studies") -> httpx.Response:
    answer = house.http.post(path, content=dicom.part10(ds), headers=house.headers() | DICOM)
    assert answer.status_code == 200, answer.text
    return answer


def _levels(ds: dicom.Dataset) -> list[str]:
    study = f"/main/v2/studies/{ds.StudyInstanceUID}"
    series = f"{study}/series/{ds.SeriesInstanceUID}"
    return [study, series, f"{series}/instances/{ds.SOPInstanceUID}"]


def _check(
    house: House, answer: httpx.Response, action: str, status: int, path: str
) -> dict[str, Any]:
    """The two entries of a request that came in. The second is returned."""
    assert answer.status_code == status
    entries = house.entries(answer.headers["x-correlation-id"])
    assert [one["ActionType"] for one in entries] == ["Executing", "Executed"]
    first, last = entries
    assert "StatusCode" not in first
    assert last["StatusCode"] == status
    for entry in entries:
        assert entry["Action"] == action
        assert entry["RequestUri"] == f"{house.server.base_url}{path}"
        assert entry["EventType"] == "AuditEvent"
        assert entry["CallerIpAddress"] == "127.0.0.1"
        assert entry["Authority"] == house.issuer.url
        assert entry["Audience"] == f"{house.server.base_url}/main"
        assert f"iss={house.issuer.url};sub=subject" in entry["Claims"]
        assert entry["Resource"]["tenant"] == "main"
    return last


@pytest.mark.spec("partitions-and-security", 25, 26)
def test_retrieval(house: House) -> None:
    ds = dicom.multi_frame(frames=2)
    _store(house, ds)
    headers = house.headers(roles=READER)
    levels = _levels(ds)
    for path in levels:
        accept = headers | {
            "Accept": "multipart/related; type=application/dicom; transfer-syntax=*"
        }
        answer = house.http.get(path, headers=accept)
        entry = _check(house, answer, "retrieve", 200, path)
        assert entry["ResponseBytes"] == len(answer.content)
        assert entry["Complete"] is True
        assert entry["ResultType"] == "Succeeded"
        assert entry["DurationMs"] > 0
        metadata = house.http.get(f"{path}/metadata", headers=headers)
        _check(house, metadata, "retrieve-metadata", 200, f"{path}/metadata")
    frame = f"{levels[2]}/frames/1"
    answer = house.http.get(
        frame, headers=headers | {"Accept": "application/octet-stream; transfer-syntax=*"}
    )
    entry = _check(house, answer, "retrieve", 200, frame)
    assert entry["Resource"] == {
        "tenant": "main",
        "version": "2",
        "study": ds.StudyInstanceUID,
        "series": ds.SeriesInstanceUID,
        "instance": ds.SOPInstanceUID,
        "frames": "1",
    }
    rendered = house.http.get(f"{levels[2]}/rendered", headers=headers)
    _check(house, rendered, "retrieve-rendered", 200, f"{levels[2]}/rendered")


@pytest.mark.spec("partitions-and-security", 27)
def test_a_search_is_recorded_without_what_was_looked_for(house: House) -> None:
    """Names of parameters only, where the Azure service writes the whole query."""
    answer = house.http.get(
        "/main/v2/studies?StudyDate=20200101&00100020=SECRET&limit=1&SECRET=1",
        headers=house.headers(),
    )
    assert answer.status_code == 400
    answer = house.http.get("/main/v2/studies?StudyDate=20200101&limit=1", headers=house.headers())
    entry = _check(house, answer, "query", 204, "/main/v2/studies?StudyDate=*&limit=*")
    assert "20200101" not in json.dumps(entry)


@pytest.mark.spec("partitions-and-security", 28)
@pytest.mark.spec("change-feed", 30)
def test_the_feed(house: House) -> None:
    _store(house, dicom.ct())
    for path in ("/main/v2/changefeed", "/main/v2/changefeed/latest"):
        answer = house.http.get(path, headers=house.headers())
        _check(house, answer, "change-feed", 200, path)


@pytest.mark.spec("partitions-and-security", 29, 30)
def test_store_and_deletion(house: House) -> None:
    for level in range(3):
        ds = dicom.ct()
        url = f"/main/v2/studies/{ds.StudyInstanceUID}"
        stored = _store(house, ds, url)
        entry = _check(house, stored, "store", 200, url)
        assert entry["RequestBytes"] == len(dicom.part10(ds))
        assert entry["Resource"]["studies"] == ds.StudyInstanceUID
        path = _levels(ds)[level]
        deleted = house.http.delete(path, headers=house.headers())
        _check(house, deleted, "delete", 204, path)


@pytest.mark.spec("operations", 44)
def test_operations(house: House) -> None:
    ds = dicom.ct()
    _store(house, ds)
    bad = {"source": {}, "destination": {}}
    refused = house.http.post("/main/v2/export", json=bad, headers=house.headers())
    _check(house, refused, "export", 400, "/main/v2/export")
    asked = {
        "studyInstanceUids": [ds.StudyInstanceUID],
        "changeDataset": {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "New"}]}},
    }
    path = "/main/v2/studies/$bulkUpdate"
    started = house.http.post(path, json=asked, headers=house.headers())
    _check(house, started, "update-study", 202, path)
    path = f"/main/v2/operations/{started.json()['id']}"
    deadline = time.monotonic() + 30
    while (answer := house.http.get(path, headers=house.headers(roles=READER))).status_code == 202:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    _check(house, answer, "operation", 200, path)
    entries = house.entries(started.json()["id"])
    assert {one["Action"] for one in entries} == {"update-study-operation"}
    assert [one["ActionType"] for one in entries] == ["Executing", "Executed"]
    assert entries[1]["StatusCode"] == 200


def test_operators_are_on_record_too(house: House) -> None:
    answer = house.http.get("/tenants/main", headers=house.as_admin())
    entries = house.entries(answer.headers["x-correlation-id"])
    assert [(one["Action"], one["ActionType"]) for one in entries] == [
        ("tenant", "Executing"),
        ("tenant", "Executed"),
    ]
    started = house.http.post("/main/v2/$reconcile", json={}, headers=house.headers())
    _check(house, started, "reconcile", 202, "/main/v2/$reconcile")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/main/v2/studies", None, 401),
        ("/main/v2/studies", {"exp": 1}, 401),
        ("/main/v2/studies", {"roles": []}, 403),
        ("/unknown/v2/studies", {}, 404),
        ("/paused/v2/studies", {"aud": "paused"}, 403),
    ],
)
def test_who_stays_outside_is_on_record_once(
    house: House, path: str, headers: Mapping[str, Any] | None, status: int
) -> None:
    if headers is not None and headers.get("aud") == "paused":
        headers = {"aud": f"{house.server.base_url}/paused"}
    answer = house.http.get(path, headers={} if headers is None else house.headers(**headers))
    assert answer.status_code == status
    [entry] = house.entries(answer.headers["x-correlation-id"])
    assert (entry["ActionType"], entry["StatusCode"]) == ("Executed", status)
    assert entry["ResultType"] == "Failed"
    assert bool(entry["Claims"]) == (status == 403 and path.startswith("/main"))


def test_health_and_descriptions_are_no_accesses(house: House) -> None:
    before = house.audit.read_text("utf-8").count("\n")
    for path in ("/health/check", "/v2/api.json", "/nowhere"):
        house.http.get(path)
    house.http.options("/main/v2/studies")
    assert house.audit.read_text("utf-8").count("\n") == before


@pytest.mark.spec("partitions-and-security", 32)
def test_what_callers_add(house: House) -> None:
    def search(extra: Mapping[str, str]) -> httpx.Response:
        return house.http.get(
            "/main/v2/studies?PatientID=none", headers=house.headers() | dict(extra)
        )

    ten = {f"{_PREFIX}N{number}": str(number) for number in range(10)}
    answer = search(ten)
    assert answer.status_code == 204
    for entry in house.entries(answer.headers["x-correlation-id"]):
        assert entry["CustomHeaders"] == {name.lower(): value for name, value in ten.items()}
    longest = search({f"{_PREFIX}Study": "x" * 2048})
    assert longest.status_code == 204
    for refused in (ten | {f"{_PREFIX}More": "1"}, {f"{_PREFIX}Study": "x" * 2049}):
        answer = search(refused)
        assert (answer.status_code, "X-MS-AZUREDICOM-AUDIT-" in answer.text) == (400, True)
        [entry] = house.entries(answer.headers["x-correlation-id"])
        assert (entry["StatusCode"], entry["CustomHeaders"]) == (400, {})


def test_an_answer_that_was_cut_off_is_on_record(house: House) -> None:
    ds = dicom.ct()
    ds.add_new(0x00291010, "OB", b"\0" * 20_000_000)
    ds.add_new(0x00290010, "LO", "TEST")
    _store(house, ds)
    instance = _levels(ds)[2]
    request = f"GET {instance} HTTP/1.1\r\nHost: x\r\n"
    for name, value in (house.headers() | AS_STORED).items():
        request += f"{name}: {value}\r\n"
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=30) as connection:
        connection.sendall(f"{request}\r\n".encode())
        head = connection.recv(4096).decode("latin-1").lower()
        assert head.startswith("http/1.1 200")
    correlation = head.partition("x-correlation-id: ")[2].partition("\r\n")[0]
    entry = house.entries(correlation)[-1]
    assert entry["Complete"] is False
    assert entry["ResultType"] == "Failed"
    assert entry["ResponseBytes"] < 20_000_000


def test_a_store_whose_client_went_away_is_on_record(house: House) -> None:
    ds = dicom.ct()
    path = f"/main/v2/studies/{ds.StudyInstanceUID}"
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
    for name, value in (house.headers() | DICOM).items():
        request += f"{name}: {value}\r\n"
    with socket.create_connection(("127.0.0.1", house.server.port), timeout=30) as connection:
        connection.sendall(f"{request}\r\n".encode() + dicom.part10(ds)[:500])
    entries = house.entries_of(lambda one: one.get("RequestUri", "").endswith(path))
    assert [one["ActionType"] for one in entries] == ["Executing", "Executed"]
    assert entries[1]["StatusCode"] == 400


def test_the_record_and_the_logs_have_nothing_of_a_patient(house: House) -> None:
    ds = dicom.ct(PatientName="Secret^Person", PatientID="SECRET-1")
    _store(house, ds)
    study = _levels(ds)[0]
    for path in (
        f"{study}/metadata",
        "/main/v2/studies?PatientID=SECRET-1&PatientName=Secret*",
        "/main/v2/studies?PatientID=SECRET-1&limit=SECRET",
        "/main/v2/studies/SECRET-1",
        "/main/v2/partitions/SECRET%201/studies",
        f"{study}/series/SECRET-1/instances/SECRET-2/frames/SECRET",
        f"{study}/series/1.2/instances/1.3/bulkdata/SECRET",
        "/main/v2/operations/SECRET",
    ):
        answer = house.http.get(path, headers=house.headers())
        house.entries(answer.headers["x-correlation-id"])
        if answer.status_code >= 400:
            assert "SECRET" not in answer.text.upper()
    assert "SECRET" not in house.audit.read_text("utf-8").upper()
    assert "SECRET" not in house.server.log_text().upper()
    assert "eyJ" not in house.server.log_text(), "no token"


def test_the_record_is_the_same_under_the_worker_library(
    server: Server, http: httpx.Client
) -> None:
    ds = dicom.ct()
    stored = http.post("/studies", content=dicom.part10(ds), headers=DICOM)
    metadata = http.get(f"/studies/{ds.StudyInstanceUID}/metadata")
    for answer, action in ((stored, "store"), (metadata, "retrieve-metadata")):
        assert answer.status_code == 200
        correlation = answer.headers["x-correlation-id"]
        deadline = time.monotonic() + 10
        entries: list[dict[str, Any]] = []
        while len(entries) < 2 and time.monotonic() < deadline:
            lines = server.log_text().splitlines()
            found = [line.partition(" audit ")[2] for line in lines if " audit {" in line]
            entries = [one for one in map(json.loads, found) if one["CorrelationId"] == correlation]
        assert [one["ActionType"] for one in entries] == ["Executing", "Executed"]
        assert entries[1]["Action"] == action
        assert entries[1]["Complete"] is True

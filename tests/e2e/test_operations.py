"""Operations over HTTP (spec operations.md §1, §2)."""

from __future__ import annotations

import time
import uuid

import httpx
import pytest

from shared.ports import JsonObject
from tests.support import dicom

DICOM = {"Content-Type": "application/dicom"}
_SECONDS = 60.0


def _ended(href: str) -> JsonObject:
    """The operation when it is over; until then each answer is 202 with its own address."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        answer = httpx.get(href)
        if answer.status_code == 200:
            assert "Location" not in answer.headers
            body: JsonObject = answer.json()
            return body
        assert answer.status_code == 202
        assert answer.headers["Location"] == href
        assert answer.json()["status"] in ("notStarted", "running")
        time.sleep(0.1)
    raise AssertionError("the operation did not end")


@pytest.mark.spec("operations", 36, 37, 39)
def test_an_operation_from_start_to_end(http: httpx.Client) -> None:
    http.post("/studies", content=dicom.part10(dicom.ct()), headers=DICOM).raise_for_status()
    started = http.post("/$reconcile", json={"repair": False})
    assert started.status_code == 202
    href, id_ = started.json()["href"], started.json()["id"]
    assert started.headers["Location"] == href
    assert href == f"{str(http.base_url).rstrip('/')}/operations/{id_}"
    assert id_ == uuid.UUID(id_).hex
    body = _ended(href)
    assert body["status"] == "succeeded"
    assert body["type"] == "reconcile"
    assert body["operationId"] == id_
    assert body["createdTime"].endswith("Z")
    assert body["createdTime"] <= body["lastUpdatedTime"]
    assert body["percentComplete"] == 100
    assert body["results"]["indexed"] >= 1
    assert "filesMissing" not in body["results"]
    assert httpx.get(href.replace("/v2/", "/v1/")).json()["status"] == "completed"
    for spelling in (str(uuid.UUID(id_)), id_.upper(), f"{{{uuid.UUID(id_)}}}"):
        assert http.get(f"/operations/{spelling}").json() == body
    assert body in http.get("/operations", params={"limit": 200}).json()
    again = http.post(f"/operations/{id_}/$cancel")
    assert again.status_code == 409
    assert "succeeded" in again.text


@pytest.mark.spec("operations", 38)
def test_unknown_operations(http: httpx.Client) -> None:
    for id_ in (uuid.uuid4().hex, "abc", "claim|reconcile"):
        assert http.get(f"/operations/{id_}").status_code == 404
        assert http.post(f"/operations/{id_}/$cancel").status_code == 404


def test_an_operation_is_not_seen_by_another_tenant(
    http: httpx.Client, tenants: tuple[str, str]
) -> None:
    href = http.post("/$reconcile", json={}).headers["Location"]
    assert httpx.get(href.replace(tenants[0], tenants[1])).status_code == 404
    assert _ended(href)["status"] == "succeeded"


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"repair":1}', b'{"mend":true}', b"[" * 9000])
def test_bad_bodies_start_nothing(http: httpx.Client, body: bytes) -> None:
    before = http.get("/operations").json()
    assert http.post("/$reconcile", content=body).status_code == 400
    assert len(http.get("/operations").json()) == len(before)
    for query in ("limit=0", "limit=201", "offset=-1", "limit=x"):
        assert http.get(f"/operations?{query}").status_code == 400

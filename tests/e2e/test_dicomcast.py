"""DICOMcast over HTTP: the service, Azurite, and a real FHIR server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import dicom
from tests.support.fhir import FhirServer
from tests.support.requests import DICOM
from tests.support.server import Server

JSON = {"Content-Type": "application/json"}
_SECONDS = 40.0


@pytest.fixture
def served(
    new_account: Callable[[], str], fhir: FhirServer, tmp_path: Path
) -> Iterator[httpx.Client]:
    """A client of version 2 of a tenant that has a FHIR server."""
    cast = {"main": {"fhirUrl": fhir.url, "patientSystem": "urn:hospital"}}
    environment = {
        "DICOM_TENANTS": "main,other",
        "DICOM_CAST": json.dumps(cast),
        "DICOM_CAST_SCHEDULE": "* * * * * *",
    }
    with (
        Server(
            connection=new_account(), data=tmp_path / "data", seed=True, environment=environment
        ) as server,
        httpx.Client(base_url=f"{server.base_url}/main/v2", timeout=60) as client,
    ):
        yield client
        for personal in ("T-001", "Test^Alpha", "19700203"):
            assert personal not in server.log_text()


def _until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come to it")


def test_from_a_store_into_fhir_and_what_operators_see(
    served: httpx.Client, fhir: FhirServer
) -> None:
    ds = dicom.ct()
    study = str(ds.StudyInstanceUID)

    # what FHIR refuses is a row, until a retry succeeds
    issue = {"severity": "error", "code": "invalid"}
    fhir.answer({"resourceType": "OperationOutcome", "issue": [issue]}, status=422)
    served.post("/studies", content=dicom.part10(ds), headers=DICOM).raise_for_status()
    (row,) = _until(lambda: served.get("/fhir/failures").json())
    assert row["studyInstanceUid"] == study
    assert (row["kind"], row["sequence"], row["partitionName"]) == ("fhir", 1, "Microsoft.Default")
    assert "422" in row["cause"]
    assert served.get("/fhir").json() == {
        "enabled": True, "trouble": None, "sentSequence": 1, "latestSequence": 1, "behind": 0,
    }  # fmt: skip
    assert served.post("/fhir/failures/$retry").json() == {"studies": 1}
    (found,) = _until(lambda: fhir.all("ImagingStudy"))
    assert found["identifier"][0]["value"] == f"urn:oid:{study}"
    _until(lambda: served.get("/fhir/failures").json() == [])

    # what FHIR lost comes again
    fhir.reset()
    answer = served.post("/fhir/$resync")
    assert answer.status_code == 202, answer.text
    _until(lambda: fhir.all("ImagingStudy"))
    href = answer.headers["Location"]
    _until(lambda: httpx.get(href).json()["status"] == "succeeded")
    assert httpx.get(href).json()["results"] == {"studies": 1, "notInArchive": 0}
    assert served.post(f"/studies/{study}/$resync").json() == {"study": study}
    assert served.post("/fhir/$replay", json={"sequence": 2}).status_code == 202

    # away: changes wait, and the state says why
    fhir.trouble(count=10**9, status=403)
    assert "403" in served.get("/fhir").json()["trouble"]
    fhir.trouble()
    _asked_wrongly(served)


def _asked_wrongly(served: httpx.Client) -> None:
    for body in (b"{}", b"[]", b'{"sequence": 0}', b'{"sequence": "1"}', b'{"sequence": true}'):
        answer = served.post("/fhir/$replay", content=body, headers=JSON)
        assert answer.status_code == 400
    assert served.post("/fhir/$replay", content=b'{"sequence": 1}').status_code == 415
    assert served.post("/studies/x/$resync").status_code == 400
    assert served.get("/fhir/failures?limit=0").status_code == 400
    base = str(served.base_url).rstrip("/")
    for url in (base.replace("/v2", "/v1"), base.replace("main", "other")):
        assert httpx.get(f"{url}/fhir").status_code == 404
        assert httpx.get(f"{url}/fhir/failures").status_code == 404
        assert httpx.post(f"{url}/fhir/$resync").status_code == 404
        assert httpx.post(f"{url}/fhir/failures/$retry").status_code == 404

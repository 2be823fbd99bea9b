"""Search over HTTP: what only a stored file and a real host can show (spec §7.9)."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest

from tests.support import dicom
from tests.support.requests import MULTIPART, multipart


def _store(http: httpx.Client, *datasets: dicom.Dataset) -> None:
    files = [dicom.part10(ds, dicom.EXPLICIT_LE) for ds in datasets]
    answer = http.post("/studies", content=multipart(files), headers=MULTIPART)
    assert answer.status_code in (200, 202), answer.text


def _rows(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    found: list[dict[str, Any]] = answer.json()
    return found


@pytest.mark.bug_report(41)
def test_fields_that_the_index_does_not_keep(http: httpx.Client) -> None:
    patient = f"S-{random.getrandbits(40)}"
    long = "".join(random.choices("0123456789abcdef", k=10_000))
    ds = dicom.ct(PatientID=patient, KVP="120", ImageComments=long, WindowWidth=["400", "80"])
    ds.private_block(0x0011, "TEST", create=True).add_new(1, "LO", "own")
    _store(http, ds)
    fields = "includefield=KVP,ImageComments,00110010&includefield=00111001,ImageType,RetrieveURL"
    for path in ("/studies", "/series", "/instances"):
        [row] = _rows(http.get(f"{path}?PatientID={patient}&{fields}"))
        assert row["00180060"] == {"vr": "DS", "Value": [120]}
        assert row["00204000"]["Value"] == [long]
        assert row["00110010"]["Value"] == ["TEST"]
        assert row["00111001"]["Value"] == ["own"]
        assert row["00080008"]["Value"] == ["ORIGINAL", "PRIMARY", "AXIAL"]
        [address] = row["00081190"]["Value"]
        metadata = _rows(http.get(f"{address}/metadata"))
        assert metadata[0]["0020000D"] == row["0020000D"]
    [row] = _rows(http.get(f"/instances?PatientID={patient}&includefield=PixelData"))
    assert row["7FE00010"].keys() <= {"vr", "InlineBinary", "BulkDataURI"}


def test_pages_by_link(http: httpx.Client) -> None:
    patient = f"S-{random.getrandbits(40)}"
    stored = [dicom.ct(PatientID=patient) for _ in range(5)]
    _store(http, *stored)
    answer = http.get(f"/studies?PatientID={patient}&limit=2", headers={"Prefer": "count=exact"})
    assert answer.headers["x-total-count"] == "5"
    assert "3 additional results" in answer.headers["warning"]
    found = _rows(answer)
    while link := answer.links.get("next"):
        _store(http, dicom.ct(PatientID=patient))
        answer = http.get(link["url"])
        found += _rows(answer)
    studies = [row["0020000D"]["Value"][0] for row in found]
    assert sorted(studies) == sorted(ds.StudyInstanceUID for ds in stored)


@pytest.mark.spec("dicomweb", 149, 150, 170)
@pytest.mark.bug_report(50)
def test_refusals_and_nothing_found(http: httpx.Client) -> None:
    refused = http.get("/studies?Modality=CT")
    assert refused.status_code == 400
    assert refused.text.startswith("Invalid query: AttributeId Modality is not queryable.  If")
    assert http.get("/studies?q=%3c").status_code == 400
    nothing = http.get("/studies?PatientID=NOBODY", headers={"Accept": "application/dicom+json"})
    assert (nothing.status_code, nothing.content) == (204, b"")
    assert "content-type" not in nothing.headers

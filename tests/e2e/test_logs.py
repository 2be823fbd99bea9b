"""What the service logs: each request, and nothing of a patient."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.support import dicom
from tests.support.requests import DICOM
from tests.support.server import Server


def test_the_log_has_the_requests_and_no_patient_data(server: Server, http: httpx.Client) -> None:
    data = dicom.part10(dicom.ct(PatientName="Secret^Name", PatientID="SECRET-ID"))
    for content in (data, data, data[:-2], b"SECRET-ID"):
        http.post("/studies", content=content, headers=DICOM)
    for path in (
        "/studies?PatientName=Secret^Name",
        "/studies?PatientID=SECRET-ID&limit=x",
        "/studies?PatientID=SECRET-ID&StudyDate=x",
        "/studies/SECRET-ID",
        "/partitions/SECRET%20ID/studies",
    ):
        assert http.get(path).status_code in (200, 400)
    text = Path(server.log).read_text("utf-8")
    assert "store" in text
    assert "SECRET" not in text.upper()

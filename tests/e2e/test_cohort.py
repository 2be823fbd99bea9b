"""The script of docs/cohort.md, on a real FHIR server and the archive."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import httpx

from devtools.process import ROOT
from tests.support import dicom
from tests.support.fhir import FhirServer
from tests.support.requests import DICOM

_SYSTEM = "urn:hospital:cohort"
_LUNG_CANCER = {"system": "http://snomed.info/sct", "code": "254637007"}
_ANOTHER = {"system": "http://snomed.info/sct", "code": "38341003"}


def _patient(fhir: FhirServer, patient_id: str, born: str | None) -> str:
    resource: dict[str, Any] = {
        "resourceType": "Patient",
        "identifier": [{"system": _SYSTEM, "value": patient_id}],
    }
    if born is not None:
        resource["birthDate"] = born
    return f"Patient/{fhir.create(resource)['id']}"


def _condition(fhir: FhirServer, subject: str, onset: str, code: dict[str, str]) -> None:
    fhir.create(
        {
            "resourceType": "Condition",
            "subject": {"reference": subject},
            "code": {"coding": [code]},
            "onsetDateTime": onset,
        }
    )


def test_the_export_of_a_cohort(fhir: FhirServer, http: httpx.Client) -> None:
    prefix = dicom.new_uid()[-12:]
    people = {
        "old": ("1960-05-05", "2025-06-01", _LUNG_CANCER),
        "just": ("1981-11-26", "2024-12-01", _LUNG_CANCER),
        "young": ("1981-11-27", "2025-06-01", _LUNG_CANCER),
        "year": ("1970", "2025-06-01", _LUNG_CANCER),
        "ageless": (None, "2025-06-01", _LUNG_CANCER),
        "long-ago": ("1960-05-05", "2019-06-01", _LUNG_CANCER),
        "other": ("1960-05-05", "2025-06-01", _ANOTHER),
    }
    expected = []
    for name, (born, onset, code) in people.items():
        subject = _patient(fhir, f"{prefix}-{name}", born)
        for _ in range(2):  # diagnosed twice
            _condition(fhir, subject, onset, code)
        for modality in ("CT", "CT", "MR"):
            ds = dicom.ct(PatientID=f"{prefix}-{name}", Modality=modality)
            http.post("/studies", content=dicom.part10(ds), headers=DICOM).raise_for_status()
            if modality == "CT" and name in ("old", "just", "year"):
                expected.append(str(ds.StudyInstanceUID))
    fhir.settings(page=2)
    command = [
        sys.executable, str(ROOT / "docs" / "cohort.py"), "--fhir", fhir.url,
        "--dicom", str(http.base_url), "--code", "http://snomed.info/sct|254637007",
        "--since", "2024-11-25", "--age-from", "45", "--modality", "CT",
        "--system", _SYSTEM, "--today", "2026-11-26",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    source = json.loads(done.stdout)["source"]
    assert source["type"] == "identifiers"
    assert sorted(source["settings"]["values"]) == sorted(expected)

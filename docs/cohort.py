"""A cohort: patients by what the health record says, their studies by what the archive says.

    python3 docs/cohort.py --fhir https://fhir.example --dicom https://dicom.example/main/v2 \
        --code 'http://snomed.info/sct|254637007' --since 2024-11-25 --age-from 45 --modality CT

The answer is the body of an export (``POST {dicom}/export``) without its destination. Patients are
joined by their identifier: that of the system ``--system`` is the PatientID in the archive.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from datetime import date
from typing import Any

import httpx

Json = dict[str, Any]


def conditions(fhir: httpx.Client, code: str, since: str) -> Iterator[Json]:
    """The diagnoses with a code (``system|code``) that began on a day or later."""
    query = {"code": code, "onset-date": f"ge{since}", "_count": "100"}
    answer = fhir.get("Condition", params=query).raise_for_status().json()
    while True:
        yield from (entry["resource"] for entry in answer.get("entry", []))
        links = {link["relation"]: link["url"] for link in answer.get("link", [])}
        if "next" not in links:
            return
        answer = fhir.get(links["next"]).raise_for_status().json()


def patients(fhir: httpx.Client, found: Iterator[Json], born_by: date) -> Iterator[Json]:
    """The patients of the diagnoses who were born by a day, each once."""
    for reference in dict.fromkeys(one["subject"]["reference"] for one in found):
        patient = fhir.get(reference).raise_for_status().json()
        born = patient.get("birthDate", "")
        # a birth date may be a year, or a year and a month: its last day has to fit
        if born and (born + "-12-31"[len(born) - 4 :])[:10] <= born_by.isoformat():
            yield patient


def studies(dicom: httpx.Client, patient_id: str, modality: str) -> Iterator[str]:
    """The studies of a patient with a modality."""
    query = {"PatientID": patient_id, "ModalitiesInStudy": modality, "limit": "100"}
    answer = dicom.get("studies", params=query).raise_for_status()
    while answer.status_code != httpx.codes.NO_CONTENT:
        for row in answer.json():
            # the archive matches PatientID without case, and wildcards in it
            if row["00100020"]["Value"] == [patient_id]:
                yield row["0020000D"]["Value"][0]
        if "next" not in answer.links:
            return
        answer = dicom.get(answer.links["next"]["url"]).raise_for_status()


def years_before(day: date, years: int) -> date:
    """The same day so many years before; of 29 February perhaps the day before."""
    try:
        return day.replace(year=day.year - years)
    except ValueError:
        return day.replace(year=day.year - years, day=28)


def cohort(fhir: httpx.Client, dicom: httpx.Client, wanted: argparse.Namespace) -> list[str]:
    """The UIDs of the studies."""
    born_by = years_before(wanted.today, wanted.age_from)
    found: dict[str, None] = {}
    for patient in patients(fhir, conditions(fhir, wanted.code, wanted.since), born_by):
        for identifier in patient.get("identifier", []):
            if identifier.get("system", "") == wanted.system:
                found |= dict.fromkeys(studies(dicom, identifier["value"], wanted.modality))
    return list(found)


def main() -> int:
    """Print the export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fhir", required=True, help="base of the FHIR server")
    parser.add_argument("--dicom", required=True, help="version 2 of the archive's service")
    parser.add_argument("--code", required=True, help="diagnosis: system|code")
    parser.add_argument("--since", required=True, help="first day of the diagnosis")
    parser.add_argument("--age-from", type=int, required=True, help="years")
    parser.add_argument("--modality", default="CT")
    parser.add_argument("--system", default="", help="of the identifier that is the PatientID")
    parser.add_argument("--today", type=date.fromisoformat, default=date.today())  # noqa: DTZ011
    wanted = parser.parse_args()
    with (
        httpx.Client(base_url=wanted.fhir, headers=_token("FHIR_TOKEN"), timeout=60) as fhir,
        httpx.Client(base_url=wanted.dicom, headers=_token("DICOM_TOKEN"), timeout=60) as dicom,
    ):
        found = cohort(fhir, dicom, wanted)
    export = {"source": {"type": "identifiers", "settings": {"values": found}}}
    json.dump(export, sys.stdout, indent=2)
    print()
    return 0


def _token(name: str) -> dict[str, str]:
    """Bearer tokens come from the environment, where no list of processes shows them."""
    token = os.environ.get(name)
    return {"Authorization": f"Bearer {token}"} if token else {}


if __name__ == "__main__":
    sys.exit(main())

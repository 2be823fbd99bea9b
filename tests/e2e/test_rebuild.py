"""The index is lost, and the process that makes it again is killed: it ends as it was."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset

from shared.ports import Json
from tests.support import dicom
from tests.support.archive import look
from tests.support.server import Server

_CRASHING = Path(dicom.__file__).parent / "crashing_app"
_TENANT = "rebuild"
_ENVIRONMENT = {"DICOM_TENANTS": _TENANT, "DICOM_COMMIT_GRACE_SECONDS": "3"}
_EVENTS_S = 6.0
_GRACE_S = 3.0
_INSTANCES = 12
_UIDS = ("0020000D", "0020000E", "00080018")
_FIFTH_WRITE = "5"  # start, its message, held, the first file taken in: dead before the second
_ENDED_S = 90.0


_FILTERS = (
    "includefield=all", "PatientName=Last*", "PatientName=first^name", "PatientID=P2",
    "PatientName=last&fuzzymatching=true", "StudyDate=20240101-20240103", "StudyDate=-20240102",
    "AccessionNumber=A?", "StudyDescription=*knee*", "ReferringPhysicianName=Doctor*",
    "PatientBirthDate=19700101", "limit=2&offset=1", "limit=3&includefield=PatientSex",
    "ModalitiesInStudy=MR&includefield=NumberOfStudyRelatedInstances", "PatientID=nobody",
)  # fmt: skip
_BELOW = ("Modality=MR", "Modality=CT&limit=2&offset=1", "SeriesNumber=2", "Modality=XX")


def _queries(studies: list[str]) -> list[str]:
    """Searches of each kind, at each resource."""
    return [
        *(f"{level}?{each}" for level in ("studies", "series", "instances") for each in _FILTERS),
        *(f"{level}?{each}" for level in ("series", "instances") for each in _BELOW),
        *(f"studies?StudyInstanceUID={study}" for study in studies),
        *(f"studies/{study}/series?includefield=all" for study in studies),
        *(f"studies/{study}/instances?Modality=MR" for study in studies),
    ]


def _answers(base: str) -> list[Json]:
    """What searches find, in their order; and each metadata document."""
    studies = sorted(row["0020000D"]["Value"][0] for row in httpx.get(f"{base}/studies").json())
    queries = _queries(studies)
    with httpx.Client() as http:
        found = [http.get(f"{base}/{query}") for query in queries]
        assert {answer.status_code for answer in found} == {200, 204}
        rows = [answer.json() if answer.status_code == 200 else [] for answer in found]
        assert sum(map(bool, rows)) >= 50, "so many find something"
        metadata: list[Json] = []
        for row in http.get(f"{base}/instances").json():
            study, series, uid = (row[tag]["Value"][0] for tag in _UIDS)
            path = f"studies/{study}/series/{series}"
            metadata += http.get(f"{base}/{path}/instances/{uid}/metadata").json()
        for study in studies:
            whole = http.get(f"{base}/studies/{study}/metadata").json()
            metadata.append(sorted(whole, key=lambda ds: str(ds["00080018"]["Value"][0])))
    assert len(metadata) == _INSTANCES + len(studies)
    return [*rows, *metadata]


def _data_sets() -> list[Dataset]:
    """Several studies, one of which has had its attributes changed by later instances."""
    first = dicom.ct(PatientName="First^Name", PatientID="P1", StudyDate="20240101")
    made = [first]
    for number in range(1, _INSTANCES):
        make = dicom.mr if number % 3 == 0 else dicom.ct
        ds = make(
            PatientName=f"Last^{number}", PatientID=f"P{number % 3}",
            StudyDate=f"202401{number % 5 + 1:02d}", AccessionNumber=f"A{number}",
            StudyDescription=f"A knee {number}", PatientBirthDate="19700101",
            ReferringPhysicianName="Doctor^Who" if number % 2 else None, SeriesNumber=number % 3,
            PatientSex="M" if number % 2 else None,
        )  # fmt: skip
        if number % 2:
            ds.StudyInstanceUID = made[number - 1].StudyInstanceUID
        if number % 4 == 3:
            ds.SeriesInstanceUID = made[number - 1].SeriesInstanceUID
        made.append(ds)
    return made


def _ask_until_it_dies(href: str) -> None:
    for _ in range(600):
        httpx.get(href)
        time.sleep(0.05)


@pytest.mark.spec("operations", 41)
def test_a_rebuild_killed_in_the_middle_gives_the_same_answers(
    new_account: Callable[[], str], tmp_path: Path
) -> None:
    account = new_account()
    healthy = Server(connection=account, data=tmp_path, seed=True, environment=_ENVIRONMENT)
    base = f"{healthy.base_url}/{_TENANT}/v2"
    with healthy:
        for ds in _data_sets():
            sent = {"content": dicom.part10(ds), "headers": {"Content-Type": "application/dicom"}}
            httpx.post(f"{base}/studies", **sent).raise_for_status()  # type: ignore[arg-type]
        before = _answers(base)
        # the files' events are over: else completions go on beside the rebuild, in their own order
        time.sleep(_EVENTS_S)
    shutil.rmtree(tmp_path / "index")
    time.sleep(_GRACE_S)
    crashing = Server(
        connection=account,
        data=tmp_path,
        app=_CRASHING,
        port=healthy.port,
        environment={**_ENVIRONMENT, "CRASH_BEFORE_WRITE": _FIFTH_WRITE},
    )
    with crashing:
        href = httpx.post(f"{base}/$reconcile").json()["href"]
        with pytest.raises(httpx.TransportError):
            _ask_until_it_dies(href)
    with healthy:
        deadline = time.monotonic() + _ENDED_S
        while (answer := httpx.get(href)).status_code == 202:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.2)
        assert answer.json()["status"] == "succeeded"
        assert answer.json()["results"]["indexed"] == _INSTANCES
        assert _answers(base) == before
    archive = asyncio.run(look(account, tmp_path / "index", _TENANT))
    assert not archive.faults(), "each announced once, counts exact"

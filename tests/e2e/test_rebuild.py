"""The index is lost, and the process that makes it again is killed: it ends as it was."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from shared.ports import Json
from tests.support import dicom
from tests.support.archive import look
from tests.support.server import Server

_CRASHING = Path(dicom.__file__).parent / "crashing_app"
_TENANT = "rebuild"
_ENVIRONMENT = {"DICOM_TENANTS": _TENANT, "DICOM_COMMIT_GRACE_SECONDS": "3"}
_EVENTS_S = 6.0
_GRACE_S = 3.0
_INSTANCES = 6
_FIFTH_WRITE = "5"  # start, its message, held, the first file taken in: dead before the second
_ENDED_S = 90.0


def _answers(base: str) -> list[Json]:
    queries = (
        *(f"{level}?includefield=all" for level in ("studies", "series", "instances")),
        "studies?PatientName=Last*",
        "studies?PatientName=First*",
        "instances?Modality=CT&limit=2&offset=1",
    )
    found = [httpx.get(f"{base}/{query}") for query in queries]
    rows = [answer.json() if answer.status_code == 200 else [] for answer in found]
    studies = sorted(row["0020000D"]["Value"][0] for row in rows[0])
    metadata = [httpx.get(f"{base}/studies/{study}/metadata").json() for study in studies]
    return [
        *rows,
        *(sorted(each, key=lambda ds: str(ds["00080018"]["Value"][0])) for each in metadata),
    ]


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
    first = dicom.ct(PatientName="First^Name")
    with healthy:
        for number in range(_INSTANCES):
            ds = first if number == 0 else dicom.ct(PatientName=f"Last^{number}")
            if number % 2:
                ds.StudyInstanceUID = first.StudyInstanceUID
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

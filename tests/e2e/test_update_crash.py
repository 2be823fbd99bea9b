"""The process that updates a study is killed, and started again: nothing is half, or doubled."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from tests.support import dicom
from tests.support.archive import look
from tests.support.server import Server

_CRASHING = Path(dicom.__file__).parent / "crashing_app"
_TENANT = "updates"
_INSTANCES = 3
# the request: operation, message. Then held; of each instance reserved, file, ready; in place
_AMONG_THE_FILES, _ABOUT_TO_PUT_THEM_IN_PLACE = 8, 9
_ENDED_S = 90.0


def _names(base: str, study: str, **headers: str) -> set[str]:
    bodies = httpx.get(f"{base}/studies/{study}/metadata", headers=headers).json()
    assert len(bodies) == _INSTANCES
    return {body["00100010"]["Value"][0]["Alphabetic"] for body in bodies}


def _ask_until_it_dies(href: str) -> None:
    for _ in range(600):
        httpx.get(href)
        time.sleep(0.05)


@pytest.mark.spec("operations", 41)
def test_an_update_killed_in_the_middle(account: str, tmp_path: Path) -> None:
    environment = {"DICOM_TENANTS": _TENANT, "DICOM_COMMIT_GRACE_SECONDS": "3"}
    healthy = Server(connection=account, data=tmp_path, seed=True, environment=environment)
    base = f"{healthy.base_url}/{_TENANT}/v2"
    study = dicom.new_uid()
    with healthy:
        for _ in range(_INSTANCES):
            data = dicom.part10(dicom.ct(StudyInstanceUID=study, PatientName="Old^Name"))
            headers = {"Content-Type": "application/dicom"}
            httpx.post(f"{base}/studies", content=data, headers=headers).raise_for_status()
    href = ""
    for write in (_AMONG_THE_FILES, _ABOUT_TO_PUT_THEM_IN_PLACE):
        crashing = Server(
            connection=account,
            data=tmp_path,
            app=_CRASHING,
            port=healthy.port,
            environment={**environment, "CRASH_BEFORE_WRITE": str(write)},
        )
        with crashing:
            if not href:
                name = {"vr": "PN", "Value": [{"Alphabetic": "New^Name"}]}
                asked = {"studyInstanceUids": [study], "changeDataset": {"00100010": name}}
                started = httpx.post(f"{base}/studies/$bulkUpdate", json=asked)
                assert started.status_code == 202, started.text
                href = started.json()["href"]
            with pytest.raises(httpx.TransportError):
                _ask_until_it_dies(href)
        archive = asyncio.run(look(account, tmp_path / "index", _TENANT))
        assert archive.of_type("prepared")
        updated = ["original" in body for body in archive.of_type("instance")]
        assert len(set(updated)) == 1, "wholly old or new"
    with healthy:
        deadline = time.monotonic() + _ENDED_S
        while (answer := httpx.get(href)).status_code == 202:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.2)
        assert answer.json()["status"] == "succeeded"
        assert answer.json()["results"] == {
            "studyProcessed": 1, "studyUpdated": 1, "studyFailed": 0,
            "instanceUpdated": _INSTANCES,
        }  # fmt: skip
        assert _names(base, study) == {"New^Name"}
        assert _names(base, study, **{"msdicom-request-original": "true"}) == {"Old^Name"}
        feed = httpx.get(f"{base}/changefeed").json()
    told = [(entry["action"], entry["state"]) for entry in feed]
    assert told == [("Create", "Replaced")] * 3 + [("Update", "Current")] * 3
    archive = asyncio.run(look(account, tmp_path / "index", _TENANT))
    assert not archive.faults()

"""The process that exports is killed, and started again: each file and each line is there once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from tests.support import dicom
from tests.support.export import check_manifest, lines, new_place
from tests.support.server import Server

_CRASHING = Path(dicom.__file__).parent / "crashing_app"
_TENANT = "exports"
_Value = TypeVar("_Value")
_INSTANCES = 6
# start: two logs, the operation, its message; then held, planned, six files, manifest, errors.
# With each kill: how many files may be there then
_KILLS = ((10, range(1, _INSTANCES)), (14, range(_INSTANCES, _INSTANCES + 1)))
_ENDED_S = 120.0


def _ask_until_it_dies(href: str) -> None:
    for _ in range(600):
        httpx.get(href)
        time.sleep(0.05)


def _files(content: Mapping[str, _Value], folder: str = "") -> dict[str, _Value]:
    return {
        name: value
        for name, value in content.items()
        if name.startswith(folder) and name.endswith(".dcm")
    }


@pytest.mark.spec("operations", 35, 41)
def test_an_export_killed_in_the_middle(new_account: Callable[[], str], tmp_path: Path) -> None:
    account, place = new_account(), new_place(new_account())
    environment = {"DICOM_TENANTS": _TENANT}
    without = Server(
        connection=account,
        data=tmp_path,
        seed=True,
        environment={**environment, "DICOM_EXPORT_CREDENTIALS": "off"},
    )
    base = f"{without.base_url}/{_TENANT}/v2"
    study, unknown = dicom.new_uid(), dicom.new_uid()
    source = {"type": "identifiers", "settings": {"values": [study, unknown]}}
    body = {"source": source, "destination": place.destination()}
    files = {}
    with without:
        for _ in range(_INSTANCES):
            ds = dicom.ct(StudyInstanceUID=study)
            data = dicom.part10(ds)
            name = f"results/{study}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm"
            files[name] = data
            headers = {"Content-Type": "application/dicom"}
            httpx.post(f"{base}/studies", content=data, headers=headers).raise_for_status()
        assert httpx.post(f"{base}/export", json=body).status_code == 404
    healthy = Server(connection=account, data=tmp_path, port=without.port, environment=environment)
    for write, written in _KILLS:  # one operation after the other: each meets only its own writes
        crashing = Server(
            connection=account,
            data=tmp_path,
            app=_CRASHING,
            port=without.port,
            environment={**environment, "CRASH_BEFORE_WRITE": str(write)},
        )
        with crashing:
            started = httpx.post(f"{base}/export", json=body).json()
            with pytest.raises(httpx.TransportError):
                _ask_until_it_dies(started["href"])
        before = _files(place.etags(), started["id"])
        assert len(before) in written
        with healthy:
            deadline = time.monotonic() + _ENDED_S
            while (answer := httpx.get(started["href"])).status_code == 202:
                assert time.monotonic() < deadline, answer.text
                time.sleep(0.2)
            results = answer.json()["results"]
            assert (results["exported"], results["skipped"]) == (_INSTANCES, 1)
        content = place.content(f"{started['id']}/")
        assert _files(content) == files
        assert not list(check_manifest(content))
        [line] = lines(content["errors.log"])
        assert line["identifier"] == unknown
        after = place.etags()
        assert all(after[name] == before[name] for name in before), "none is written twice"
    assert "sig=" not in healthy.log_text()

"""OHIF in a real Chromium, from another origin and with a token, shows a study."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.data import get_testdata_file

from tests.support.ohif import ohif_site
from tests.support.processes import ProgramMissing
from tests.support.requests import DICOM
from tests.support.server import Server


@pytest.fixture
def viewed(new_account: Callable[[], str], tmp_path: Path) -> Iterator[Server]:
    """A service that pages of other origins may use."""
    with Server(
        connection=new_account(),
        data=tmp_path / "data",
        seed=True,
        environment={"DICOM_CORS_ORIGINS": "*"},
    ) as running:
        yield running


def test_a_study_is_listed_and_its_image_is_shown(viewed: Server, tmp_path: Path) -> None:
    try:
        site = ohif_site()
    except ProgramMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    base = f"{viewed.base_url}/main/v2"
    file = Path(str(get_testdata_file("CT_small.dcm")))
    ds = pydicom.dcmread(file)
    assert httpx.post(f"{base}/studies", content=file.read_bytes(), headers=DICOM).is_success
    name = str(ds.PatientName.family_name)
    picture = tmp_path / "ohif.png"
    script = Path(__file__).with_name("ohif_journey.mjs")
    outcome = subprocess.run(
        [
            str(shutil.which("node")), str(script), base, str(site), str(ds.StudyInstanceUID),
            str(ds.PatientID), name, str(picture),
        ],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    assert json.loads(outcome.stdout.splitlines()[-1]) == {
        "listed": True,
        "picture": True,
        "failed": [],
    }
    assert picture.stat().st_size > 10_000

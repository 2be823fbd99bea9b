"""Clients that nobody here wrote: dicomweb-client for Python and the one for JavaScript."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_file
from requests.exceptions import HTTPError

from devtools.process import ROOT
from tests.support import dicom
from tests.support.server import Server

AS_STORED = (("application/dicom", "*"),)


@pytest.fixture(scope="module")
def client(server: Server, tenants: tuple[str, str]) -> DICOMwebClient:
    return DICOMwebClient(f"{server.base_url}/{tenants[0]}/v2")


def test_python_client_stores_finds_retrieves_and_deletes(client: DICOMwebClient) -> None:
    first = dicom.ct(PatientName="Client^Python", StudyDate="20240517")
    second = dicom.ct(
        StudyInstanceUID=first.StudyInstanceUID,
        SeriesInstanceUID=first.SeriesInstanceUID,
        PatientName="Client^Python",
        StudyDate="20240517",
    )
    study, series = str(first.StudyInstanceUID), str(first.SeriesInstanceUID)
    originals = {str(ds.SOPInstanceUID): dicom.part10(ds) for ds in (first, second)}
    datasets = [pydicom.dcmread(io.BytesIO(data)) for data in originals.values()]
    stored = client.store_instances(datasets)
    assert len(stored.ReferencedSOPSequence) == 2

    found = client.search_for_studies(
        search_filters={"StudyInstanceUID": study, "StudyDate": "20240517"},
        fields=["NumberOfStudyRelatedInstances"],
    )
    assert [each["0020000D"]["Value"] for each in found] == [[study]]
    assert found[0]["00201208"]["Value"] == [2]
    assert len(client.search_for_series(study)) == 1
    assert len(client.search_for_instances(study, series)) == 2

    retrieved = client.retrieve_series(study, series, media_types=AS_STORED)
    assert {str(ds.SOPInstanceUID) for ds in retrieved} == originals.keys()
    one = str(first.SOPInstanceUID)
    instance = client.retrieve_instance(study, series, one)
    assert instance.PixelData == first.PixelData
    [frame] = client.retrieve_instance_frames(study, series, one, [1])
    assert frame == first.PixelData
    assert len(client.retrieve_study_metadata(study)) == 2
    metadata = client.retrieve_instance_metadata(study, series, one)
    [bulk] = client.retrieve_bulkdata(metadata.pop("7FE00010")["BulkDataURI"])
    assert bulk == first.PixelData
    assert pydicom.Dataset.from_json(metadata).PatientName == "Client^Python"

    client.delete_instance(study, series, one)
    assert len(client.search_for_instances(study, series)) == 1
    client.delete_study(study)
    assert client.search_for_studies(search_filters={"StudyInstanceUID": study}) == []
    with pytest.raises(HTTPError, match="404"):
        client.retrieve_study_metadata(study)


def test_python_client_takes_several_frames(client: DICOMwebClient) -> None:
    ds = dicom.multi_frame(frames=3)
    client.store_instances([pydicom.dcmread(io.BytesIO(dicom.part10(ds)))])
    frames = client.retrieve_instance_frames(
        str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID), [3, 1]
    )
    size = len(ds.PixelData) // 3
    assert frames == [ds.PixelData[2 * size : 3 * size], ds.PixelData[:size]]


_NODE = shutil.which("node")


@pytest.mark.skipif(_NODE is None, reason="no Node.js on PATH")
def test_javascript_client_stores_finds_retrieves_and_deletes(
    server: Server, tenants: tuple[str, str]
) -> None:
    script = Path(__file__).with_name("javascript_client.cjs")
    outcome = subprocess.run(
        [
            str(_NODE),
            str(script),
            f"{server.base_url}/{tenants[0]}/v2",
            str(get_testdata_file("MR_small.dcm")),
        ],
        env={**os.environ, "NODE_PATH": str(ROOT / "node_modules")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr + outcome.stdout
    report = json.loads(outcome.stdout.splitlines()[-1])
    assert report == {
        "stored": 1,
        "found": 1,
        "series": 1,
        "instances": 1,
        "sameBytes": True,
        "frameBytes": 8192,
        "metadata": 1,
        "afterDelete": 0,
    }

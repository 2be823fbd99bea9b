"""The pipeline of docs/ai-pipeline.md, on the service."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from types import ModuleType

import httpx
import pytest
from dicomweb_client.web import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedSRStorage

from devtools.process import ROOT
from shared.ports import JsonObject
from tests.support import dicom
from tests.support.requests import DICOM
from tests.support.work_items import KIND, code, sq, value, work_item

_SCRIPT = ROOT / "docs" / "ai_pipeline.py"


@pytest.fixture
def station() -> str:
    return dicom.new_uid()[-12:]


def stored(http: httpx.Client, **attributes: object) -> Dataset:
    ds = dicom.ct(**attributes)
    http.post("/studies", content=dicom.part10(ds), headers=DICOM).raise_for_status()
    return ds


def scheduled(http: httpx.Client, station: str, *images: Dataset) -> str:
    uid = dicom.new_uid()
    wanted = [
        {
            "0040E020": value("CS", "DICOM"),
            "0020000D": value("UI", str(image.StudyInstanceUID)),
            "0020000E": value("UI", str(image.SeriesInstanceUID)),
            "00081199": sq(
                {
                    "00081150": value("UI", str(image.SOPClassUID)),
                    "00081155": value("UI", str(image.SOPInstanceUID)),
                }
            ),
        }
        for image in images
    ]
    item = work_item(uid, t00404025=sq(code(station)), t00404021=sq(*wanted))
    http.post("/workitems", content=json.dumps([item]), headers=KIND).raise_for_status()
    return uid


def item_of(http: httpx.Client, uid: str) -> Dataset:
    body: JsonObject = http.get(f"/workitems/{uid}", headers=KIND).raise_for_status().json()
    return Dataset.from_json(body)


def run(http: httpx.Client, station: str) -> subprocess.Popen[str]:
    command = [
        sys.executable, str(_SCRIPT), "--dicom", str(http.base_url).rstrip("/"),
        "--station", station,
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> int:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    print(err)  # shown where a test fails
    return int(out)


def result_of(http: httpx.Client, item: Dataset) -> Dataset:
    [procedure] = item.UnifiedProcedureStepPerformedProcedureSequence
    [output] = procedure.OutputInformationSequence
    [reference] = output.ReferencedSOPSequence
    archive = DICOMwebClient(url=str(http.base_url).rstrip("/"))
    return archive.retrieve_instance(
        output.StudyInstanceUID, output.SeriesInstanceUID, reference.ReferencedSOPInstanceUID
    )


def test_an_item_is_worked_off(http: httpx.Client, station: str) -> None:
    study = {"StudyInstanceUID": dicom.new_uid(), "RescaleSlope": 2, "RescaleIntercept": -1024}
    images = [stored(http, **study), stored(http, **study, NumberOfFrames=2, PixelData=bytes(64))]
    uid = scheduled(http, station, *images)
    assert ended(run(http, station)) == 1
    item = item_of(http, uid)
    assert item.ProcedureStepState == "COMPLETED"
    assert item.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 100
    result = result_of(http, item)
    assert result.SOPClassUID == EnhancedSRStorage
    assert result.StudyInstanceUID == study["StudyInstanceUID"]
    assert str(result.PatientName) == "Work^Item"
    evidence = result.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for one in evidence] == [
        image.SOPInstanceUID for image in images
    ]
    [measured] = result.ContentSequence
    first = [images[0].PixelData[at] + 256 * images[0].PixelData[at + 1] for at in range(0, 32, 2)]
    mean = (sum(2 * one - 1024 for one in first) + 32 * -1024) / 48
    assert float(measured.MeasuredValueSequence[0].NumericValue) == pytest.approx(mean)
    assert ended(run(http, station)) == 0


def test_two_pipelines_share_the_work(http: httpx.Client, station: str) -> None:
    image = stored(http)
    items = [scheduled(http, station, image) for _ in range(6)]
    pipelines = [run(http, station), run(http, station)]
    assert sum(ended(one) for one in pipelines) == len(items)
    found = [item_of(http, uid) for uid in items]
    assert {one.ProcedureStepState for one in found} == {"COMPLETED"}
    query = {"StudyInstanceUID": str(image.StudyInstanceUID), "Modality": "SR"}
    assert len(http.get("/instances", params=query).json()) == len(items)


def test_an_item_whose_input_is_gone_is_canceled(http: httpx.Client, station: str) -> None:
    uid = scheduled(http, station, dicom.ct())
    assert ended(run(http, station)) == 1
    item = item_of(http, uid)
    assert item.ProcedureStepState == "CANCELED"
    [progress] = item.ProcedureStepProgressInformationSequence
    assert progress.ReasonForCancellation.startswith("The pipeline failed")


class Forgetful(httpx.HTTPTransport):
    """Loses the answer to each request the first time it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[bytes] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        sent = request.method.encode() + request.url.raw_path + request.content
        if request.method != "GET" and sent not in self.seen:
            self.seen.add(sent)
            answer.close()
            raise httpx.ReadError("the connection broke")
        return answer


def test_lost_answers_lose_nothing(http: httpx.Client, station: str) -> None:
    pipeline = _module()
    uid = scheduled(http, station, stored(http))
    archive = DICOMwebClient(url=str(http.base_url).rstrip("/"))
    with httpx.Client(base_url=http.base_url, transport=Forgetful(), timeout=60) as forgetful:
        assert pipeline.work_off(pipeline.Worklist(forgetful, station), archive) == 1
    item = item_of(http, uid)
    assert item.ProcedureStepState == "COMPLETED"
    assert result_of(http, item).SOPClassUID == EnhancedSRStorage


def _module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ai_pipeline", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found

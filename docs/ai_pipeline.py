"""An AI pipeline on the worklist: claim an item, read its frames, report, store a result, complete.

    python3 docs/ai_pipeline.py --dicom https://dicom.example/main/v2 --station MEAN-PIXEL

It works off what is scheduled for its station and ready, then ends. Any number may run at a time:
an item is claimed by one. The model is the simplest there is, the mean of all pixels; its result is
a structured report. Packages: dicomweb-client, httpx, numpy, pydicom.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
from dicomweb_client.web import DICOMwebClient
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import EnhancedSRStorage, ExplicitVRLittleEndian, generate_uid

Json = dict[str, Any]

KIND = {"Content-Type": "application/dicom+json", "Accept": "application/dicom+json"}
NATIVE = (("application/octet-stream", ExplicitVRLittleEndian),)
TRIES = 5
OURS, LOST = "C302", (httpx.TransportError, httpx.TimeoutException)

log = logging.getLogger("pipeline")


class Unanswered(Exception):
    """The service could not be reached."""


class Worklist:
    """The worklist of the service (PS3.18 11)."""

    def __init__(self, http: httpx.Client, station: str) -> None:
        self._http = http
        self._station = station

    def ready(self) -> Iterator[str]:
        """The items that are scheduled for the station and whose input is there."""
        query = {
            "ScheduledStationNameCodeSequence.CodeValue": self._station,
            "ProcedureStepState": "SCHEDULED",
            "InputReadinessState": "READY",
        }
        answer = self._http.get("workitems", params=query, headers=KIND).raise_for_status()
        while answer.content:
            yield from (row["00080018"]["Value"][0] for row in answer.json())
            if "next" not in answer.links:
                return
            answer = self._http.get(answer.links["next"]["url"], headers=KIND).raise_for_status()

    def item(self, uid: str) -> Dataset:
        """A work item."""
        answer = self._http.get(f"workitems/{uid}", headers=KIND).raise_for_status()
        return Dataset.from_json(answer.text)

    def claim(self, uid: str, transaction: str) -> bool:
        """Whether the item is ours now.

        If the answer is lost, the claim is sent again with the same Transaction UID: C302 then
        says that the item is in progress, and ours; to anybody else the service says C301.
        """
        answer = self._state(uid, transaction, "IN PROGRESS")
        return answer.is_success or OURS in answer.text

    def finish(self, uid: str, transaction: str, state: str) -> None:
        """Complete or cancel an item of ours; once more does no harm."""
        self._state(uid, transaction, state).raise_for_status()

    def update(self, uid: str, transaction: str, changes: Dataset) -> None:
        """Change attributes of an item of ours."""
        path = f"workitems/{uid}?transaction-uid={transaction}"
        body = f"[{changes.to_json()}]"
        self._again(lambda: self._http.post(path, content=body, headers=KIND)).raise_for_status()

    def _state(self, uid: str, transaction: str, state: str) -> httpx.Response:
        change = Dataset()
        change.TransactionUID = transaction
        change.ProcedureStepState = state
        path, body = f"workitems/{uid}/state", f"[{change.to_json()}]"
        return self._again(lambda: self._http.put(path, content=body, headers=KIND))

    def _again(self, call: Callable[[], httpx.Response]) -> httpx.Response:
        for _ in range(TRIES):
            try:
                answer = call()
            except LOST:
                continue
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                return answer
        raise Unanswered


# The work ---------------------------------------------------------------------------------


def inputs(item: Dataset) -> list[tuple[str, str, Dataset]]:
    """Study, series and reference of each instance that an item is about."""
    return [
        (group.StudyInstanceUID, group.SeriesInstanceUID, reference)
        for group in item.InputInformationSequence
        for reference in group.ReferencedSOPSequence
    ]


def pixels(archive: DICOMwebClient, study: str, series: str, instance: str) -> np.ndarray:
    """The pixels of an instance, after its rescale: (frames, rows, columns)."""
    where = {
        "study_instance_uid": study, "series_instance_uid": series, "sop_instance_uid": instance,
    }  # fmt: skip
    image = Dataset.from_json(archive.retrieve_instance_metadata(**where), lambda _uri: b"")
    count = int(image.get("NumberOfFrames") or 1)
    frames = archive.retrieve_instance_frames(
        **where, frame_numbers=list(range(1, count + 1)), media_types=NATIVE
    )
    kind = np.dtype(f"<{'i' if image.PixelRepresentation else 'u'}{image.BitsAllocated // 8}")
    stored = np.stack([
        np.frombuffer(frame, kind, image.Rows * image.Columns).reshape(image.Rows, image.Columns)
        for frame in frames
    ])  # fmt: skip
    return stored * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0))


def perform(worklist: Worklist, archive: DICOMwebClient, uid: str, transaction: str) -> None:
    """Do what a claimed item asks for."""
    began = now()
    item = worklist.item(uid)
    wanted = inputs(item)
    total, count = 0.0, 0
    for done, (study, series, reference) in enumerate(wanted, 1):
        image = pixels(archive, study, series, reference.ReferencedSOPInstanceUID)
        total, count = total + float(image.sum()), count + image.size
        worklist.update(uid, transaction, progress(round(100 * done / (len(wanted) + 1))))
    result = report(item, uid, transaction, total / count)
    archive.store_instances([result], study_instance_uid=result.StudyInstanceUID)
    worklist.update(uid, transaction, performed(item, result, began))
    worklist.finish(uid, transaction, "COMPLETED")


def give_up(worklist: Worklist, uid: str, transaction: str, reason: str) -> None:
    """Cancel an item of ours, and say why."""
    changes = progress(None)
    [item] = changes.ProcedureStepProgressInformationSequence
    item.ProcedureStepCancellationDateTime = now()
    item.ReasonForCancellation = reason
    item.ProcedureStepDiscontinuationReasonCodeSequence = [
        code("110513", "DCM", "Discontinued for unspecified reason")
    ]
    worklist.update(uid, transaction, changes)
    worklist.finish(uid, transaction, "CANCELED")


def work_off(worklist: Worklist, archive: DICOMwebClient) -> int:
    """Work off what is ready; how many items were ours."""
    ours = 0
    for uid in list(worklist.ready()):
        transaction = generate_uid(prefix=None)
        if not worklist.claim(uid, transaction):
            continue  # somebody else was faster
        ours += 1
        try:
            perform(worklist, archive, uid, transaction)
        except Exception as error:
            log.exception("%s failed", uid)
            give_up(worklist, uid, transaction, f"The pipeline failed: {type(error).__name__}")
    return ours


# Data sets --------------------------------------------------------------------------------


def progress(percent: int | None) -> Dataset:
    """The change of an item by which its progress is reported."""
    step, changes = Dataset(), Dataset()
    if percent is not None:
        step.ProcedureStepProgress = percent
    changes.ProcedureStepProgressInformationSequence = [step]
    return changes


def performed(item: Dataset, result: Dataset, began: str) -> Dataset:
    """The change of an item that says what was done, and where the result is."""
    output = Dataset()
    output.TypeOfInstances = "DICOM"
    output.StudyInstanceUID = result.StudyInstanceUID
    output.SeriesInstanceUID = result.SeriesInstanceUID
    output.ReferencedSOPSequence = [reference_to(result)]
    procedure = Dataset()
    procedure.PerformedStationNameCodeSequence = item.ScheduledStationNameCodeSequence
    procedure.PerformedProcedureStepStartDateTime = began
    procedure.PerformedProcedureStepEndDateTime = now()
    procedure.PerformedWorkitemCodeSequence = item.get("ScheduledWorkitemCodeSequence") or [
        code("110001", "DCM", "Image Processing")
    ]
    procedure.OutputInformationSequence = [output]
    changes = progress(100)
    changes.UnifiedProcedureStepPerformedProcedureSequence = [procedure]
    return changes


def report(item: Dataset, uid: str, transaction: str, mean: float) -> Dataset:
    """A structured report with the mean.

    Its UIDs follow from the item and the claim: if it is stored twice, it is one instance.
    """
    study, *_ = inputs(item)[0]
    found = Dataset()
    found.preamble, found.file_meta = b"\0" * 128, FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID = EnhancedSRStorage
    found.SOPInstanceUID = generate_uid(entropy_srcs=[uid, transaction, "report"])
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    found.StudyInstanceUID = study
    found.SeriesInstanceUID = generate_uid(entropy_srcs=[uid, transaction, "series"])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(found, keyword, item.get(keyword, ""))
    found.SpecificCharacterSet = "ISO_IR 192"
    found.StudyDate = found.StudyTime = found.StudyID = found.AccessionNumber = ""
    found.ReferringPhysicianName = found.Manufacturer = ""
    found.Modality = "SR"
    found.SeriesNumber = found.InstanceNumber = 1
    found.ContentDate, found.ContentTime = now()[:8], now()[8:]
    found.ReferencedPerformedProcedureStepSequence = []
    found.PerformedProcedureCodeSequence = []
    found.CompletionFlag, found.VerificationFlag = "COMPLETE", "UNVERIFIED"
    found.CurrentRequestedProcedureEvidenceSequence = evidence(item)
    value, measured = Dataset(), Dataset()
    value.NumericValue = f"{mean:.10g}"
    value.MeasurementUnitsCodeSequence = [code("1", "UCUM", "no units")]
    measured.RelationshipType, measured.ValueType = "CONTAINS", "NUM"
    measured.ConceptNameCodeSequence = [code("MEAN", "99EXAMPLE", "Mean of all pixels")]
    measured.MeasuredValueSequence = [value]
    root = codes.DCM.ImagingMeasurementReport
    found.ValueType, found.ContinuityOfContent = "CONTAINER", "SEPARATE"
    found.ConceptNameCodeSequence = [code(root.value, root.scheme_designator, root.meaning)]
    found.ContentSequence = [measured]
    return found


def evidence(item: Dataset) -> list[Dataset]:
    """The instances that the report is about (PS3.3 C.17.2)."""
    studies: dict[str, Dataset] = {}
    for study, series, reference in inputs(item):
        of_series, of_study = Dataset(), studies.setdefault(study, Dataset())
        of_series.SeriesInstanceUID = series
        of_series.ReferencedSOPSequence = [reference]
        of_study.StudyInstanceUID = study
        of_study.ReferencedSeriesSequence = [
            *of_study.get("ReferencedSeriesSequence", []),
            of_series,
        ]
    return list(studies.values())


def reference_to(instance: Dataset) -> Dataset:
    """A reference to an instance."""
    found = Dataset()
    found.ReferencedSOPClassUID = instance.SOPClassUID
    found.ReferencedSOPInstanceUID = instance.SOPInstanceUID
    return found


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """An item of a code sequence."""
    found = Dataset()
    found.CodeValue, found.CodingSchemeDesignator, found.CodeMeaning = value, scheme, meaning
    return found


def now() -> str:
    """The time in UTC, as DICOM has it."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S")


def main() -> int:
    """Work off what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dicom", required=True, help="version 2 of the service")
    parser.add_argument("--station", required=True, help="code value of the station")
    wanted = parser.parse_args()
    token = os.environ.get("DICOM_TOKEN")  # where no list of processes shows it
    sign_in = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=wanted.dicom, headers=sign_in, timeout=60) as http:
        archive = DICOMwebClient(url=wanted.dicom, headers=sign_in)
        print(work_off(Worklist(http, wanted.station), archive))
    return 0


if __name__ == "__main__":
    sys.exit(main())

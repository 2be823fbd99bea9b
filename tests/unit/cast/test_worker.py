"""What becomes of a message, by what goes wrong (spec dicomcast.md §7, §9)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from pydicom.datadict import keyword_for_tag

from shared.cast.failures import Away, Refused
from shared.cast.picture import Problem
from shared.cast.worker import CAST_QUEUE, Worker, message_of
from shared.errors import Unavailable
from tests.support import dicom
from tests.support.fakes import FixedClock, MemoryFailures, MemoryQueue
from tests.unit.cast.conftest import PARTITION, Cast
from tests.unit.cast.reports import event, report

STUDY = "1.2.3"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom of bad values


class Setting:
    """A worker whose work does what a test says."""

    def __init__(self, sync: Any = None) -> None:
        self.trouble: list[Exception | Sequence[Problem]] = []
        self.failures = MemoryFailures()
        self.queue = MemoryQueue()
        self.clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
        self.worker = Worker("main", sync or self._sync, self.failures, self.queue, self.clock)

    async def _sync(self, _partition: str, _study: str) -> Sequence[Problem]:
        next_ = self.trouble.pop(0) if self.trouble else []
        if isinstance(next_, Exception):
            raise next_
        return next_

    def rows(self, study: str = STUDY) -> list[tuple[str, str]]:
        return [(row.kind, row.cause) for row in self.failures.rows.get((PARTITION, study), [])]


MESSAGE = message_of("main", PARTITION, STUDY, 17)


@pytest.mark.spec("dicomcast", 30)
async def test_a_server_that_is_away_is_tried_after_2_4_8_and_at_most_60_seconds() -> None:
    setting = Setting()
    message, delays = MESSAGE, []
    for _ in range(8):
        setting.trouble = [Away("no answer")]
        await setting.worker.handle(message)
        queue, message, delay = setting.queue.sent.pop()
        assert queue == CAST_QUEUE
        delays.append(delay)
        setting.clock.pass_by(seconds=delay)
    assert delays == [2, 4, 8, 16, 32, 60, 60, 60]
    assert message["tries"] == 8
    assert setting.rows() == []
    await setting.worker.handle(message)
    assert setting.queue.sent == []


@pytest.mark.spec("dicomcast", 31)
async def test_after_ten_minutes_a_row_says_so_and_the_message_waits_and_is_never_lost() -> None:
    setting = Setting()
    message = MESSAGE
    for _ in range(160):  # a day
        setting.trouble = [Away("no answer")]
        await setting.worker.handle(message)
        _, message, delay = setting.queue.sent.pop()
        setting.clock.pass_by(seconds=delay)
    assert delay == 600
    assert setting.rows() == [("waiting", "no answer")]
    (row,) = setting.failures.rows[PARTITION, STUDY]
    assert row.sequence == 17
    await setting.worker.handle(message)
    assert setting.rows() == []


async def test_the_time_that_the_server_asks_for_is_given() -> None:
    setting = Setting()
    setting.trouble = [Away("busy", 33.0)]
    await setting.worker.handle(MESSAGE)
    assert setting.queue.sent[0][2] == 33


@pytest.mark.spec("dicomcast", 32)
async def test_what_fhir_refuses_is_a_row_and_no_message() -> None:
    setting = Setting()
    setting.trouble = [Refused("invalid")]
    await setting.worker.handle(MESSAGE)
    assert setting.rows() == [("fhir", "invalid")]
    assert setting.queue.sent == []


async def test_problems_of_instances_are_rows_until_they_are_mended() -> None:
    setting = Setting()
    setting.trouble = [[Problem("skipped", "1", "2", "sex"), Problem("refused", "1", "3", "id")]]
    await setting.worker.handle(MESSAGE)
    assert setting.rows() == [("skipped", "sex"), ("refused", "id")]
    await setting.worker.handle(MESSAGE)
    assert setting.rows() == []


@pytest.mark.spec("dicomcast", 40)
async def test_rows_that_cannot_be_written_leave_the_message_with_the_host() -> None:
    setting = Setting()

    def down() -> None:
        raise Unavailable

    setting.failures.failing = down
    setting.trouble = [Refused("invalid")]
    with pytest.raises(Unavailable):
        await setting.worker.handle(MESSAGE)
    setting.failures.failing = lambda: None
    setting.trouble = [Refused("invalid")]
    await setting.worker.handle(MESSAGE)
    assert setting.rows() == [("fhir", "invalid")]


async def test_our_own_stores_being_away_is_waited_for() -> None:
    setting = Setting()
    setting.trouble = [Unavailable()]
    await setting.worker.handle(MESSAGE)
    assert setting.queue.sent[0][2] == 2


async def test_a_defect_is_a_row() -> None:
    setting = Setting()
    await setting.worker.give_up(MESSAGE)
    assert setting.rows()[0][0] == "defect"


@pytest.mark.spec("dicomcast", 5)
async def test_corrupt_data_of_one_study_is_a_row_and_the_others_go_on(cast: Cast) -> None:
    bad, good = report(), report(event("1.2.3"))
    # so large that it is not in the index
    bad.ProcedureCodeSequence = [dicom.item(CodeMeaning=dicom.new_uid()) for _ in range(900)]
    for ds in (bad, good):
        await cast.store(ds)
    (segment,) = (key for key in cast.tenant.blobs.content if key.startswith("segments/"))
    cast.tenant.blobs.content[segment] = bytes(len(cast.tenant.blobs.content[segment]))
    setting = await _handled(cast, str(bad.StudyInstanceUID))
    assert [kind for kind, _ in setting.rows(str(bad.StudyInstanceUID))] == ["defect"]
    assert setting.queue.sent == []
    await setting.worker.handle(message_of("main", PARTITION, str(good.StudyInstanceUID)))
    assert len(cast.server.all("Observation")) == 2


# With the FHIR server ---------------------------------------------------------------------


async def _handled(cast: Cast, study: str) -> Setting:
    setting = Setting(cast.sync_at)
    await setting.worker.handle(message_of("main", PARTITION, study, 5))
    return setting


@pytest.mark.spec("dicomcast", 13)
@pytest.mark.parametrize("patient_id", ["", "  "])
async def test_an_instance_without_patient_id_is_a_row_and_the_others_go_on(
    cast: Cast, patient_id: str
) -> None:
    good = dicom.ct()
    bad = dicom.ct(StudyInstanceUID=str(good.StudyInstanceUID), PatientID=patient_id)
    await cast.store(good)
    await cast.tenant.store(dicom.part10(bad))
    setting = await _handled(cast, str(good.StudyInstanceUID))
    (row,) = setting.failures.rows[PARTITION, str(good.StudyInstanceUID)]
    assert (row.kind, row.instance) == ("refused", str(bad.SOPInstanceUID))
    assert "PatientID (0010,0020)" in row.cause
    assert row.sequence == 5
    assert cast.one("ImagingStudy")["numberOfInstances"] == 1


@pytest.mark.spec("dicomcast", 16, 22)
@pytest.mark.parametrize(
    ("bad", "element"),
    [
        ({"PatientSex": "X"}, "PatientSex"),
        ({"TimezoneOffsetFromUTC": "abc"}, "TimezoneOffsetFromUTC"),
        ({"TimezoneOffsetFromUTC": "+1590"}, "TimezoneOffsetFromUTC"),
        ({"PatientBirthDate": "19700231"}, "PatientBirthDate"),
        ({"SeriesNumber": "-4"}, "SeriesNumber"),
    ],
)
async def test_an_invalid_optional_value_is_left_out_or_refuses_the_instance(
    cast: Cast, bad: dict[str, str], element: str
) -> None:
    ds = dicom.ct(**bad)
    study = str(ds.StudyInstanceUID)
    await cast.tenant.store(dicom.part10(ds))
    strict = await _handled(cast.with_settings(strict=True), study)
    assert [kind for kind, _ in strict.rows(study)] == ["refused"]
    assert cast.server.all("ImagingStudy") == cast.server.all("Patient") == []
    lax = await _handled(cast, study)
    assert [kind for kind, _ in lax.rows(study)] == ["skipped"]
    assert element in lax.rows(study)[0][1]
    assert next(iter(bad.values())) not in lax.rows(study)[0][1]
    assert cast.one("ImagingStudy")["numberOfInstances"] == 1


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00100010, "PN", b"Doe^Jane=Two^T=Three^T=Four^F=Five^F"),
        (0x00100010, "PN", b"Doe^Jane^M^Dr^MD^Six^Seven "),
        (0x00100030, "DA", b"19999999"),
        (0x00080020, "DA", b"20241301"),
        (0x00080030, "TM", b"256199"),
        (0x00200011, "IS", b"99999999999 "),
    ],
)
async def test_a_value_that_the_archive_has_left_out_has_a_row(
    cast: Cast, tag: int, vr: str, value: bytes
) -> None:
    """Such an instance is stored with a warning, and its metadata lack the value."""
    ds = dicom.ct(**{keyword_for_tag(tag): None})
    await cast.tenant.store(dicom.splice(dicom.part10(ds), dicom.element(tag, vr, value)))
    study = str(ds.StudyInstanceUID)
    strict = await _handled(cast.with_settings(strict=True), study)
    assert [kind for kind, _ in strict.rows(study)] == ["refused"]
    lax = await _handled(cast, study)
    [(kind, cause)] = lax.rows(study)
    assert kind == "skipped"
    assert keyword_for_tag(tag) in cause
    assert value.decode().strip() not in cause
    assert cast.one("ImagingStudy")["numberOfInstances"] == 1


async def test_a_modality_that_the_archive_has_left_out_refuses_the_instance(cast: Cast) -> None:
    ds = dicom.ct(Modality=None)
    file = dicom.splice(dicom.part10(ds), dicom.element(0x00080060, "CS", b"no code!"))
    await cast.tenant.store(file)
    setting = await _handled(cast, str(ds.StudyInstanceUID))
    [(kind, cause)] = setting.rows(str(ds.StudyInstanceUID))
    assert kind == "refused"
    assert "Modality (0008,0060)" in cause
    assert cast.server.all("ImagingStudy") == []


async def test_modalities_that_nobody_knows_and_none_at_all(cast: Cast) -> None:
    unknown, none = dicom.ct(Modality="ZZZ"), dicom.ct(Modality=None)
    for ds in (unknown, none):
        await cast.tenant.store(dicom.part10(ds))
        assert (await _handled(cast, str(ds.StudyInstanceUID))).rows() == []
    codes = {one["series"][0]["modality"]["code"] for one in cast.server.all("ImagingStudy")}
    assert codes == {"ZZZ", "unknown"}


@pytest.mark.spec("dicomcast", 30)
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
async def test_no_entry_and_no_time_are_waited_for(cast: Cast, status: int) -> None:
    ds = dicom.ct()
    await cast.store(ds)
    cast.server.trouble(count=1, status=status, header={"Retry-After": "7"})
    setting = await _handled(cast, str(ds.StudyInstanceUID))
    (_, message, delay) = setting.queue.sent[0]
    assert (delay, message["tries"]) == (7, 1)
    await setting.worker.handle(message)
    assert cast.one("ImagingStudy")
    assert setting.rows(str(ds.StudyInstanceUID)) == []


@pytest.mark.spec("dicomcast", 30)
async def test_an_answer_that_is_lost_changes_nothing(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.store(ds)
    cast.server.trouble(count=1, status=503, after=True, method="POST")
    setting = await _handled(cast, str(ds.StudyInstanceUID))
    versions = cast.server.versions()
    assert len(versions) == 3, "it was done"
    ((_, message, _),) = setting.queue.sent
    setting.queue.sent.clear()
    cast.server.log()
    await setting.worker.handle(message)
    assert setting.queue.sent == cast.server.bundles() == []
    assert cast.server.versions() == versions


@pytest.mark.spec("dicomcast", 30)
async def test_a_precondition_that_fails_is_read_anew_at_once(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.cast(ds)
    await cast.store(dicom.ct(StudyInstanceUID=str(ds.StudyInstanceUID)))
    cast.server.answer({"resourceType": "OperationOutcome", "issue": []}, status=412)
    setting = await _handled(cast, str(ds.StudyInstanceUID))
    assert setting.queue.sent == []
    assert cast.one("ImagingStudy")["numberOfInstances"] == 2


@pytest.mark.spec("dicomcast", 32)
@pytest.mark.parametrize("status", [400, 405, 422, 501])
async def test_other_refusals_are_rows(cast: Cast, status: int) -> None:
    ds = dicom.ct()
    await cast.store(ds)
    issue = {"code": "invalid", "expression": ["Patient.name"], "diagnostics": "Doe^Jane"}
    cast.server.answer({"resourceType": "OperationOutcome", "issue": [issue]}, status=status)
    setting = await _handled(cast, str(ds.StudyInstanceUID))
    ((kind, cause),) = setting.rows(str(ds.StudyInstanceUID))
    assert kind == "fhir"
    assert str(status) in cause
    assert "invalid Patient.name" in cause
    assert "Doe" not in cause


def _answer(*statuses: Any) -> dict[str, Any]:
    entries = [None if one is None else {"response": {"status": one}} for one in statuses]
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


@pytest.mark.spec("dicomcast", 33)
@pytest.mark.parametrize(
    "answer",
    [
        _answer("201", "201"),
        _answer("201", None, "201"),
        _answer("201", "abc", "201"),
        _answer("201", "400 Bad Request", "201"),
        {**_answer("201", "201", "201"), "entry": [{}, {}, {}]},
        {"resourceType": "Patient"},
        [],
        None,
    ],
)
async def test_answers_that_are_none(cast: Cast, answer: Any) -> None:
    ds = dicom.ct()
    await cast.store(ds)
    cast.server.answer(answer)
    setting = await _handled(cast, str(ds.StudyInstanceUID))
    assert [kind for kind, _ in setting.rows(str(ds.StudyInstanceUID))] == ["fhir"]


@pytest.mark.spec("dicomcast", 1)
@pytest.mark.parametrize(
    ("version", "interactions", "fit"),
    [
        ("4.0.0", ["transaction"], True),
        ("4.0.1", ["batch", "transaction"], True),
        ("3.0.2", ["transaction"], False),
        ("4.0.1", ["batch"], False),
    ],
)
async def test_a_server_that_does_not_fit_gets_nothing(
    cast: Cast, version: str, interactions: list[str], fit: bool
) -> None:
    ds = dicom.ct()
    await cast.store(ds)
    cast.server.settings(fhirVersion=version, interactions=interactions)
    setting = await _handled(cast, str(ds.StudyInstanceUID))
    assert (setting.queue.sent == []) is fit
    assert bool(cast.server.all("ImagingStudy")) is fit

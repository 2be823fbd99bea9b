"""The statuses of the UPS service class and ours, side by side in docs/conformance.md."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devtools.process import ROOT
from shared.adapters.system import RandomIds
from shared.errors import DicomServiceError
from shared.web.problem import status_of
from shared.worklist.service import StateChange, WorklistService
from shared.worklist.validation import data_set_of
from tests.support import dicom
from tests.support.fakes import FixedClock, TroubledDocuments
from tests.support.work_items import PERFORMED, PROGRESS, state, value, work_item


class Ward:
    """A worklist with an item in each state."""

    def __init__(self, worklist: WorklistService) -> None:
        self.worklist = worklist
        self.owner = dicom.new_uid()

    async def item(self, *states: str) -> str:
        uid = await self.worklist.create("p", None, data_set_of([work_item(dicom.new_uid())]))
        for target in states:
            if target != "IN PROGRESS":
                done = {"00741216": PERFORMED, "00741002": PROGRESS}
                await self.worklist.update("p", uid, self.owner, done)
            await self.change(uid, target)
        return uid

    async def change(self, uid: str, target: str, owner: str | None = None) -> StateChange:
        return await self.worklist.change_state("p", uid, state(target, owner or self.owner)[0])

    async def update(self, uid: str, owner: str | None) -> None:
        await self.worklist.update("p", uid, owner, {"00741204": value("LO", "x")})

    async def cancel(self, uid: str) -> None:
        await self.worklist.request_cancellation("p", uid, {})


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    documents = TroubledDocuments(tmp_path / "index.sqlite")
    yield Ward(WorklistService(documents, RandomIds(), FixedClock(datetime.now(UTC))))
    await documents.close()


def table() -> dict[str, tuple[str, bool]]:
    """What the statement says here of each code, and whether the code is in the text."""
    text = (ROOT / "docs" / "conformance.md").read_text()
    section = text.split("## Statuses of the worklist")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "| " in line][1:]
    return {codes: (here, named.startswith("yes")) for codes, _, here, named in rows}


async def told(asked: Awaitable[StateChange | None]) -> tuple[int, str]:
    """Status and text."""
    try:
        change = await asked
    except DicomServiceError as error:
        return status_of(error), str(error)
    return 200, (change.warning if change else None) or ""


async def test_each_code_that_an_answer_names(ward: Ward) -> None:
    scheduled, busy = await ward.item(), await ward.item("IN PROGRESS")
    completed = await ward.item("IN PROGRESS", "COMPLETED")
    canceled = await ward.item("IN PROGRESS", "CANCELED")
    other = dicom.new_uid()
    cases = {
        "B304": [ward.change(canceled, "CANCELED")],
        "B306": [ward.change(completed, "COMPLETED")],
        "C300": [ward.update(completed, ward.owner), ward.update(canceled, None),
                 ward.change(completed, "CANCELED"), ward.change(canceled, "COMPLETED"),
                 ward.change(completed, "IN PROGRESS")],
        "C301": [ward.update(busy, other), ward.update(busy, None),
                 ward.change(busy, "COMPLETED", other), ward.change(busy, "IN PROGRESS", other),
                 ward.change(completed, "COMPLETED", other), ward.change(scheduled, "COMPLETED"),
                 ward.change(scheduled, "CANCELED")],
        "C302": [ward.change(busy, "IN PROGRESS")],
        "C303": [ward.change(busy, "SCHEDULED")],
        "C304": [ward.change(busy, "COMPLETED"), ward.change(busy, "CANCELED")],
        "C311": [ward.cancel(completed)],
        "C312": [ward.cancel(busy)],
    }  # fmt: skip
    rows = table()
    assert cases.keys() == {code for code, (_, named) in rows.items() if named}
    for code, asked in cases.items():
        here, _ = rows[code]
        expected = int(re.findall(r"\b[245]\d\d\b", here)[0])
        for one in asked:
            status, text = await told(one)
            assert (status, code in text) == (expected, True), (code, status, text)


async def test_the_codes_that_are_not_named(ward: Ward) -> None:
    uid, nobody = await ward.item(), dicom.new_uid()
    assert (await told(ward.worklist.create("p", uid, work_item(uid))))[0] == 409  # type: ignore[arg-type]
    for asked in (
        ward.update(nobody, None),
        ward.change(nobody, "IN PROGRESS"),
        ward.cancel(nobody),
    ):
        assert (await told(asked))[0] == 404
    canceled = await ward.item("IN PROGRESS", "CANCELED")
    status, text = await told(ward.cancel(canceled))
    assert (status, text) == (409, "The UPS is already in the requested state of CANCELED.")


def test_every_code_of_the_service_class_has_a_row() -> None:
    listed = {code for codes in table() for code in codes.split(", ")}
    assert listed >= {
        "0000", "0001", "A700", "A900", "B300", "B301", "B304", "B305", "B306", "C300", "C301",
        "C302", "C303", "C304", "C307", "C308", "C309", "C310", "C311", "C312", "C313", "C314",
        "C315", "FF00", "FF01",
    }  # fmt: skip

"""Races for work items, and rules of the tables that HTTP does not show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.system import RandomIds
from shared.errors import MalformedRequest, Unavailable
from shared.worklist.service import (
    ChangedMeanwhile,
    InconsistentState,
    WorkItemExists,
    WorkItemNotFound,
    WorklistService,
)
from shared.worklist.validation import data_set_of, is_empty
from tests.support import dicom
from tests.support.fakes import FixedClock, TroubledDocuments
from tests.support.work_items import state, value, work_item


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[TroubledDocuments]:
    found = TroubledDocuments(tmp_path / "index.sqlite")
    yield found
    await found.close()


def _service(documents: TroubledDocuments) -> WorklistService:
    return WorklistService(documents, RandomIds(), FixedClock(datetime.now(UTC)))


async def _created(worklist: WorklistService) -> str:
    return await worklist.create("p", None, data_set_of([work_item(dicom.new_uid())]))


@pytest.mark.spec("worklist", 41)
async def test_of_two_updates_of_one_version_one_is_refused(documents: TroubledDocuments) -> None:
    worklist = _service(documents)
    uid = await _created(worklist)
    commit, raced = documents.commit, False

    async def racing(*arguments: Any) -> None:
        nonlocal raced
        if not raced:
            raced = True  # another one comes between reading and writing
            await worklist.update("p", uid, None, {"00741204": value("LO", "first")})
        await commit(*arguments)

    documents.commit = racing  # type: ignore[method-assign]
    with pytest.raises(ChangedMeanwhile):
        await worklist.update("p", uid, None, {"00741204": value("LO", "second")})
    assert (await worklist.retrieve("p", uid))["00741204"]["Value"] == ["first"]


async def test_fifty_claimants_of_twenty_items(documents: TroubledDocuments) -> None:
    worklist = _service(documents)
    for _ in range(3):
        items = [await _created(worklist) for _ in range(20)]
        owners = [dicom.new_uid() for _ in range(50)]

        async def claim(owner: str, uids: list[str]) -> list[str]:
            won = []
            for uid in uids:
                try:
                    await worklist.change_state("p", uid, state("IN PROGRESS", owner)[0])
                except (InconsistentState, ChangedMeanwhile):
                    continue
                won.append(uid)
            return won

        won = await asyncio.gather(*(claim(owner, items) for owner in owners))
        assert sorted(uid for uids in won for uid in uids) == sorted(items)


async def test_a_claim_whose_answer_is_lost_is_still_held(documents: TroubledDocuments) -> None:
    worklist = _service(documents)
    uid, owner = await _created(worklist), dicom.new_uid()
    commit = documents.commit

    async def unheard(*arguments: Any) -> None:
        await commit(*arguments)
        raise Unavailable

    documents.commit = unheard  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await worklist.change_state("p", uid, state("IN PROGRESS", owner)[0])
    documents.commit = commit  # type: ignore[method-assign]
    for claimant, told in ((owner, "C302"), (dicom.new_uid(), "C301"), (owner, "C302")):
        with pytest.raises(InconsistentState, match=told):
            await worklist.change_state("p", uid, state("IN PROGRESS", claimant)[0])
    await worklist.update("p", uid, owner, {"00741204": value("LO", "mine")})
    assert (await worklist.retrieve("p", uid))["00741204"] == value("LO", "mine")


async def test_of_two_creations_one_is_refused(documents: TroubledDocuments) -> None:
    worklist = _service(documents)
    uid = dicom.new_uid()
    outcomes = await asyncio.gather(
        *(worklist.create("p", uid, data_set_of([work_item(uid)])) for _ in range(5)),
        return_exceptions=True,
    )
    assert sorted(map(type, outcomes), key=str) == sorted([str, *[WorkItemExists] * 4], key=str)


def test_what_has_no_value() -> None:
    for element in (
        None, {"vr": "LO"}, value("LO"), value("LO", ""), value("LO", "  "), value("LO", None),
        {"vr": "SQ"}, value("PN", {"Alphabetic": " "}), value("PN", {}),
        value("PN", {"Alphabetic": None}),
    ):  # fmt: skip
        assert is_empty(element), element
    for element in (
        value("LO", "a"), value("LO", "", ""), value("US", 0), {"vr": "SQ", "Value": [{}]},
        {"vr": "OB", "InlineBinary": "AA=="}, value("PN", {"Ideographic": "x"}),
    ):  # fmt: skip
        assert not is_empty(element), element


async def test_an_item_does_not_grow_without_end(documents: TroubledDocuments) -> None:
    worklist = _service(documents)
    uid = await _created(worklist)
    half = {"00404005": value("DT", "2026"), "00091001": value("UT", "x" * 700_000)}
    await worklist.update("p", uid, None, half)
    with pytest.raises(MalformedRequest, match="bytes"):
        await worklist.update("p", uid, None, {"00091002": value("UT", "x" * 700_000)})
    assert "00091002" not in await worklist.retrieve("p", uid)


async def test_the_size_of_an_item_is_that_of_its_text(documents: TroubledDocuments) -> None:
    worklist = _service(documents)
    uid = dicom.new_uid()
    large = work_item(uid) | {"00091001": value("UT", "\u00e9" * 600_000)}
    with pytest.raises(MalformedRequest, match="bytes"):
        await worklist.create("p", None, data_set_of([large]))
    with pytest.raises(WorkItemNotFound):
        await worklist.retrieve("p", uid)
    less = work_item(uid) | {"00091001": value("UT", "\u00e9" * 500_000)}
    assert await worklist.create("p", None, data_set_of([less])) == uid

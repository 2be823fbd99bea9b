"""Races for work items, and rules of the tables that HTTP does not show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.system import RandomIds
from shared.errors import MalformedRequest
from shared.worklist.service import (
    ChangedMeanwhile,
    InconsistentState,
    WorkItemExists,
    WorklistService,
)
from shared.worklist.tables import MACROS, TOP
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


async def test_of_two_creations_one_is_refused(documents: TroubledDocuments) -> None:
    worklist = _service(documents)
    uid = dicom.new_uid()
    outcomes = await asyncio.gather(
        *(worklist.create("p", uid, data_set_of([work_item(uid)])) for _ in range(5)),
        return_exceptions=True,
    )
    assert sorted(map(type, outcomes), key=str) == sorted([str, *[WorkItemExists] * 4], key=str)


def test_the_tables_are_whole() -> None:
    assert len({row.tag for row in TOP}) == len(TOP) > 140
    codes = {row.code(creating=creating) for row in TOP for creating in (True, False)}
    codes |= {row.create for rows in MACROS.values() for row in rows}
    known = {"1/1", "2/1", "2/2", "3/1", "3/2", "3/3", "1C/1C", "1C/1", "1C/2", "2C/2C", "X", "E"}
    assert codes <= {*known, "."}
    named = {row.items for rows in (TOP, *MACROS.values()) for row in rows if row.items}
    assert named <= MACROS.keys()


def test_what_has_no_value() -> None:
    for element in (
        None, {"vr": "LO"}, value("LO"), value("LO", ""), value("LO", "  "), value("LO", None),
        {"vr": "SQ"}, value("PN", {"Alphabetic": " "}), value("PN", {}),
    ):  # fmt: skip
        assert is_empty(element), element
    for element in (
        value("LO", "a"), value("LO", "", ""), value("US", 0), {"vr": "SQ", "Value": [{}]},
        {"vr": "OB", "InlineBinary": "AA=="}, value("PN", {"Ideographic": "x"}),
    ):  # fmt: skip
        assert not is_empty(element), element


@pytest.mark.parametrize(
    "body",
    [
        None, {}, [], [None], [[]], [{"1": {}}], [{"0010001g": {}}], [{"00100010": []}],
        [{"00100010": {"vr": 7}}], [{"00100010": {"vr": "LO"}}],
        [{"00100010": {"vr": "PN", "Value": "x"}}], [{"00404025": {"vr": "SQ", "Value": [1]}}],
        [{"00100020": {"vr": "LO", "Value": [["x"]]}}], [{"00091001": {}}],
        [{"0040a370": {"vr": "SQ"}, "0040A370": {"vr": "SQ"}}], [{"0010_010": {"vr": "LO"}}],
        [{"00741216": {"vr": "UN", "Value": ["x"]}}], [{"0074100E": {"vr": "UN"}}],
    ],
)  # fmt: skip
def test_what_is_no_data_set(body: Any) -> None:
    with pytest.raises(MalformedRequest):
        data_set_of(body)


def test_nesting_has_an_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"0040A730": {"vr": "SQ", "Value": [deep]}}
    with pytest.raises(MalformedRequest, match="deep"):
        data_set_of([deep])


async def test_an_item_does_not_grow_without_end(documents: TroubledDocuments) -> None:
    worklist = _service(documents)
    uid = await _created(worklist)
    half = {"00404005": value("DT", "2026"), "00091001": value("UT", "x" * 700_000)}
    await worklist.update("p", uid, None, half)
    with pytest.raises(MalformedRequest, match="bytes"):
        await worklist.update("p", uid, None, {"00091002": value("UT", "x" * 700_000)})
    assert "00091002" not in await worklist.retrieve("p", uid)

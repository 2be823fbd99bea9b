"""Work items that are over are purged, unless they are locked (PS3.4 CC.2.3.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.system import RandomIds
from shared.errors import Unavailable
from shared.index.schema import WORKLIST
from shared.ports import JsonObject, Operation
from shared.web.query import parse_search_query
from shared.where import And
from shared.worklist import retention as retention_of
from shared.worklist.delivery import Delivery
from shared.worklist.keys import SCOPE
from shared.worklist.mailboxes import Mailboxes
from shared.worklist.retention import Retention
from shared.worklist.service import (
    WorkItemExists,
    WorkItemNotFound,
    WorkItemPurged,
    WorklistService,
)
from shared.worklist.subscriptions import NothingToSubscribeTo, Subscriptions
from shared.worklist.validation import data_set_of
from tests.support import dicom
from tests.support.fakes import FixedClock, MemoryQueue, TroubledDocuments
from tests.support.work_items import PERFORMED, state, work_item


class Ward:
    """A tenant's worklist whose items stay for ten days."""

    def __init__(self, documents: TroubledDocuments) -> None:
        ids = RandomIds()
        self.documents, self.clock = documents, FixedClock(datetime.now(UTC))
        delivery = Delivery(
            documents, Mailboxes(documents, self.clock), MemoryQueue(), tenant="main"
        )
        self.watchers = Subscriptions(documents, delivery, ids)
        self.worklist = WorklistService(
            documents, ids, self.clock, self.watchers, timedelta(days=10)
        )
        self.retention = Retention(documents, self.clock, self.watchers)

    async def create(self) -> str:
        return await self.worklist.create("p", None, data_set_of([work_item(dicom.new_uid())]))

    async def canceled(self) -> str:
        uid = await self.create()
        await self.worklist.request_cancellation("p", uid, {})
        return uid

    async def completed(self) -> str:
        uid, owner = await self.create(), dicom.new_uid()
        await self.worklist.change_state("p", uid, state("IN PROGRESS", owner)[0])
        await self.worklist.update("p", uid, owner, {"00741216": PERFORMED})
        await self.worklist.change_state("p", uid, state("COMPLETED", owner)[0])
        return uid

    async def is_there(self, uid: str) -> bool:
        try:
            await self.worklist.retrieve("p", uid)
        except WorkItemPurged:
            return False
        return True

    async def documents_of(self, uid: str) -> list[JsonObject]:
        return await self.documents.query(WORKLIST.name, And(()), limit=1000, partition=f"p|{uid}")

    async def purge(self, **later: float) -> int:
        self.clock.pass_by(**later)
        return await self.retention.purge_due()


@pytest.fixture
async def ward(tmp_path: Path) -> AsyncIterator[Ward]:
    documents = TroubledDocuments(tmp_path / "index.sqlite")
    yield Ward(documents)
    await documents.close()


async def test_what_is_over_goes_when_its_time_has_come(ward: Ward) -> None:
    waiting, done = await ward.create(), [await ward.completed(), await ward.canceled()]
    assert await ward.purge(days=9.9) == 0
    assert all([await ward.is_there(uid) for uid in (waiting, *done)])
    assert await ward.purge(days=0.2) == 2
    assert await ward.is_there(waiting)
    assert await ward.purge(days=1000) == 0
    query = parse_search_query([], SCOPE, most=200)
    rows = (await ward.worklist.search(query, "p", count=True)).rows
    assert [row["00080018"]["Value"] for row in rows] == [[waiting]]
    for uid in done:
        owner = dicom.new_uid()
        for asked in (
            ward.worklist.retrieve("p", uid),
            ward.worklist.update("p", uid, None, {}),
            ward.worklist.change_state("p", uid, state("IN PROGRESS", owner)[0]),
            ward.worklist.request_cancellation("p", uid, {}),
        ):
            with pytest.raises(WorkItemPurged):
                await asked
        with pytest.raises(NothingToSubscribeTo):
            await ward.watchers.subscribe("p", uid, "AET", lock=True)
        with pytest.raises(WorkItemExists):
            await ward.worklist.create("p", uid, data_set_of([work_item(uid)]))
        [left] = await ward.documents_of(uid)
        assert left.keys() - {"etag"} == {"id", "pk", "type", "partition", "uid"}
    with pytest.raises(WorkItemNotFound):
        await ward.worklist.retrieve("other", done[0])


async def test_a_lock_keeps_an_item_until_it_is_gone(ward: Ward) -> None:
    uid = await ward.completed()
    await ward.watchers.subscribe("p", uid, "LOCKS", lock=True)
    await ward.watchers.subscribe("p", uid, "WATCHES", lock=False)
    for _ in range(3):
        assert await ward.purge(days=20) == 0
        assert await ward.is_there(uid)
    await ward.watchers.unsubscribe("p", uid, "LOCKS")
    assert await ward.purge(days=1.1) == 1
    assert len(await ward.documents_of(uid)) == 1, "who watches is gone too"


async def test_a_lock_on_the_worklist_keeps_its_items(ward: Ward) -> None:
    before = [await ward.canceled() for _ in range(3)]
    await ward.watchers.subscribe_all("p", "ALL", lock=True, filter_=None)
    after = await ward.canceled()
    assert await ward.purge(days=20) == 0
    assert all([await ward.is_there(uid) for uid in (*before, after)])
    await ward.watchers.unsubscribe_all("p", "ALL", filtered=False)
    while await ward.watchers.sweep():
        pass
    assert await ward.purge(days=2) == 4


async def test_a_lock_that_is_on_its_way_counts(ward: Ward, monkeypatch: Any) -> None:
    uid = await ward.canceled()

    async def nothing(*_: object) -> None:
        """The walk to the items has not begun."""

    with monkeypatch.context() as patch:
        patch.setattr(ward.watchers, "walk", nothing)
        await ward.watchers.subscribe_all("p", "ALL", lock=True, filter_=None)
    assert await ward.purge(days=20) == 0
    await ward.watchers.walk("p", "ALL")
    assert await ward.purge(days=20) == 0
    assert await ward.is_there(uid)


@pytest.mark.parametrize("lock", [False, True])
async def test_who_subscribes_while_it_is_looked_at_is_heeded(
    ward: Ward, monkeypatch: Any, lock: bool
) -> None:
    uid = await ward.canceled()
    is_locked = ward.watchers.is_locked

    async def looked_at(partition: str, name: str) -> bool:
        found = await is_locked(partition, name)
        await ward.watchers.subscribe("p", uid, "LATE", lock=lock)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ward.watchers, "is_locked", looked_at)
        assert await ward.purge(days=20) == 0
    assert await ward.is_there(uid)
    assert await ward.purge() == (0 if lock else 1)


@pytest.mark.parametrize("dies_at", [1, 2, 3, 4])
async def test_killed_anywhere_and_gone_on_with(ward: Ward, dies_at: int) -> None:
    uid = await ward.canceled()
    await ward.watchers.subscribe("p", uid, "A", lock=False)
    await ward.watchers.subscribe("p", uid, "B", lock=False)
    assert not await ward.watchers.is_locked("p", uid)  # reports are delivered
    writes = 0

    def dying(_operations: Sequence[Operation]) -> None:
        nonlocal writes
        writes += 1
        if writes == dies_at:
            raise Unavailable

    ward.documents.failing = dying
    with pytest.raises(Unavailable):
        await ward.purge(days=20)
    ward.documents.failing = lambda _operations: None
    assert await ward.purge() == 1
    assert not await ward.is_there(uid)
    [left] = await ward.documents_of(uid)
    assert "due" not in left


async def test_a_sweep_is_bounded(ward: Ward, monkeypatch: Any) -> None:
    monkeypatch.setattr(retention_of, "_MOST_ITEMS", 2)
    first = await ward.canceled()
    await ward.watchers.subscribe("p", first, "LOCKS", lock=True)
    for _ in range(4):
        await ward.canceled()
    assert [await ward.purge(days=20), await ward.purge(), await ward.purge()] == [1, 2, 1]
    assert await ward.is_there(first)

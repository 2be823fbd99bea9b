"""Subscriptions to work items and the delivery of their reports (PS3.18 11.10–11.13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.system import RandomIds
from shared.errors import MalformedQuery, MalformedRequest, Unavailable
from shared.ports import JsonObject
from shared.worklist import delivery as delivery_of
from shared.worklist import subscriptions
from shared.worklist.delivery import Delivery
from shared.worklist.events import message
from shared.worklist.mailboxes import Mailboxes
from shared.worklist.service import CannotCancel, WorklistService
from shared.worklist.subscriptions import NothingToSubscribeTo, NotSubscribed, Subscriptions
from shared.worklist.validation import data_set_of
from tests.support import dicom
from tests.support.fakes import FixedClock, MemoryQueue, TroubledDocuments
from tests.support.work_items import PERFORMED, PROGRESS, code, sq, state, value, work_item

STATE, CANCEL, PROGRESSED, ASSIGNED = 1, 2, 3, 5


@dataclass
class Ward:
    """A tenant's worklist with its subscribers."""

    documents: TroubledDocuments
    queue: MemoryQueue
    clock: FixedClock
    worklist: WorklistService
    watchers: Subscriptions

    async def create(self, partition: str = "p", **changes: JsonObject | None) -> str:
        return await self.worklist.create(
            partition, None, data_set_of([work_item(dicom.new_uid(), **changes)])
        )

    async def claim(self, uid: str) -> str:
        owner = dicom.new_uid()
        await self.worklist.change_state("p", uid, state("IN PROGRESS", owner)[0])
        return owner

    async def settle(self) -> None:
        """Do what the messages ask for, until there are none."""
        for _ in range(3):
            await asyncio.sleep(0)
        while self.queue.sent:
            _, asked, _ = self.queue.sent.pop(0)
            await self.watchers.work(asked)
            await asyncio.sleep(0)

    async def reports(self, aet: str, after: int = 0, partition: str = "p") -> list[JsonObject]:
        await self.settle()
        return await self.watchers.delivery.mailboxes.reports(partition, aet, after, 100)

    async def heard(self, aet: str, partition: str = "p") -> list[tuple[str, int]]:
        return [(one["uid"], one["event"]) for one in await self.reports(aet, partition=partition)]


@pytest.fixture
async def ward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ward]:
    monkeypatch.setattr(subscriptions, "_PAGE", 3)
    monkeypatch.setattr(delivery_of, "_PAGE", 3)
    documents = TroubledDocuments(tmp_path / "index.sqlite")
    clock, queue, ids = FixedClock(datetime.now(UTC)), MemoryQueue(), RandomIds()
    delivery = Delivery(documents, Mailboxes(documents, clock), queue, tenant="main")
    watchers = Subscriptions(documents, delivery, ids)
    worklist = WorklistService(documents, ids, clock, watchers)
    yield Ward(documents, queue, clock, worklist, watchers)
    await documents.close()


async def test_each_event_type_and_what_it_has(ward: Ward) -> None:
    uid = await ward.create()
    await ward.watchers.subscribe("p", uid, "AET", lock=False)
    owner = await ward.claim(uid)
    who = {"00404009": sq(code("who")), "00404037": value("PN", "A^B")}
    performers = sq({**who, "00404036": value("LO", "Dept"), "00080080": value("LO", "kept out")})
    await ward.worklist.update("p", uid, owner, {"00404034": performers})
    await ward.worklist.update("p", uid, owner, {"00741204": value("LO", "not reported")})
    await ward.worklist.update(
        "p", uid, owner, {"00741002": sq({"00741004": value("DS", 50), **PROGRESS["Value"][0]})}
    )
    await ward.worklist.update("p", uid, owner, {"00404041": value("CS", "INCOMPLETE")})
    asked = {"00741238": value("LT", "why"), "0074100A": value("UR", "tel:1")}
    assert not await ward.worklist.request_cancellation("p", uid, asked)
    await ward.worklist.update("p", uid, owner, {"00741216": PERFORMED})
    await ward.worklist.change_state("p", uid, state("CANCELED", owner)[0])
    found = [message(one) for one in await ward.reports("AET")]
    kinds = [one["00001002"]["Value"][0] for one in found]
    assert kinds == [STATE, STATE, ASSIGNED, PROGRESSED, STATE, CANCEL, STATE]
    assert [one["00000110"]["Value"][0] for one in found] == list(range(1, 8))
    assert {one["00001000"]["Value"][0] for one in found} == {uid}
    assert len({one["00091001"]["Value"][0] for one in found}) == 7
    states = [one["00741000"]["Value"][0] for one in found if "00741000" in one]
    assert states == ["SCHEDULED", "IN PROGRESS", "IN PROGRESS", "CANCELED"]
    assert found[4]["00404041"]["Value"] == ["INCOMPLETE"]
    assert found[2]["00404034"]["Value"][0].keys() == {"00404009", "00404037", "00404036"}
    assert found[3]["00741002"]["Value"] == [{"00741004": value("DS", 50)}]
    assert found[5]["00741238"]["Value"] == ["why"]
    assert "00741236" in found[5]
    assert found[6]["0074100E"]["Value"]
    assert all("00081195" not in one and "00100010" not in one for one in found)


async def test_one_item_is_told_of_and_no_other(ward: Ward) -> None:
    uid, other = await ward.create(), await ward.create()
    await ward.watchers.subscribe("p", uid, "AET", lock=False)
    await ward.claim(other)
    await ward.claim(uid)
    assert await ward.heard("AET") == [(uid, STATE), (uid, STATE)]
    await ward.watchers.unsubscribe("p", uid, "AET")
    await ward.worklist.update("p", uid, (await _owner(ward, uid)), {"00404041": value("CS", "X")})
    assert len(await ward.heard("AET")) == 2
    with pytest.raises(NothingToSubscribeTo):
        await ward.watchers.subscribe("p", "1.2.3", "AET", lock=False)


async def _owner(ward: Ward, uid: str) -> str:
    found = await ward.documents.get("worklist", f"p|{uid}", "item")
    assert found is not None
    return str(found.body["owner"])


@pytest.mark.bug_report(61)
async def test_what_was_never_subscribed_is_not_found(ward: Ward) -> None:
    uid = await ward.create()
    with pytest.raises(NotSubscribed):
        await ward.watchers.unsubscribe("p", uid, "AET1")
    for filtered in (False, True):
        with pytest.raises(NotSubscribed):
            await ward.watchers.unsubscribe_all("p", "AET1", filtered=filtered)
        with pytest.raises(NotSubscribed):
            await ward.watchers.suspend("p", "AET1", filtered=filtered)
    await ward.watchers.subscribe_all("p", "AET1", lock=False, filter_=None)
    with pytest.raises(NotSubscribed):
        await ward.watchers.suspend("p", "AET1", filtered=True)
    await ward.watchers.suspend("p", "AET1", filtered=False)
    with pytest.raises(NotSubscribed):
        await ward.watchers.suspend("p", "AET1", filtered=False)
    await ward.watchers.unsubscribe_all("p", "AET1", filtered=False)
    with pytest.raises(NotSubscribed):
        await ward.watchers.unsubscribe_all("p", "AET1", filtered=False)


@pytest.mark.parametrize("lock", [False, True])
async def test_all_items_those_that_are_there_and_those_to_come(ward: Ward, lock: bool) -> None:
    old = [await ward.create() for _ in range(7)]  # more than a page
    await ward.settle()
    await ward.watchers.subscribe_all("p", "AET", lock=lock, filter_=None)
    initial = [(uid, STATE) for uid in old] if lock else []
    assert sorted(await ward.heard("AET")) == sorted(initial)
    new = await ward.create()
    await ward.claim(old[0])
    heard = (await ward.heard("AET"))[len(initial) :]
    assert sorted(heard) == sorted([(new, STATE), (old[0], STATE)])
    for uid in (old[0], old[-1], new):
        assert await ward.watchers.is_locked("p", uid) is lock
    await ward.watchers.suspend("p", "AET", filtered=False)
    missed = await ward.create()
    await ward.claim(old[1])
    heard = (await ward.heard("AET"))[len(initial) + 2 :]
    assert heard == [(old[1], STATE)]
    await ward.watchers.unsubscribe_all("p", "AET", filtered=False)
    await ward.settle()
    for uid in (old[2], new, missed):
        await ward.claim(uid)
        assert not await ward.watchers.is_locked("p", uid)
    assert len(await ward.heard("AET")) == len(initial) + 3


async def test_a_filter_is_matched_as_a_search_is(ward: Ward) -> None:
    inside = await ward.create(t00741204=value("LO", "Read CT"))
    outside = await ward.create()
    await ward.settle()
    filter_ = [("ProcedureStepLabel", "read*"), ("00404025.00080100", "AI")]
    with pytest.raises(MalformedQuery):
        await ward.watchers.subscribe_all("p", "AET", lock=False, filter_=[("Modality", "CT")])
    await ward.watchers.subscribe_all("p", "AET", lock=True, filter_=filter_[:1])
    # "Read" and "Read CT" both begin so
    assert sorted(await ward.heard("AET")) == sorted([(inside, STATE), (outside, STATE)])
    await ward.watchers.subscribe_all("p", "AET2", lock=True, filter_=filter_)
    assert await ward.heard("AET2") == []
    both = await ward.create(t00404025=sq(code("other"), code("AI")))
    await ward.create(t00741204=value("LO", "Write"), t00404025=sq(code("AI")))
    assert await ward.heard("AET2") == [(both, STATE), (both, ASSIGNED)]
    await ward.claim(both)
    assert (await ward.heard("AET2"))[2:] == [(both, STATE)]


async def test_the_lock_of_an_ae(ward: Ward) -> None:
    uid = await ward.create()
    await ward.watchers.subscribe("p", uid, "A", lock=True)
    assert await ward.watchers.is_locked("p", uid)
    # the subscription to the worklist takes no lock away
    await ward.watchers.subscribe_all("p", "A", lock=False, filter_=None)
    assert await ward.watchers.is_locked("p", uid)
    await ward.watchers.subscribe("p", uid, "A", lock=False)
    assert not await ward.watchers.is_locked("p", uid)
    # and one with a lock adds it
    await ward.watchers.subscribe_all("p", "A", lock=True, filter_=None)
    assert await ward.watchers.is_locked("p", uid)


async def test_a_request_to_cancel_goes_to_subscribers_only(ward: Ward) -> None:
    uid = await ward.create()
    await ward.claim(uid)
    with pytest.raises(CannotCancel, match="C312"):
        await ward.worklist.request_cancellation("p", uid, {})
    await ward.watchers.subscribe_all("p", "AET", lock=False, filter_=None)
    assert not await ward.worklist.request_cancellation("p", uid, {})
    assert await ward.heard("AET") == [(uid, CANCEL)]
    assert await ward.worklist.request_cancellation("p", await ward.create(), {})


async def test_partitions_are_apart(ward: Ward) -> None:
    await ward.watchers.subscribe_all("p", "AET", lock=True, filter_=None)
    await ward.create("other")
    assert await ward.heard("AET") == [] == await ward.heard("AET", "other")


async def test_reports_of_an_item_come_in_order_whoever_delivers(ward: Ward) -> None:
    uid = await ward.create()
    await ward.watchers.subscribe("p", uid, "AET", lock=False)
    owner = await ward.claim(uid)
    for number in range(10):
        words = {"00404041": value("CS", f"R{number}")}
        await ward.worklist.update("p", uid, owner, words)
    await asyncio.gather(*(ward.watchers.delivery.deliver("p", uid) for _ in range(4)))
    found = await ward.reports("AET")  # the messages are late, and doubled
    assert [one["info"]["00404041"]["Value"][0] for one in found[2:]] == [
        f"R{number}" for number in range(10)
    ]
    assert len({one["id"] for one in found}) == len(found)
    assert [int(one["version"]) for one in found] == list(range(1, 13))
    place = await ward.watchers.delivery.mailboxes.place_of("p", "AET", found[5]["id"])
    assert await ward.reports("AET", place) == found[6:]
    for unknown in ("1", "x", "9" * 30, ""):
        with pytest.raises(MalformedRequest, match="after"):
            await ward.watchers.delivery.mailboxes.place_of("p", "AET", unknown)


@pytest.mark.parametrize("crash_at", range(6))
async def test_a_crash_between_any_two_writes(ward: Ward, crash_at: int) -> None:
    uid = await ward.create()
    await ward.watchers.subscribe("p", uid, "A", lock=False)
    await ward.watchers.subscribe("p", uid, "B", lock=False)
    await ward.settle()
    await ward.claim(uid)
    ward.queue.sent.clear()  # the message is lost as well
    left = crash_at

    def failing(_operations: Any) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            raise Unavailable

    ward.documents.failing = failing
    for _ in range(2):
        try:
            await ward.watchers.sweep()
        except Unavailable:
            continue
    for aet in ("A", "B"):
        assert await ward.heard(aet) == [(uid, STATE), (uid, STATE)]


async def test_a_walk_that_died_is_gone_on_with(ward: Ward) -> None:
    old = [await ward.create() for _ in range(7)]
    await ward.settle()
    await ward.watchers.subscribe_all("p", "AET", lock=True, filter_=None)
    ward.queue.sent.clear()
    await ward.watchers.sweep()
    assert {uid for uid, _ in await ward.heard("AET")} == set(old)
    await ward.watchers.unsubscribe_all("p", "AET", filtered=False)
    ward.queue.sent.clear()
    while await ward.watchers.sweep():
        pass
    assert not any([await ward.watchers.is_locked("p", uid) for uid in old])


async def test_an_item_that_changes_while_it_is_subscribed_to(ward: Ward) -> None:
    uid = await ward.create()
    await ward.settle()
    commit, raced = ward.documents.commit, False

    async def racing(container: str, partition: str, operations: Any) -> None:
        nonlocal raced
        if not raced:
            raced = True
            await ward.claim(uid)
            await ward.watchers.delivery.deliver("p", uid)  # nobody is subscribed yet
        await commit(container, partition, operations)

    ward.documents.commit = racing  # type: ignore[method-assign]
    await ward.watchers.subscribe("p", uid, "AET", lock=False)
    states = [one["info"]["00741000"]["Value"][0] for one in await ward.reports("AET")]
    assert states == ["SCHEDULED", "IN PROGRESS"]


async def test_reports_are_kept_for_a_week(ward: Ward) -> None:
    uid = await ward.create()
    await ward.watchers.subscribe("p", uid, "AET", lock=False)
    await ward.settle()
    await ward.watchers.sweep()
    assert len(await ward.reports("AET")) == 1
    ward.clock.pass_by(days=7, seconds=5)
    await ward.watchers.sweep()
    assert await ward.reports("AET") == []
    assert await ward.watchers.delivery.mailboxes.last("p", "AET") == 1

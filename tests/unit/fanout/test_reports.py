"""Event reports of work items go to webhooks by the machine that the change feed has."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.adapters.azure.events import EventOutlets
from shared.adapters.system import RandomIds
from shared.errors import MalformedRequest, Unavailable
from shared.export.addresses import AllowedHosts
from shared.fanout.models import FAN_OUT_QUEUE, Origin, Subscription, Type
from shared.fanout.requests import subscription_of
from shared.fanout.service import FanOut
from shared.fanout.sources import MailboxSource
from shared.index.documents import iso
from shared.operations.sealing import Sealer
from shared.ports import JsonObject, time_of
from shared.worklist.events import EventType
from shared.worklist.mailboxes import KEPT_FOR, Mailboxes
from tests.support.fakes import FixedClock, MemoryQueue, TroubledDocuments
from tests.support.hooks import Hook, hook_running

_KEY = "A" * 43 + "="
_URL = "http://host/main"
_ITEM = "1.2.3"


@dataclass
class Post:
    """The mailboxes of a tenant, and who is told of what is in them."""

    documents: TroubledDocuments
    outlets: EventOutlets
    clock: FixedClock
    queue: MemoryQueue
    ids: RandomIds

    @property
    def mailboxes(self) -> Mailboxes:
        return Mailboxes(self.documents, self.clock)

    @property
    def fanout(self) -> FanOut:
        """As a process makes it that has just begun."""
        return FanOut(
            self.documents, {Origin.WORKLIST: MailboxSource(self.mailboxes, _URL)}, self.queue,
            self.outlets, sealer=Sealer([_KEY]), ids=self.ids, clock=self.clock, tenant="main",
        )  # fmt: skip

    async def put(self, aet: str, *kinds: int, partition: str = "p") -> list[str]:
        """Put reports into a mailbox; their event ids."""
        reports: list[JsonObject] = [
            {"id": self.ids.version(), "event": kind, "info": {"00741000": {"vr": "CS"}}}
            for kind in kinds
        ]
        await self.mailboxes.append(partition, aet, _ITEM, reports)
        return [one["id"] for one in reports]

    async def add(self, hook: Hook, aet: str, after: int | None = 0, partition: str = "p") -> str:
        asked = Subscription(
            "", Type.WEBHOOK, hook.url, "", partitions=(partition,), origin=Origin.WORKLIST, aet=aet
        )
        new, _ = await self.fanout.add(asked, after=after, secret="s" * 16)
        return new.id

    async def work(self, id_: str) -> None:
        await self.fanout.delivery.work(id_)


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    documents, queue = TroubledDocuments(tmp_path / "index.sqlite"), MemoryQueue()
    outlets = EventOutlets(
        queue, AllowedHosts(("127.0.0.1",)), None, origin="host", client_id=None, signed_in=False
    )
    yield Post(documents, outlets, FixedClock(datetime.now(UTC)), queue, RandomIds())
    await outlets.close()
    await documents.close()


@pytest.fixture
def hooks() -> Iterator[tuple[Hook, Hook]]:
    with ExitStack() as stack:
        first, second = (stack.enter_context(hook_running()) for _ in range(2))
        yield first, second


def _ids(hook: Hook) -> list[str]:
    return [event["id"] for event in hook.events]


async def test_reports_come_signed_in_the_order_of_the_mailbox(
    post: Post, hooks: tuple[Hook, Hook]
) -> None:
    hook, _ = hooks
    ids = await post.put("READER1", *EventType)
    await post.put("READER2", 1)
    await post.put("READER1", 1, partition="q")
    id_ = await post.add(hook, "READER1")
    await post.work(id_)
    assert _ids(hook) == ids
    assert [event["type"] for event in hook.events] == [
        "Dicom.UpsStateReport",
        "Dicom.UpsCancelRequested",
        "Dicom.UpsProgressReport",
        "Dicom.UpsAssigned",
    ]
    first = hook.events[0]
    assert first["subject"] == f"host/main/v2/partitions/p/workitems/{_ITEM}"
    assert (first["source"], first["specversion"]) == (_URL, "1.0")
    assert first["time"] == iso(time_of(ids[0]))
    data = first["data"]
    assert first["datacontenttype"] == "application/dicom+json"
    assert data["00001000"]["Value"] == [_ITEM]
    assert data["00091001"]["Value"] == [ids[0]]
    assert [one["data"]["00000110"]["Value"] for one in hook.events] == [[1], [2], [3], [4]]
    headers, body = hook.bodies[0]
    seconds, value = headers["X-Dicom-Signature"].split(",")
    signed = seconds.removeprefix("t=").encode() + b"." + body
    assert value == "v1=" + hmac.new(b"s" * 16, signed, hashlib.sha256).hexdigest()


async def test_a_receiver_that_is_away_delays_no_other(
    post: Post, hooks: tuple[Hook, Hook]
) -> None:
    away, hook = hooks
    ids = await post.put("READER1", 1, 3)
    waiting, other = await post.add(away, "READER1"), await post.add(hook, "READER1")
    away.status = 503
    await post.work(waiting)
    await post.work(other)
    assert _ids(hook) == ids
    failing = await post.fanout.get(waiting)
    assert (failing.attempts, failing.cursor, await post.fanout.lag(failing)) == (1, 0, 2)
    assert post.queue.sent[-1][:2] == (FAN_OUT_QUEUE, {"tenant": "main", "subscription": waiting})
    away.status = 200
    ids += await post.put("READER1", 1)
    post.clock.pass_by(seconds=10)
    await post.work(waiting)
    assert _ids(away) == ids


@pytest.mark.parametrize("crash_at", [1, 2])
async def test_a_process_that_dies_loses_nothing(
    post: Post, hooks: tuple[Hook, Hook], crash_at: int
) -> None:
    hook, _ = hooks
    ids = await post.put("READER1", 1, 3)
    id_ = await post.add(hook, "READER1")
    writes = 0

    def failing(_operations: object) -> None:
        nonlocal writes
        writes += 1
        if writes == crash_at:  # first that it is at it, then its place
            raise Unavailable

    post.documents.failing = failing
    with pytest.raises(Unavailable):
        await post.work(id_)
    post.documents.failing = lambda _operations: None
    assert _ids(hook) == ids[: 2 * (crash_at - 1)]
    post.clock.pass_by(minutes=2)
    await post.work(id_)
    assert _ids(hook) == ids * crash_at
    await post.work(id_)
    assert _ids(hook) == ids * crash_at


async def test_its_place_is_not_that_of_the_socket(post: Post, hooks: tuple[Hook, Hook]) -> None:
    hook, late = hooks
    ids = await post.put("READER1", 1, 3)
    await post.mailboxes.set_reached("p", "READER1", 2)
    id_ = await post.add(hook, "READER1")
    from_now = await post.add(late, "READER1", after=None)
    await post.work(id_)
    await post.work(from_now)
    assert _ids(hook) == ids
    assert await post.mailboxes.reached("p", "READER1") == 2
    ids = await post.put("READER1", 1)
    await post.work(from_now)
    assert _ids(late) == ids
    assert await post.mailboxes.reached("p", "READER1") == 2


async def test_what_fails_for_a_day_is_put_aside(post: Post, hooks: tuple[Hook, Hook]) -> None:
    hook, _ = hooks
    given_up = await post.put("READER1", 1, 3)
    id_ = await post.add(hook, "READER1")
    hook.status = 500
    for _ in range(3):
        await post.work(id_)
        post.clock.pass_by(hours=13)
    [letter] = await post.fanout.dead_letters(id_)
    assert (letter["first"], letter["last"]) == (1, 2)
    hook.status = 200
    ids = await post.put("READER1", 1)
    await post.work(id_)
    assert _ids(hook) == ids
    assert await post.fanout.redeliver(id_) == (1, 0)
    assert _ids(hook) == ids + given_up


async def test_what_is_kept_no_longer_is_not_redelivered(
    post: Post, hooks: tuple[Hook, Hook]
) -> None:
    hook, _ = hooks
    await post.put("READER1", 1)
    id_ = await post.add(hook, "READER1")
    hook.status = 500
    for _ in range(3):
        await post.work(id_)
        post.clock.pass_by(hours=13)
    post.clock.pass_by(seconds=KEPT_FOR.total_seconds())
    assert await post.mailboxes.clear_old() == 1
    hook.status = 200
    assert await post.fanout.redeliver(id_) == (0, 0)
    assert not await post.fanout.dead_letters(id_)
    assert not hook.events


async def test_only_those_are_asked_whose_mailbox_grew(
    post: Post, hooks: tuple[Hook, Hook]
) -> None:
    hook, _ = hooks
    ids = {aet: await post.add(hook, aet) for aet in ("READER1", "READER2")}
    post.queue.sent.clear()
    fanout = post.fanout
    fanout.mailbox_grew("p", "READER2")
    fanout.mailbox_grew("q", "READER1")
    fanout.feed_grew()
    await asyncio.sleep(0.5)
    assert [message["subscription"] for _, message, _ in post.queue.sent] == [ids["READER2"]]
    await fanout.ask_all()
    assert len(post.queue.sent) == 3


def test_what_was_written_before_there_were_sources() -> None:
    body = Subscription("0" * 32, Type.QUEUE, "events-a", "").to_json()
    del body["origin"], body["aet"]
    assert Subscription.from_json(body).origin is Origin.FEED


def _asked(**members: object) -> Subscription:
    body = {"type": "queue", "endpoint": "events-a", "source": "worklist", **members}
    return subscription_of(body, AllowedHosts(()), has_topic=False, has_key=False)[0]


def test_what_is_asked_for() -> None:
    assert _asked(aeTitle=" READER1 ").mailbox == ("microsoft.default", "READER1")
    assert _asked(aeTitle="READER1", partitions=["Ward.A"]).mailbox == ("ward.a", "READER1")


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({}, "aeTitle"),
        ({"aeTitle": 7}, "aeTitle"),
        ({"aeTitle": "SEVENTEEN-LETTERS"}, "AE title"),
        ({"aeTitle": "A", "actions": []}, "actions"),
        ({"aeTitle": "A", "partitions": ["a", "b"]}, "partition"),
        ({"aeTitle": "A", "source": "feed"}, "source"),
        ({"aeTitle": "A", "source": "changeFeed"}, "aeTitle"),
    ],
)
def test_what_is_wrong_is_named(members: dict[str, object], named: str) -> None:
    with pytest.raises(MalformedRequest, match=named):
        _asked(**members)

"""From the change feed to messages, one for each study that has changed.

How far the feed has been read is a document of the tenant, written after the messages are sent: a
process that dies in between sends some of them twice, which changes nothing.

References
----------
Spec dicomcast.md §2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from shared.cast.worker import CAST_QUEUE, message_of
from shared.errors import OperationRefused, Unavailable
from shared.feed.sequencer import Sequencer
from shared.feed.shapes import ENTRY
from shared.index.schema import CHANGES, CONTROL
from shared.ports import Clock, Create, Document, Documents, JsonObject, Queue, Replace
from shared.where import And, Eq, Order, Range

DEBOUNCE_S = 2.0
"""Seconds that a message waits, so that the instances of one store come as one."""

_KIND = "checkpoint"
_ID = "cast"
_PAGE = 500
_AT_ONCE = 16
_MOST_PAGES = 100
_MOST_ATTEMPTS = 20
_GAP_LASTS = timedelta(minutes=1)
_BY_SEQUENCE = (Order(("sequence",)),)
_MEMBERS = ("sequence", "partition", "study", "timestamp")


class Dispatcher:
    """Sends the messages of one tenant."""

    def __init__(
        self, documents: Documents, sequencer: Sequencer, queue: Queue, clock: Clock, tenant: str
    ) -> None:
        self._documents = documents
        self._sequencer = sequencer
        self._queue = queue
        self._clock = clock
        self._tenant = tenant

    async def run(self, is_ready: Callable[[], Awaitable[bool]]) -> int:
        """Send messages for all that has been announced since; returns how many.

        Parameters
        ----------
        is_ready : Callable
            Whether messages can be worked on now; asked only if there are some. If not, the
            changes stay where they are: in the feed they wait better than in the queue.
        """
        await self._sequencer.drain()
        sent = 0
        for _ in range(_MOST_PAGES):
            checkpoint = await self._checkpoint()
            done = _sequence_of(checkpoint)
            entries = self._settled(done, await self._entries(done))
            if not entries or not await is_ready():
                break
            newest = {(one["partition"], one["study"]): one["sequence"] for one in entries}
            await self.send(
                [message_of(self._tenant, *study, last) for study, last in newest.items()]
            )
            sent += len(newest)
            if not await self._write(checkpoint, entries[-1]["sequence"]):
                break  # somebody else is at it, or it is to be replayed
        return sent

    async def send(self, messages: Sequence[JsonObject]) -> None:
        """Put messages on the queue, several at a time."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(message: JsonObject) -> None:
            async with slots:
                await self._queue.send(CAST_QUEUE, message, delay_s=DEBOUNCE_S)

        await asyncio.gather(*map(one, messages))

    async def position(self) -> tuple[int, int]:
        """The sequence numbers of the last change that was sent on, and of the last there is."""
        newest = await self._documents.query(
            CHANGES.name,
            Eq(("type",), ENTRY),
            order=[Order(("sequence",), descending=True)],
            limit=1,
            members=["sequence"],
        )
        return _sequence_of(await self._checkpoint()), newest[0]["sequence"] if newest else 0

    async def replay(self, sequence: int) -> None:
        """Begin again at a change.

        Parameters
        ----------
        sequence : int
            Of the first change that is sent on again, from 1.
        """
        for _ in range(_MOST_ATTEMPTS):
            if await self._write(await self._checkpoint(), sequence - 1):
                return
        raise Unavailable

    # ------------------------------------------------------------------------------------------

    async def _entries(self, done: int) -> list[JsonObject]:
        where = And((Eq(("type",), ENTRY), Range(("sequence",), low=done + 1)))
        return await self._documents.query(
            CHANGES.name, where, order=_BY_SEQUENCE, limit=_PAGE, members=_MEMBERS
        )

    def _settled(self, done: int, entries: list[JsonObject]) -> list[JsonObject]:
        """The entries up to a gap that is young: what is missing may be on its way to be seen."""
        old = self._clock.now() - _GAP_LASTS
        for place, entry in enumerate(entries):
            young = datetime.fromisoformat(entry["timestamp"]) > old
            if entry["sequence"] != done + 1 and young:
                return entries[:place]
            done = entry["sequence"]
        return entries

    async def _checkpoint(self) -> Document | None:
        return await self._documents.get(CONTROL.name, _KIND, _ID)

    async def _write(self, before: Document | None, sequence: int) -> bool:
        body: JsonObject = {"id": _ID, "kind": _KIND, "sequence": sequence}
        operation = Create(body) if before is None else Replace(body, before.etag)
        try:
            await self._documents.commit(CONTROL.name, _KIND, [operation])
        except OperationRefused:
            return False
        return True


def _sequence_of(checkpoint: Document | None) -> int:
    return 0 if checkpoint is None else int(checkpoint.body["sequence"])

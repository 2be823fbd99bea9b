"""Move outbox documents into the change feed, in one order for all (architecture §6).

An append is one batch: the head under its ETag, and the entries. Whoever loses reads the head anew.
An outbox document is deleted after its entries are there; a process that dies in between leaves
it, and whoever finds it then finds its entries too. If it was committed by a list of extended query
tags that is old by then, a document ``behind`` takes its place: who committed may have died before
the second look at the list (ADR 0015).

Concurrent requests of one process share an append. Their answers do not wait for it: reading the
feed first drains the outbox, and so does the sweep.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared import telemetry
from shared.errors import DicomServiceError, OperationRefused, Refusal, Unavailable
from shared.feed.shapes import ENTRY, FIRST_BUCKET, HEAD, bucket_after, entry_ids
from shared.index import shapes
from shared.index.documents import behind_body, iso
from shared.index.schema import CHANGES, INDEX
from shared.ports import (
    MAX_OPERATIONS,
    Clock,
    Create,
    Delete,
    Document,
    Documents,
    JsonObject,
    Operation,
    Replace,
)
from shared.where import Eq, In, Order

BUCKET_ENTRIES = 100_000
"""Entries after which a bucket is closed."""

_MOST_ENTRIES = MAX_OPERATIONS - 5
_MOST_ATTEMPTS = 60
_PAGE = 100
_MICROSECOND = timedelta(microseconds=1)
_BEGINNING = "0001-01-01T00:00:00.000000Z"

_log = logging.getLogger("dicom.feed")


async def _no_tag() -> int:
    return 0


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An outbox document, and the bucket that was open before it was written, if that is known."""

    outbox: JsonObject
    bucket: str | None


class Sequencer:
    """Appends to the change feed of one tenant.

    Parameters
    ----------
    documents : Documents
        Of the tenant.
    clock : Clock
        The time.
    bucket_entries : int
        Entries after which a bucket is closed.
    newest_tag : Callable
        Tells the highest number that an extended query tag has at the moment.
    appended : Callable
        Is told that the feed has grown.
    """

    def __init__(
        self,
        documents: Documents,
        clock: Clock,
        *,
        bucket_entries: int = BUCKET_ENTRIES,
        newest_tag: Callable[[], Awaitable[int]] = _no_tag,
        appended: Callable[[], None] = lambda: None,
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._bucket_entries = bucket_entries
        self._newest_tag = newest_tag
        self.appended = appended
        self._bucket: str | None = None
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None

    @property
    def open_bucket(self) -> str | None:
        """The bucket that is open as far as this process knows."""
        return self._bucket

    def announce(self, outbox: JsonObject, bucket: str | None) -> None:
        """Append an outbox document that was just committed; nobody waits for it.

        Parameters
        ----------
        outbox : JsonObject
            The document.
        bucket : str or None
            ``open_bucket`` before it was committed. In a later bucket somebody else may have
            appended it before that one was closed; so then it is looked for.
        """
        self._waiting.append(_Waiting(outbox, bucket))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())

    async def settled(self) -> None:
        """Wait for what was announced in this process."""
        if self._working is not None:
            await asyncio.shield(self._working)

    async def _work(self) -> None:
        await asyncio.sleep(0)  # those who commit at the same time come along
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                for batch in _batches(waiting):
                    await self._append(batch)
            except DicomServiceError as error:
                # the outbox has it: the next reader of the feed or the sweep appends it
                _log.warning("announcement deferred", extra={"cause": type(error).__name__})

    async def drain(self) -> int:
        """Append every outbox document that is there now. Returns how many there were.

        Raises
        ------
        Throttled, Unavailable
            A store does not take it; what was appended until then stays.
        """
        until = iso(self._clock.now())
        drained = 0
        while True:
            page = await self._documents.query(
                INDEX.name,
                Eq(("type",), shapes.OUTBOX),
                order=[Order(("version",))],
                limit=_PAGE,
            )
            for batch in _batches([_Waiting(body, None) for body in page]):
                await self._append(batch)
            drained += len(page)
            if len(page) < _PAGE or page[-1]["created"] > until:
                return drained

    # One append ---------------------------------------------------------------------------

    async def _append(self, batch: Sequence[_Waiting]) -> None:
        left = list(batch)
        for attempt in range(_MOST_ATTEMPTS):
            head = await self._head()
            left = await self._without_appended(left, head.body["bucket"])
            if not left:
                break
            operations = self._operations(head, left)
            try:
                await self._documents.commit(CHANGES.name, head.body["bucket"], operations)
            except OperationRefused as refused:
                if refused.index and refused.refusal is Refusal.EXISTS:
                    # another process was at it: see which are there
                    left = [_Waiting(one.outbox, None) for one in left]
                await asyncio.sleep(random.uniform(0, min(0.002 * 1.5**attempt, 0.5)))  # noqa: S311
            else:
                break
        else:
            raise Unavailable
        now = self._clock.now()
        for one in left:
            lag = now - datetime.fromisoformat(one.outbox["created"])
            telemetry.FEED_LAG.record(max(0.0, lag.total_seconds()))
        self.appended()
        await self._delete(batch)

    async def _without_appended(self, batch: list[_Waiting], bucket: str) -> list[_Waiting]:
        """Those without entries. In the bucket that was open before, ids alone see to that."""
        doubtful = [one.outbox for one in batch if one.bucket != bucket]
        if not doubtful:
            return batch
        ids = tuple(entry_ids(outbox)[0] for outbox in doubtful)
        found = await self._documents.query(
            CHANGES.name, In(("id",), ids), limit=len(ids), members=["id"]
        )
        appended = {body["id"] for body in found}
        return [
            _Waiting(one.outbox, bucket)
            for one in batch
            if entry_ids(one.outbox)[0] not in appended
        ]

    def _operations(self, head: Document, batch: Sequence[_Waiting]) -> list[Operation]:
        body = head.body
        sequence = body["next"]
        moment = max(self._clock.now(), datetime.fromisoformat(body["timestamp"]) + _MICROSECOND)
        entries: list[Operation] = []
        for one in batch:
            outbox = one.outbox
            for name, change in zip(entry_ids(outbox), outbox["changes"], strict=True):
                entry: JsonObject = {
                    "id": name,
                    "bucket": body["bucket"],
                    "type": ENTRY,
                    "sequence": sequence,
                    "timestamp": iso(moment),
                    "action": change["action"],
                    "partition": outbox["partition"],
                    "study": outbox["study"],
                    "series": change["series"],
                    "instance": change["instance"],
                    "version": change["version"],
                }
                entries.append(Create(entry))
                sequence += 1
                moment += _MICROSECOND
        after = {
            **body,
            "next": sequence,
            "timestamp": iso(moment - _MICROSECOND),
            "closed": sequence - body["first"] >= self._bucket_entries,
        }
        return [Replace(after, head.etag), *entries]

    async def _delete(self, batch: Sequence[_Waiting]) -> None:
        has_instances = any("tags" in one.outbox for one in batch)
        newest = await self._newest_tag() if has_instances else 0
        for one in batch:
            outbox = one.outbox
            operations: list[Operation] = [Delete(outbox["id"])]
            if outbox.get("tags", newest) < newest:
                operations.append(Create(behind_body(outbox)))
            try:
                await self._documents.commit(INDEX.name, outbox["pk"], operations)
            except OperationRefused:
                continue  # another process was faster

    # The open bucket ----------------------------------------------------------------------

    async def _head(self) -> Document:
        """The head of the bucket that is open; opens the first, or the next, if none is."""
        if self._bucket is None:
            newest = await self._documents.query(
                CHANGES.name,
                Eq(("type",), HEAD),
                order=[Order(("bucket",), descending=True)],
                limit=1,
                members=["bucket"],
            )
            self._bucket = newest[0]["bucket"] if newest else FIRST_BUCKET
        bucket = self._bucket  # another request may move on while this one waits
        while True:
            found = await self._documents.get(CHANGES.name, bucket, HEAD)
            if found is None:
                await self._open(bucket, 1, _BEGINNING)
            elif not found.body["closed"]:
                self._bucket = bucket
                return found
            else:
                bucket = bucket_after(bucket)
                await self._open(bucket, found.body["next"], found.body["timestamp"])

    async def _open(self, bucket: str, first: int, timestamp: str) -> None:
        head: JsonObject = {
            "id": HEAD,
            "bucket": bucket,
            "type": HEAD,
            "first": first,
            "next": first,
            "timestamp": timestamp,
            "closed": False,
        }
        try:
            await self._documents.commit(CHANGES.name, bucket, [Create(head)])
        except OperationRefused:
            return  # another process has


def _batches(waiting: Sequence[_Waiting]) -> list[list[_Waiting]]:
    """Cut into appends that one commit takes; an outbox document is never cut."""
    batches: list[list[_Waiting]] = []
    size = _MOST_ENTRIES
    for one in waiting:
        count = len(one.outbox["changes"])
        if size + count > _MOST_ENTRIES:
            batches.append([])
            size = 0
        batches[-1].append(one)
        size += count
    return batches

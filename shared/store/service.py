"""Store: take in the instances of one request and commit them (PS3.18 10.5, architecture §6).

Bytes first: each instance streams into its own blob. Only when the whole request has been read,
and was well-formed, do the instances enter the index, study by study in atomic batches. Whatever
goes wrong before, the blobs are removed; if the process dies, the blob-triggered function finds
them (``shared.store.complete``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from shared import telemetry
from shared.config import Limits
from shared.errors import InstanceRefused, RequestTooSlow, ServiceTrouble
from shared.index.commit import Committer, Outcome
from shared.index.documents import Expiry, iso
from shared.index.replacement import Replacer
from shared.index.shapes import InstanceKey
from shared.ports import Blobs, Clock, Ids, JsonObject
from shared.resilience import regardless_of_cancellation, tidied
from shared.store.intake import Destination, Intake, Received, RefusedByRules
from shared.store.models import (
    ALREADY_STORED,
    PROCESSING_FAILURE,
    Refused,
    Stored,
    StoreResult,
)
from shared.store.segments import place
from shared.tags.indexing import TagIndexer
from shared.tags.models import NO_TAGS, TagList
from shared.telemetry import traced

_log = logging.getLogger("dicom.store")

_WRITES_AT_ONCE = 3
_PART_OF_GRACE = 0.9
_Outcome = Outcome | Exception


class StoreService:
    """The store transaction of one tenant."""

    def __init__(
        self,
        blobs: Blobs,
        committer: Committer,
        replacer: Replacer,
        ids: Ids,
        limits: Limits,
        *,
        clock: Clock,
        grace: timedelta,
        indexer: TagIndexer | None = None,
    ) -> None:
        self._blobs = blobs
        self._committer = committer
        self._replacer = replacer
        self._ids = ids
        self._clock = clock
        self._limits = limits
        self._indexer = indexer
        self._most_seconds = _PART_OF_GRACE * grace.total_seconds()

    @traced("store")
    async def store(
        self, contents: AsyncIterator[AsyncIterator[bytes]], destination: Destination
    ) -> StoreResult:
        """Store the instances of a request.

        Parameters
        ----------
        contents : AsyncIterator[AsyncIterator[bytes]]
            The instances in order, each as the pieces of its file. Each is read before the next
            is asked for. What it raises refuses the whole request, and nothing of it stays.
        destination : Destination
            Where they go.

        Returns
        -------
        StoreResult
            One row an instance. A stored row is safe and found by search.

        Raises
        ------
        PayloadTooLarge
            An instance is larger than one may be.
        RequestTooSlow
            The request did not arrive within nine tenths of the grace. After the grace its files
            would be taken for those of a process that died.
        Throttled, Unavailable
            Every instance failed because a store does not take it.
        """
        request = _Request(self, destination, await self.tags())
        deadline = asyncio.timeout(self._most_seconds)
        try:
            async with deadline:
                async for content in contents:
                    await request.take(content)
                await request.written()
            await _close(contents)
        except BaseException as error:
            await tidied(request.undo())
            await _close(contents)
            if isinstance(error, TimeoutError) and deadline.expired():
                raise RequestTooSlow(
                    f"A store has to arrive within {self._most_seconds:.0f} seconds."
                ) from error
            raise
        return await regardless_of_cancellation(request.commit())

    async def tags(self) -> TagList:
        """The extended query tags, as this process last saw them; ``commit`` looks again."""
        return NO_TAGS if self._indexer is None else await self._indexer.registry.known()

    def intake(
        self, content: AsyncIterator[bytes], destination: Destination, tags: TagList
    ) -> Intake:
        """An intake for one instance."""
        return Intake(
            content,
            destination,
            blobs=self._blobs,
            ids=self._ids,
            limits=self._limits,
            tags=tags,
        )

    def expiry(self, destination: Destination) -> Expiry:
        """What becomes of the expiry of the studies that a request stores into now."""
        after = destination.expires_after
        return Expiry(None if after is None else iso(self._clock.now() + after))

    async def remove(self, keys: Sequence[str]) -> None:
        """Remove blobs that nothing names. What cannot be removed now is found by its event."""
        for outcome in await asyncio.gather(
            *(self._blobs.delete(key) for key in keys), return_exceptions=True
        ):
            if isinstance(outcome, BaseException):
                _log.warning("a blob could not be removed", extra={"cause": type(outcome).__name__})

    async def commit(
        self,
        received: Sequence[Received],
        resources_url: str,
        *,
        upsert: bool = False,
        expiry: Expiry | None = None,
        remembered: JsonObject | None = None,
    ) -> list[_Outcome]:
        """Bring received instances into the index; remove the files of those that lose.

        ``remembered`` are further members of their documents.
        """
        try:
            news, segments = await place(received, resources_url, blobs=self._blobs, ids=self._ids)
        except ServiceTrouble as trouble:
            await self.remove([one.blob for one in received])
            return [trouble] * len(received)
        news = [
            replace(new, expiry=expiry, details={**new.details, **(remembered or {})})
            for new in news
        ]
        outcomes = await self._committer.add(news)
        if upsert:
            known = [at for at, each in enumerate(outcomes) if each is Outcome.ALREADY_STORED]
            replaced = await self._replacer.replace([news[at] for at in known])
            for at, outcome in zip(known, replaced, strict=True):
                outcomes[at] = outcome
        lost = [
            one.blob
            for one, outcome in zip(received, outcomes, strict=True)
            if outcome is Outcome.ALREADY_STORED
        ]
        if len(lost) == len(received):
            lost += segments
        await self.remove(lost)
        await self._catch_up(received, outcomes)
        return outcomes

    async def _catch_up(self, received: Sequence[Received], outcomes: Sequence[_Outcome]) -> None:
        """Index what is stored by extended query tags that were added since it was read."""
        stored = [
            one
            for one, outcome in zip(received, outcomes, strict=True)
            if outcome is Outcome.STORED
        ]
        if self._indexer is not None and stored:
            known = min(one.tags.last for one in stored)
            try:
                await self._indexer.catch_up({one.key.pk for one in stored}, known)
            except ServiceTrouble as trouble:
                # they are stored, and the sequencer leaves a mark: the sweep does it
                cause = type(trouble).__name__
                _log.warning("a study stays behind its tags for now", extra={"cause": cause})


class _Request:
    """The instances of one request: their rows, and the writes that are under way."""

    def __init__(self, service: StoreService, destination: Destination, tags: TagList) -> None:
        self._service = service
        self._tags = tags
        self._destination = destination
        self._expiry = service.expiry(destination)
        self._rows: list[Stored | Refused | Received | ServiceTrouble] = []
        self._begun: list[str] = []
        self._writes: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def take(self, content: AsyncIterator[bytes]) -> None:
        """Read one instance and begin to write it."""
        row = len(self._rows)
        self._rows.append(Refused(PROCESSING_FAILURE))
        intake = self._service.intake(content, self._destination, self._tags)
        try:
            write = await intake.receive()
        except RefusedByRules as refused:
            self._rows[row] = refused.row
        except InstanceRefused as refused:
            _log.info("instance refused", extra={"reason": refused.reason, "cause": str(refused)})
            self._rows[row] = Refused(refused.reason)
        except ServiceTrouble as trouble:
            self._rows[row] = trouble
        else:
            await self._slots.acquire()
            task = asyncio.create_task(self._write(row, intake, write))
            self._writes.add(task)
            task.add_done_callback(lambda _: self._slots.release())
            task.add_done_callback(self._writes.discard)
        finally:
            if intake.key is not None:
                self._begun.append(intake.key.blob(intake.version))

    async def _write(
        self, row: int, intake: Intake, write: Callable[[], Awaitable[Received]]
    ) -> None:
        try:
            received = await write()
        except ServiceTrouble as trouble:
            self._rows[row] = trouble
        else:
            self._rows[row] = received
        finally:
            if intake.key is not None:
                self._begun.append(intake.key.blob(intake.version))

    async def written(self) -> None:
        """Wait until every file is written."""
        await asyncio.gather(*self._writes)

    async def undo(self) -> None:
        """Remove what was written: the request is refused as a whole."""
        for write in self._writes:
            write.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)
        await self._service.remove(sorted(set(self._begun)))

    async def commit(self) -> StoreResult:
        """Commit what was received, and tell what became of each instance."""
        received = {at: row for at, row in enumerate(self._rows) if isinstance(row, Received)}
        sizes = {at: row.stored.size for at, row in received.items()}
        several_values = False
        while received:
            first = _first_of_each(received)
            await self._commit(first)
            several_values |= any(one.verdict.several_values for one in first.values())
            received = {at: one for at, one in received.items() if at not in first}
            if not self._destination.upsert:
                await self._service.remove([one.blob for one in received.values()])
                for at, one in received.items():
                    self._rows[at] = Refused(ALREADY_STORED, one.facts.identifiers)
                break
        result = StoreResult(self._final_rows(), several_values)
        _count(result, sizes)
        return result

    async def _commit(self, received: dict[int, Received]) -> None:
        destination = self._destination
        outcomes = await self._service.commit(
            list(received.values()),
            destination.resources_url,
            upsert=destination.upsert,
            expiry=self._expiry,
        )
        for (at, one), outcome in zip(received.items(), outcomes, strict=True):
            self._rows[at] = _row(one, outcome)

    def _final_rows(self) -> list[Stored | Refused]:
        troubles = [row for row in self._rows if isinstance(row, ServiceTrouble)]
        if troubles and len(troubles) == len(self._rows):
            raise troubles[0]
        return [
            row if isinstance(row, Stored | Refused) else Refused(PROCESSING_FAILURE)
            for row in self._rows
        ]


def _count(result: StoreResult, sizes: dict[int, int]) -> None:
    stored = [at for at, row in enumerate(result.rows) if isinstance(row, Stored)]
    telemetry.INSTANCES.add(len(stored), {"outcome": "stored"})
    telemetry.INSTANCES.add(len(result.rows) - len(stored), {"outcome": "refused"})
    telemetry.STORED_BYTES.add(sum(sizes[at] for at in stored))


def _first_of_each(received: dict[int, Received]) -> dict[int, Received]:
    """Of several copies of an instance the first, by number of the row."""
    first: dict[InstanceKey, int] = {}
    for at, one in received.items():
        first.setdefault(one.key, at)
    return {at: received[at] for at in first.values()}


def _row(one: Received, outcome: _Outcome) -> Stored | Refused | ServiceTrouble:
    identifiers = one.facts.identifiers
    if outcome is Outcome.STORED:
        return Stored(one.key, identifiers, one.warning, one.verdict.warnings)
    if outcome is Outcome.ALREADY_STORED:
        return Refused(ALREADY_STORED, identifiers)
    if isinstance(outcome, ServiceTrouble):
        return outcome
    _log.error("an instance could not be committed", exc_info=outcome)
    return Refused(PROCESSING_FAILURE, identifiers)


async def _close(contents: AsyncIterator[object]) -> None:
    """Let go of what the contents are read from."""
    if isinstance(contents, AsyncGenerator):
        with contextlib.suppress(RuntimeError):  # it is being read: the request is cancelled
            await contents.aclose()

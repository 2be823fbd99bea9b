"""The one way into the index: instances are added to a study in atomic batches (architecture §6).

A batch creates the instance documents, brings series and study up to date, and leaves one
outbox document for the sequencer. It is complete in itself: after a crash between two batches
every count equals what is there. Studies and series are patched blindly (counts by addition), so
writers do not wait for each other; ``termsVersion`` makes a writer whose picture of the
attributes is old start again.

References
----------
Architecture §6; PS3.18 10.5 (Store Transaction).
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from shared import telemetry
from shared.errors import OperationRefused, Refusal, Unavailable
from shared.index import shapes
from shared.index.align import align
from shared.index.documents import (
    NewInstance,
    instance_body,
    merged_series,
    merged_study,
    outbox_body,
    patch_of,
)
from shared.index.schema import INDEX
from shared.ports import (
    MAX_COMMIT_BYTES,
    MAX_OPERATIONS,
    Clock,
    Create,
    Documents,
    Ids,
    JsonObject,
    Operation,
)
from shared.where import And, Eq, In

_MOST_BATCH_OPERATIONS = MAX_OPERATIONS - 10
_MOST_BATCH_BYTES = MAX_COMMIT_BYTES // 2
_OPERATIONS_OF_A_SERIES = 4
_MOST_ATTEMPTS = 60
_MOST_STUDIES_REMEMBERED = 1_000


class Outcome(Enum):
    """What became of a new instance."""

    STORED = "stored"
    ALREADY_STORED = "already stored"


@dataclass(slots=True)
class _Known:
    """The study and series documents as this process last saw them."""

    study: JsonObject | None = None
    series: dict[str, JsonObject] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Plan:
    operations: list[Operation]
    first_instance: int
    after: _Known
    spreads: bool


class Announcer(Protocol):
    """Takes note of outbox documents as they are committed (``shared.feed.sequencer``)."""

    @property
    def open_bucket(self) -> str | None:
        """Where announcements go now."""
        ...

    def announce(self, outbox: JsonObject, bucket: str | None) -> None:
        """Announce a document that was committed while ``bucket`` was open."""
        ...


class _Silent:
    """Leaves the outbox to others."""

    open_bucket: str | None = None

    def announce(self, outbox: JsonObject, bucket: str | None) -> None:
        """Do nothing."""


class Committer:
    """Adds instances to the index of one tenant.

    ``changed`` is told the partition key of a study and those of its series documents that have
    changed; ``announcer`` of what was committed.
    """

    def __init__(
        self,
        documents: Documents,
        ids: Ids,
        clock: Clock,
        *,
        changed: Callable[[str, Iterable[JsonObject]], None] = lambda _pk, _series: None,
        announcer: Announcer | None = None,
    ) -> None:
        self._documents = documents
        self._ids = ids
        self._clock = clock
        self.changed = changed
        self._announcer = announcer or _Silent()
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._aligning: dict[str, asyncio.Lock] = {}

    async def add(self, instances: Sequence[NewInstance]) -> list[Outcome | Exception]:
        """Add instances, of any studies.

        Returns
        -------
        list of Outcome or Exception
            In the order given. ``ALREADY_STORED``: another version has that identity. Adding a
            version that is already there is ``STORED`` again. An exception says that this
            instance's batch could not be written; after ``Unavailable`` that is not certain.
        """
        by_study: dict[str, list[int]] = {}
        for index, instance in enumerate(instances):
            by_study.setdefault(instance.key.pk, []).append(index)
        outcomes: dict[int, Outcome | Exception] = {}

        async def one_study(pk: str, indexes: list[int]) -> None:
            for batch in _batches(indexes, instances):
                news = [instances[index] for index in batch]
                try:
                    results: Sequence[Outcome | Exception] = await self._add_batch(pk, news)
                except Exception as error:
                    results = [error] * len(batch)
                outcomes.update(zip(batch, results, strict=True))

        await asyncio.gather(*(one_study(pk, indexes) for pk, indexes in by_study.items()))
        return [outcomes[index] for index in range(len(instances))]

    async def _add_batch(self, pk: str, news: list[NewInstance]) -> list[Outcome]:
        outcomes = dict.fromkeys((new.version for new in news), Outcome.STORED)
        waiting = list(news)
        for attempt in range(_MOST_ATTEMPTS):
            if not waiting:
                # all were there: by a process, perhaps, that died before it had aligned the study
                await self.align(pk)
                break
            known = await self._look_up(pk, {new.key.series for new in waiting})
            plan = self._plan(pk, known, waiting)
            try:
                await self.commit(pk, plan.operations)
            except OperationRefused as refused:
                if refused.index >= plan.first_instance and refused.refusal is Refusal.EXISTS:
                    waiting = await self._without_existing(pk, waiting, outcomes)
                    continue
                self.forget(pk)
                await _pause(attempt)
                continue
            except BaseException:
                self.forget(pk)
                raise
            self._remember(pk, plan.after)
            self.changed(
                pk, [plan.after.series[uid] for uid in {new.key.series for new in waiting}]
            )
            if plan.spreads:
                await self.align(pk)
            break
        else:
            raise Unavailable
        return [outcomes[new.version] for new in news]

    async def _without_existing(
        self, pk: str, waiting: list[NewInstance], outcomes: dict[str, Outcome]
    ) -> list[NewInstance]:
        """Those of ``waiting`` that are not in the index; the others get their outcome."""
        ids = tuple(new.key.document_id for new in waiting)
        found = await self._documents.query(
            INDEX.name,
            And((Eq(("type",), shapes.INSTANCE), In(("id",), ids))),
            limit=len(ids),
            partition=pk,
            members=["id", "version"],
        )
        versions = {body["id"]: body["version"] for body in found}
        for new in waiting:
            stored = versions.get(new.key.document_id)
            if stored is not None and stored != new.version:
                outcomes[new.version] = Outcome.ALREADY_STORED
        return [new for new in waiting if new.key.document_id not in versions]

    async def commit(self, pk: str, operations: Sequence[Operation]) -> None:
        """Commit a batch of a study, and announce the outbox document in it.

        Raises
        ------
        OperationRefused, Throttled, Unavailable
            As ``Documents.commit``.
        """
        bucket = self._announcer.open_bucket
        await self._documents.commit(INDEX.name, pk, operations)
        for operation in operations:
            if isinstance(operation, Create) and operation.body["type"] == shapes.OUTBOX:
                self._announcer.announce(operation.body, bucket)

    async def align(self, pk: str) -> None:
        """Align a study; those who ask while one is at it find it done."""
        lock = self._aligning.setdefault(pk, asyncio.Lock())
        async with lock:
            await align(self._documents, pk)
            self.forget(pk)
        if not lock.locked():
            self._aligning.pop(pk, None)

    # What is known of a study -------------------------------------------------------------

    def forget(self, pk: str) -> None:
        """Read the study anew next time."""
        self._known.pop(pk, None)

    def _remember(self, pk: str, known: _Known) -> None:
        self._known[pk] = known
        self._known.move_to_end(pk)
        if len(self._known) > _MOST_STUDIES_REMEMBERED:
            self._known.popitem(last=False)

    async def _look_up(self, pk: str, series: set[str]) -> _Known:
        known = self._known.get(pk)
        hit = known is not None and known.study is not None and series <= known.series.keys()
        telemetry.CACHE.add(1, {"cache": "study", "hit": hit})
        if known is not None and hit:
            return known
        known = _Known()
        wanted = [shapes.study_id(_study_of(pk)), *map(shapes.series_id, sorted(series))]
        for document in await asyncio.gather(
            *(self._documents.get(INDEX.name, pk, name) for name in wanted)
        ):
            if document is None:
                continue
            if document.body["type"] == shapes.STUDY:
                known.study = document.body
            else:
                known.series[document.body["series"]] = document.body
        return known

    # The batch ----------------------------------------------------------------------------

    def _plan(self, pk: str, known: _Known, news: list[NewInstance]) -> _Plan:
        news = sorted(news, key=lambda new: new.version)
        by_series: dict[str, list[NewInstance]] = {}
        for new in news:
            by_series.setdefault(new.key.series, []).append(new)
        created = len(by_series.keys() - known.series.keys())
        study = merged_study(known.study, news, new_series=created)
        series = {
            uid: merged_series(known.series.get(uid), study, members)
            for uid, members in by_series.items()
        }
        operations: list[Operation] = [*_written(known.study, study)]
        for uid, body in series.items():
            operations += _written(known.series.get(uid), body)
        operations.append(Create(self._outbox(pk, study, news)))
        first_instance = len(operations)
        operations += [Create(instance_body(new, series)) for new in news]
        return _Plan(
            operations,
            first_instance,
            _Known(study, {**known.series, **series}),
            spreads=bool(study.get("spreading")),
        )

    def _outbox(self, pk: str, study: JsonObject, news: list[NewInstance]) -> JsonObject:
        changes = [
            {"action": "Create", "series": new.key.series, "instance": new.key.instance,
             "version": new.version}
            for new in news
        ]  # fmt: skip
        return outbox_body(
            pk,
            news[0].key.partition,
            study["study"],
            version=self._ids.version(),
            now=self._clock.now(),
            changes=changes,
            news=news,
        )


def _written(before: JsonObject | None, after: JsonObject) -> Iterable[Operation]:
    return [Create(after)] if before is None else patch_of(before, after)


def _study_of(pk: str) -> str:
    return pk.partition("|")[2]


def _batches(indexes: list[int], instances: Sequence[NewInstance]) -> Iterable[list[int]]:
    """Cut a study's instances into batches that one atomic commit takes."""
    batch: list[int] = []
    series: set[str] = set()
    size = 0
    for index in indexes:
        new = instances[index]
        bytes_ = 2 * len(json.dumps([new.attributes, new.details], ensure_ascii=False)) + 500
        further = len(series | {new.key.series})
        operations = len(batch) + 1 + _OPERATIONS_OF_A_SERIES * (further + 1)
        if batch and (operations > _MOST_BATCH_OPERATIONS or size + bytes_ > _MOST_BATCH_BYTES):
            yield batch
            batch, series, size = [], set(), 0
        batch.append(index)
        series.add(new.key.series)
        size += bytes_
    yield batch


async def _pause(attempt: int) -> None:
    """Wait a little longer each time, each writer by chance."""
    await asyncio.sleep(random.uniform(0, min(0.002 * 1.5**attempt, 0.5)))  # noqa: S311

"""Replace stored instances by new versions: the upsert of a store (spec dicomweb.md §2.1).

A batch puts the new instance documents in place of the old ones, brings series and study to what
they are without the old and with the new, leaves a tombstone that names the old files, and an
outbox document. Like a removal it replaces the study document under its ETag. At every moment the
instance is there, as the old version or as the new one; a reader that has the old document finds
its file until the retention time is over.

References
----------
Architecture §6; spec change-feed.md §3: a new version of an instance is an ``Update``.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence

from shared.errors import OperationRefused, Unavailable
from shared.index import shapes
from shared.index.commit import Committer, Outcome
from shared.index.documents import (
    NewInstance,
    instance_body,
    merged_series,
    merged_study,
    outbox_body,
)
from shared.index.removal import Remover
from shared.index.schema import INDEX
from shared.ports import (
    MAX_COMMIT_BYTES,
    Clock,
    Create,
    Document,
    Documents,
    Ids,
    JsonObject,
    Operation,
    Replace,
    Upsert,
)
from shared.where import And, Eq, In

_MOST_AT_ONCE = 40
_MOST_BATCH_BYTES = MAX_COMMIT_BYTES // 2
_MOST_ATTEMPTS = 60


class Replacer:
    """Puts new versions of instances in place of stored ones, in one tenant."""

    def __init__(
        self, documents: Documents, committer: Committer, remover: Remover, ids: Ids, clock: Clock
    ) -> None:
        self._documents = documents
        self._committer = committer
        self._remover = remover
        self._ids = ids
        self._clock = clock

    async def replace(self, instances: Sequence[NewInstance]) -> list[Outcome | Exception]:
        """Replace stored instances; one that is not there (any more) is added.

        Parameters
        ----------
        instances : Sequence[NewInstance]
            Of any studies; no identity twice.

        Returns
        -------
        list of Outcome or Exception
            In the order given: ``STORED``, or why this instance's batch could not be written;
            after ``Unavailable`` that is not certain.
        """
        by_study: dict[str, list[NewInstance]] = {}
        for new in instances:
            by_study.setdefault(new.key.pk, []).append(new)
        outcomes: dict[str, Outcome | Exception] = {}

        async def one_study(pk: str, news: list[NewInstance]) -> None:
            for start in range(0, len(news), _MOST_AT_ONCE):
                outcomes.update(await self._in_study(pk, news[start : start + _MOST_AT_ONCE]))

        await asyncio.gather(*(one_study(pk, news) for pk, news in by_study.items()))
        return [outcomes[new.version] for new in instances]

    async def _in_study(self, pk: str, news: list[NewInstance]) -> dict[str, Outcome | Exception]:
        outcomes: dict[str, Outcome | Exception] = {}
        waiting = list(news)
        refusals = 0
        while waiting:
            try:
                outcomes.update(await self._round(pk, waiting))
            except OperationRefused:
                refusals += 1
                if refusals > _MOST_ATTEMPTS:
                    return outcomes | {new.version: Unavailable() for new in waiting}
                await asyncio.sleep(random.uniform(0, min(0.002 * 1.5**refusals, 0.5)))  # noqa: S311
            except Exception as error:
                return outcomes | {new.version: error for new in waiting}
            waiting = [new for new in waiting if new.version not in outcomes]
        return outcomes

    async def _round(self, pk: str, waiting: list[NewInstance]) -> dict[str, Outcome | Exception]:
        """Replace as many as one batch takes; what is not settled after it is tried again."""
        study = await self._documents.get(INDEX.name, pk, shapes.study_id(waiting[0].key.study))
        stored = {} if study is None else await self.stored(pk, waiting)
        absent = [new for new in waiting if new.key.document_id not in stored]
        outcomes: dict[str, Outcome | Exception] = {
            new.version: outcome
            for new, outcome in zip(absent, await self._committer.add(absent), strict=True)
            if outcome is not Outcome.ALREADY_STORED
        }
        there = [
            new
            for new in waiting
            if new.key.document_id in stored
            and stored[new.key.document_id]["version"] == new.version
        ]
        outcomes |= dict.fromkeys((new.version for new in there), Outcome.STORED)
        batch: list[NewInstance] = []
        size = 0
        for new in waiting:
            old = stored.get(new.key.document_id)
            if old is None or old["version"] == new.version:
                continue
            size += len(json.dumps([old, new.attributes, new.attributes, new.details]))
            if batch and size > _MOST_BATCH_BYTES:
                break
            batch.append(new)
        if batch and study is not None and not absent:
            victims = [stored[new.key.document_id] for new in batch]
            await self._commit(pk, study, batch, victims)
            outcomes |= dict.fromkeys((new.version for new in batch), Outcome.STORED)
        return outcomes

    async def stored(self, pk: str, news: Sequence[NewInstance]) -> dict[str, JsonObject]:
        """The documents of instances as they are now, by id."""
        ids = tuple(new.key.document_id for new in news)
        found = await self._documents.query(
            INDEX.name,
            And((Eq(("type",), shapes.INSTANCE), In(("id",), ids))),
            limit=len(ids),
            partition=pk,
        )
        return {body["id"]: body for body in found}

    async def _commit(
        self, pk: str, before: Document, news: list[NewInstance], victims: list[JsonObject]
    ) -> None:
        study, series = await self.after(pk, before.body, news, victims)
        partition = news[0].key.partition
        tombstone = self._remover.tombstone(pk, partition, victims, []) | {"replaced": True}
        operations: list[Operation] = [Replace(study, before.etag)]
        operations += [Upsert(body) for body in series.values()]
        operations += [Upsert(instance_body(new, series)) for new in news]
        operations += [Create(tombstone), Create(self.outbox(pk, partition, news))]
        self._committer.forget(pk)
        await self._committer.commit(pk, operations)
        self._committer.changed(pk, list(series.values()))
        if study["spreading"]:
            await self._committer.align(pk)
        await self._remover.ask_for_purge(pk, tombstone["id"])

    async def after(
        self, pk: str, before: JsonObject, news: list[NewInstance], victims: list[JsonObject]
    ) -> tuple[JsonObject, dict[str, JsonObject]]:
        """The study and the touched series with ``news`` in place of ``victims``."""
        lost: dict[str, int] = {}
        for body in victims:
            lost[body["series"]] = lost.get(body["series"], 0) + 1
        everything = {body["series"]: body for body in await self._remover.all_series(pk)}
        ids = tuple(body["id"] for body in victims)
        left, left_series = await self._remover.left(pk, before, everything, lost, ids)
        by_series: dict[str, list[NewInstance]] = {}
        for new in sorted(news, key=lambda new: new.version):
            by_series.setdefault(new.key.series, []).append(new)
        study = merged_study(
            {**(left or _emptied(before)), "seriesCount": before["seriesCount"]},
            news,
            new_series=0,
        )
        series = {
            uid: merged_series(left_series[uid] or _emptied(everything[uid]), study, members)
            for uid, members in by_series.items()
        }
        study["spreading"] = (
            before["spreading"]
            or study["q"] != before["q"]
            or any(body["q"] != everything[uid]["q"] for uid, body in series.items())
        )
        return study, series

    def outbox(self, pk: str, partition: str, news: Sequence[NewInstance]) -> JsonObject:
        """What the sequencer has to announce: an ``Update`` of each instance."""
        changes = [
            {"action": "Update", "series": new.key.series, "instance": new.key.instance,
             "version": new.version}
            for new in news
        ]  # fmt: skip
        return outbox_body(
            pk,
            partition,
            news[0].key.study,
            version=self._ids.version(),
            now=self._clock.now(),
            changes=changes,
            news=news,
        )


def _emptied(body: JsonObject) -> JsonObject:
    """A study or series document of which all instances are to be replaced."""
    return {
        **body,
        "q": {},
        "d": {},
        "instanceCount": 0,
        "revision": body["revision"] + 1,
        "termsVersion": body["termsVersion"] + 1,
    }

"""The documents of versions that wait to take the place of others: made, committed, put away.

A document ``prepared`` goes through the states ``reserved`` (the version has a name), ``ready``
(its file is written), and ``done`` (it is the instance's version now) or ``dropped`` (the instance
was deleted or replaced meanwhile). It is there before its file, so no sweep takes the file for one
that a process left behind.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Final

from shared.errors import OperationRefused, Unavailable
from shared.index import shapes
from shared.index.commit import Committer
from shared.index.documents import NewInstance, instance_body
from shared.index.removal import Remover
from shared.index.replacement import Replacer
from shared.index.schema import INDEX
from shared.index.shapes import InstanceKey
from shared.ports import (
    MAX_COMMIT_BYTES,
    Blobs,
    Create,
    Delete,
    Document,
    Documents,
    JsonObject,
    Operation,
    Patch,
    Replace,
    Upsert,
)
from shared.tags.indexing import TagIndexer
from shared.where import And, Eq, Scalar

RESERVED, READY, DONE, DROPPED = "reserved", "ready", "done", "dropped"

_MOST_AT_ONCE: Final = 25
_MOST_BYTES: Final = MAX_COMMIT_BYTES // 2
_MOST_ATTEMPTS: Final = 60
_PAGE: Final = 90


def prepared_id(operation: str, body: JsonObject) -> str:
    """Id of the document for an instance, of which ``body`` has the UIDs."""
    return f"{shapes.PREPARED}|{operation}|{body['series']}|{body['instance']}"


def reservation(operation: str, key: InstanceKey, base: str, version: str) -> JsonObject:
    """A new document: ``version`` is to take the place of ``base``."""
    uids = {"study": key.study, "series": key.series, "instance": key.instance}
    return {
        "id": prepared_id(operation, uids),
        "pk": key.pk,
        "type": shapes.PREPARED,
        "operation": operation,
        "partition": key.partition,
        **uids,
        "base": base,
        "version": version,
        "versions": [version],
        "state": RESERVED,
    }


class PreparedVersions:
    """The prepared versions of one operation in one study at a time, of one tenant."""

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        *,
        committer: Committer,
        replacer: Replacer,
        remover: Remover,
        indexer: TagIndexer,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._committer = committer
        self._replacer = replacer
        self._remover = remover
        self._indexer = indexer

    async def page(
        self, operation: str, pk: str, state: str | None, limit: int
    ) -> list[JsonObject]:
        """Some documents, in one state or any."""
        return await self._documents.query(
            INDEX.name, _which(operation, state), limit=limit, partition=pk
        )

    async def count(self, operation: str, pk: str, state: str) -> int:
        """How many there are in a state."""
        return await self._documents.count(INDEX.name, _which(operation, state), partition=pk)

    # Into the index -----------------------------------------------------------------------

    async def commit_some(self, operation: str, pk: str) -> bool:
        """Put versions that are ready in place of theirs; whether there were any.

        Instances that were deleted or replaced since are left as they are.

        Raises
        ------
        Throttled, Unavailable
            The index does not take it. What was committed stays.
        """
        for attempt in range(_MOST_ATTEMPTS):
            page = await self.page(operation, pk, READY, _MOST_AT_ONCE)
            if not page:
                return attempt > 0
            try:
                await self._commit(pk, page)
            except OperationRefused:  # another writer was faster
                await asyncio.sleep(random.uniform(0, min(0.002 * 1.5**attempt, 0.5)))  # noqa: S311
            else:
                return True
        raise Unavailable

    async def _commit(self, pk: str, prepared: list[JsonObject]) -> None:
        study = await self._documents.get(INDEX.name, pk, shapes.study_id(prepared[0]["study"]))
        news = [_new(body) for body in prepared]
        stored = {} if study is None else await self._replacer.stored(pk, news)
        settled: list[Operation] = []
        batch: list[tuple[NewInstance, JsonObject, JsonObject]] = []
        size = 0
        for new, body in zip(news, prepared, strict=True):
            now = stored.get(new.key.document_id)
            if now is None or now["version"] not in (body["base"], new.version):
                settled.append(_now(body, DROPPED))
            elif now["version"] == new.version:
                settled.append(_now(body, DONE))
            else:
                size += len(json.dumps([now, new.attributes, new.details, new.attributes]))
                if not batch or size <= _MOST_BYTES:
                    batch.append((new, now, body))
        if settled:
            await self._documents.commit(INDEX.name, pk, settled)
        if batch and study is not None:
            await self._put_in_place(pk, study, batch)
            known = min(body["tags"] for _, _, body in batch)
            await self._indexer.catch_up({pk}, known)

    async def _put_in_place(
        self, pk: str, before: Document, batch: Sequence[tuple[NewInstance, JsonObject, JsonObject]]
    ) -> None:
        news = [new for new, _, _ in batch]
        victims = [now for _, now, _ in batch]
        partition = news[0].key.partition
        study, series = await self._replacer.after(pk, before.body, news, victims)
        operations: list[Operation] = [Replace(study, before.etag)]
        operations += [Upsert(body) for body in series.values()]
        operations += [
            Upsert({**instance_body(new, series), **shapes.original_of(now)})
            for new, now, _ in batch
        ]
        operations += [_now(body, DONE) for _, _, body in batch]
        between = [_without_original(now) for now in victims if shapes.ORIGINAL in now]
        tombstone = self._remover.tombstone(pk, partition, between, []) | {"replaced": True}
        if between:
            operations.append(Create(tombstone))
        operations.append(Create(self._replacer.outbox(pk, partition, news)))
        self._committer.forget(pk)
        await self._committer.commit(pk, operations)
        self._committer.changed(pk, list(series.values()))
        if study["spreading"]:
            await self._committer.align(pk)
        if between:
            await self._remover.ask_for_purge(pk, tombstone["id"])

    # Away ---------------------------------------------------------------------------------

    async def clear(self, operation: str, pk: str) -> None:
        """Remove all documents, and the files of those that are not done."""
        while page := await self.page(operation, pk, None, _PAGE):
            # first in the documents: a worker that is still at it may be about to commit them
            dropped = [_now(body, DROPPED) for body in page if body["state"] in (RESERVED, READY)]
            try:
                if dropped:
                    await self._documents.commit(INDEX.name, pk, dropped)
                for body in page:
                    if body["state"] != DONE:
                        await self._discard(body)
                await self._documents.commit(INDEX.name, pk, [Delete(body["id"]) for body in page])
            except OperationRefused:
                continue  # another worker was at it

    async def _discard(self, body: JsonObject) -> None:
        """Remove the file of a version that takes no place, and its metadata beside it."""
        details = body.get("details", {})
        for member in ("metadata", "ranges"):
            segment = details.get(member, {}).get("segment")
            if segment is not None:
                await self._blobs.delete(segment)
        await self._blobs.delete(_new_key(body).blob(body["version"]))


def _which(operation: str, state: str | None) -> And:
    terms = [Eq(("type",), shapes.PREPARED), Eq(("operation",), operation)]
    return And((*terms, *([Eq(("state",), state)] if state is not None else [])))


def _now(body: JsonObject, state: str) -> Patch:
    when: dict[tuple[str, ...], Scalar] = {
        ("version",): body["version"],
        ("state",): body["state"],
    }
    return Patch(body["id"], put={("state",): state}, when=when)


def _new_key(body: JsonObject) -> InstanceKey:
    return shapes.instance_key(body, body["partition"])


def _new(body: JsonObject) -> NewInstance:
    return NewInstance(
        _new_key(body), body["version"], body["attributes"], body["details"], tags=body["tags"]
    )


def _without_original(body: JsonObject) -> JsonObject:
    """An intermediate version: its original stays where it is."""
    left_out = (shapes.ORIGINAL, shapes.ORIGINAL_VERSION)
    return {name: value for name, value in body.items() if name not in left_out}

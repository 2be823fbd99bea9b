"""The operation ``reindex``: what is stored already gets the values of new extended query tags.

Studies are looked at newest first, each as a whole (``shared.tags.indexing``). Those that come
later index themselves, for the tags are in the list by then.

References
----------
Spec extended-query-tags.md §6; operations.md §2.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Final

from shared.errors import WrongState
from shared.index import shapes
from shared.index.schema import INDEX
from shared.operations.engine import Engine
from shared.operations.models import RESOURCES, Status, Step, Work
from shared.ports import Documents, JsonObject
from shared.tags.indexing import TagIndexer
from shared.tags.models import ExtendedTag
from shared.tags.registry import TagExists, TooManyTags
from shared.where import Eq, Order

REINDEX: Final = "reindex"

_STEP_S: Final = 20.0
_PAGE: Final = 50
_NEWEST_FIRST: Final = (Order(("version",), descending=True), Order(("id",)))


class Reindexer:
    """The operation of one tenant. Input: ``entries``, the tags to be added."""

    def __init__(
        self, documents: Documents, indexer: TagIndexer, *, step_s: float = _STEP_S
    ) -> None:
        self._documents = documents
        self._indexer = indexer
        self._step_s = step_s

    async def step(self, work: Work) -> Step:
        """Look at studies for a while."""
        try:
            entries = await self._entries(work)
        except (TagExists, TooManyTags) as refused:
            return Step(work.checkpoint, done=True, failed=str(refused))
        results = {RESOURCES: [f"extendedquerytags/{path}" for path in _paths(work)]}
        if "count" not in work.checkpoint:
            studies = await self._documents.count(INDEX.name, Eq(("type",), shapes.STUDY))
            return Step({"after": None, "done": 0, "count": studies}, results, 0)
        began = time.monotonic()
        after, done = work.checkpoint["after"], work.checkpoint["done"]
        while True:
            page = await self._documents.query(
                INDEX.name,
                Eq(("type",), shapes.STUDY),
                order=_NEWEST_FIRST,
                limit=_PAGE,
                after=after,
                members=["id", "version", "pk"],
            )
            for body in page if entries else ():
                await self._indexer.index_study(body["pk"], entries)
                after, done = [body["version"], body["id"]], done + 1
                if time.monotonic() - began > self._step_s:
                    break
            else:
                if not entries or len(page) < _PAGE:
                    await self._indexer.registry.ready(work.id)
                    return Step(work.checkpoint, results, 100, done=True)
                continue
            checkpoint = {**work.checkpoint, "after": after, "done": done}
            return Step(checkpoint, results, min(99, 100 * done // max(1, checkpoint["count"])))

    async def end(self, work: Work, status: Status) -> None:
        """What was added stays; a tag whose operation failed stays ``adding``, for another."""
        if status is not Status.SUCCEEDED:
            await self._indexer.registry.release(work.id)

    async def _entries(self, work: Work) -> Sequence[ExtendedTag]:
        """The tags of this operation that nobody has deleted; added, if they are not yet."""
        registry = self._indexer.registry
        if "count" not in work.checkpoint:
            added = [ExtendedTag.from_json(body) for body in work.input["entries"]]
            await registry.add(added, work.id)
        return [entry for entry in (await registry.read()).entries if entry.operation == work.id]


def _paths(work: Work) -> list[str]:
    return [ExtendedTag.from_json(body).path for body in work.input["entries"]]


async def start_adding(engine: Engine, indexer: TagIndexer, entries: Sequence[ExtendedTag]) -> str:
    """Add tags, and start the operation that indexes what is stored; its id.

    The operation adds them too, so that a process may die in between.

    Raises
    ------
    OperationRunning
        Others are being added.
    TooManyTags, TagExists
        They cannot be added.
    """
    await engine.require_free(REINDEX)
    await indexer.registry.require_new(entries)
    asked: JsonObject = {"entries": [entry.to_json() for entry in entries]}
    operation = await engine.start(REINDEX, asked, claims=(REINDEX,))
    try:
        await indexer.registry.add(entries, operation)
    except (TagExists, TooManyTags):  # by a process that added some at the same time
        with contextlib.suppress(WrongState):  # it has met them too
            await engine.cancel(operation)
        raise
    return operation

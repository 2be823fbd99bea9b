"""Read the change feed: entries in order, with the state of their instances now."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from shared.errors import BlobNotFound
from shared.feed.sequencer import Sequencer
from shared.feed.shapes import ENTRY
from shared.index import shapes
from shared.index.metadata import ChunkPlace, chunk_texts
from shared.index.schema import CHANGES, INDEX
from shared.ports import Blobs, Documents, JsonObject
from shared.telemetry import traced
from shared.where import And, Eq, Order, Range, Where

_AT_ONCE = 16
_BY_SEQUENCE = Order(("sequence",))
_NEWEST_FIRST = Order(("sequence",), descending=True)


@dataclass(frozen=True, slots=True)
class Window:
    """What is read: entries after a sequence number (v1), or of a time (v2).

    Parameters
    ----------
    after : int or None
        Sequence number; entries with a greater one, up to ``after + limit``.
    first, last : str or None
        Times as ``shared.index.documents.iso`` writes them, both inclusive.
    offset : int
        Entries of a time to leave out.
    limit : int
        Most entries.
    """

    after: int | None = None
    first: str | None = None
    last: str | None = None
    offset: int = 0
    limit: int = 100


class ChangeFeed:
    """The change feed of one tenant."""

    def __init__(self, documents: Documents, blobs: Blobs, sequencer: Sequencer) -> None:
        self._documents = documents
        self._blobs = blobs
        self._sequencer = sequencer

    @traced("read feed")
    async def read(self, window: Window, *, with_metadata: bool, resources_url: str) -> list[str]:
        """Entries as JSON texts, in order. What was committed before is there.

        References
        ----------
        Spec change-feed.md §2, §4, §5.
        """
        await self._sequencer.drain()
        terms: list[Where] = [Eq(("type",), ENTRY)]
        if window.after is not None:
            high = window.after + window.limit
            terms.append(Range(("sequence",), low=window.after + 1, high=high))
        elif window.first is not None or window.last is not None:
            terms.append(Range(("timestamp",), low=window.first, high=window.last))
        # the order of sequence numbers is that of time
        entries = await self._documents.query(
            CHANGES.name,
            And(tuple(terms)),
            order=[_BY_SEQUENCE],
            limit=window.limit,
            skip=window.offset,
        )
        return await self._shown(entries, with_metadata, resources_url)

    async def latest(self, *, with_metadata: bool, resources_url: str) -> str | None:
        """The newest entry; ``None`` if there is none."""
        await self._sequencer.drain()
        entries = await self._documents.query(
            CHANGES.name, Eq(("type",), ENTRY), order=[_NEWEST_FIRST], limit=1
        )
        shown = await self._shown(entries, with_metadata, resources_url)
        return shown[0] if shown else None

    async def last_sequence(self) -> int:
        """The number of the newest entry; 0 if there is none. What was committed before counts."""
        await self._sequencer.drain()
        entries = await self._documents.query(
            CHANGES.name, Eq(("type",), ENTRY), order=[_NEWEST_FIRST], limit=1
        )
        return int(entries[0]["sequence"]) if entries else 0

    async def entries(self, after: int, through: int) -> list[JsonObject]:
        """The entries with numbers from ``after + 1`` up to ``through``, in order."""
        within = Range(("sequence",), low=after + 1, high=through)
        return await self._documents.query(
            CHANGES.name,
            And((Eq(("type",), ENTRY), within)),
            order=[_BY_SEQUENCE],
            limit=max(through - after, 1),
        )

    async def _shown(
        self, entries: Sequence[JsonObject], with_metadata: bool, resources_url: str
    ) -> list[str]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(entry: JsonObject) -> str:
            async with slots:
                return await self._with_state(entry, with_metadata, resources_url)

        return list(await asyncio.gather(*map(one, entries)))

    async def _with_state(self, entry: JsonObject, with_metadata: bool, resources_url: str) -> str:
        found = await self._documents.get(
            INDEX.name,
            shapes.partition_key(entry["partition"], entry["study"]),
            shapes.instance_id(entry["series"], entry["instance"]),
        )
        now = None if found is None else found.body
        shown = json.dumps(
            {
                "sequence": entry["sequence"],
                "partitionName": entry["partition"],
                "studyInstanceUid": entry["study"],
                "seriesInstanceUid": entry["series"],
                "sopInstanceUid": entry["instance"],
                "action": entry["action"],
                "timestamp": entry["timestamp"],
                "state": _state(entry, now),
            },
            separators=(",", ":"),
        )
        if now is None or not with_metadata:
            return shown
        place = ChunkPlace.from_json(now["metadata"])
        base = resources_url
        if entry["partition"].lower() != shapes.DEFAULT_PARTITION.lower():
            base = f"{resources_url}/partitions/{entry['partition']}"
        try:
            text = b"".join([piece async for piece in chunk_texts(self._blobs, [place], base)])
        except BlobNotFound:
            return shown  # deleted meanwhile
        return f'{shown[:-1]},"metadata":{text.decode()}}}'


def _state(entry: JsonObject, now: JsonObject | None) -> str:
    """Current, Replaced or Deleted (spec §3): whether the entry's version is that of now."""
    if now is None:
        return "Deleted"
    is_current = now["version"] == entry["version"] and entry["action"] != "Delete"
    return "Current" if is_current else "Replaced"

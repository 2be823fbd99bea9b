"""Compact the metadata of a series: what was stored request by request becomes one blob.

A series that has been quiet for a minute gets one segment with the metadata of all its instances,
compressed together, and its document says so (member ``compacted``). The instance documents keep
their own chunks: they serve single instances, and a series that has changed since. Whether the
segment is still true is told by ``revision``, which every change below a series counts up.

Nothing depends on a message: whatever is lost, metadata is read from the instances, and the next
change asks again.

References
----------
Architecture §7.
"""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence

from shared.errors import OperationRefused, ServiceTrouble
from shared.index import shapes
from shared.index.metadata import ChunkPlace, chunk_texts, deflate_chunk
from shared.index.schema import INDEX
from shared.ports import Blobs, Documents, Ids, JsonObject, Queue, Replace
from shared.where import And, Eq, Order

COMPACT_QUEUE = "compact"
QUIET_S = 60.0
"""Seconds without a change after which a series is compacted."""

_FEWEST = 8
_TEXT_BYTES = 4 * 1024 * 1024
_READERS_S = 900.0
_PAGE = 500
_MOST_REMEMBERED = 10_000
_MOST_IN_A_MESSAGE = 200

_log = logging.getLogger("dicom.index")


class CompactionRequests:
    """Asks for the compaction of series that have changed, each at most once a minute."""

    def __init__(self, queue: Queue, tenant: str) -> None:
        self._queue = queue
        self._tenant = tenant
        self._asked: dict[tuple[str, str], float] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def changed(self, pk: str, series: Iterable[JsonObject]) -> None:
        """Note that series have changed; nobody waits for the message."""
        now = time.monotonic()
        fresh = [
            body["series"]
            for body in series
            if (body["instanceCount"] >= _FEWEST or "compacted" in body)
            and now - self._asked.get((pk, body["series"]), -QUIET_S) >= QUIET_S
        ]
        if not fresh:
            return
        if len(self._asked) > _MOST_REMEMBERED:
            self._asked.clear()
        self._asked.update({(pk, uid): now for uid in fresh})
        task = asyncio.create_task(self.send(pk, dict.fromkeys(fresh)))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def send(self, pk: str, series: dict[str, int | None]) -> None:
        """Ask to look at series in a minute; with the revision that each then still should have."""
        items = list(series.items())
        try:
            for start in range(0, len(items), _MOST_IN_A_MESSAGE):
                body = dict(items[start : start + _MOST_IN_A_MESSAGE])
                message = {"tenant": self._tenant, "pk": pk, "series": body}
                await self._queue.send(COMPACT_QUEUE, message, delay_s=QUIET_S)
        except ServiceTrouble:
            _log.warning("a compaction could not be asked for", extra={"tenant": self._tenant})

    async def remove_later(self, pk: str, series: str, segment: str) -> None:
        """Ask to remove a segment when those who read it now have finished."""
        message = {"tenant": self._tenant, "pk": pk, "of": series, "segment": segment}
        await self._queue.send(COMPACT_QUEUE, message, delay_s=_READERS_S)


class Compactor:
    """Compacts the series of one tenant."""

    def __init__(
        self, documents: Documents, blobs: Blobs, ids: Ids, requests: CompactionRequests
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._ids = ids
        self._requests = requests

    async def handle(self, message: JsonObject) -> None:
        """Do what a message asks; twice, or after a crash half-way, ends in the same state."""
        pk = message["pk"]
        if "segment" in message:
            await self._remove(pk, message["of"], message["segment"])
            return
        restless: dict[str, int | None] = {
            series: current
            for series, revision in message["series"].items()
            if (current := await self._compact(pk, series, revision)) is not None
        }
        if restless:
            await self._requests.send(pk, restless)

    async def _compact(self, pk: str, series: str, revision: int | None) -> int | None:
        """Compact a series that still has that revision; otherwise the revision to wait for."""
        found = await self._documents.get(INDEX.name, pk, shapes.series_id(series))
        if found is None or is_compacted(found.body):
            return None
        body = found.body
        before = body.get("compacted")
        few = body["instanceCount"] < _FEWEST
        if few and before is None:
            return None
        if body["revision"] != revision:
            return int(body["revision"])
        if before is not None:
            await self._requests.remove_later(pk, series, before["segment"])
        after = {name: value for name, value in body.items() if name != "compacted"}
        if not few:
            after["compacted"] = await self._written(pk, body)
        try:
            await self._documents.commit(INDEX.name, pk, [Replace(after, found.etag)])
        except OperationRefused:  # it has changed meanwhile
            if not few:
                await self._blobs.delete(after["compacted"]["segment"])
            return int(body["revision"])
        return None

    async def _written(self, pk: str, series: JsonObject) -> JsonObject:
        """Write the segment of a series; the member ``compacted`` of its document."""
        places, folder = await self._places(pk, series["series"])
        key = f"segments/{folder}/{self._ids.version()}"
        chunks: list[ChunkPlace] = []
        await self._blobs.put(key, self._joined(places, key, chunks))
        return {
            "revision": series["revision"],
            "segment": key,
            "chunks": [chunk.to_json() for chunk in chunks],
        }

    async def _joined(
        self, places: Sequence[ChunkPlace], key: str, chunks: list[ChunkPlace]
    ) -> AsyncIterator[bytes]:
        """The content of a segment; ``chunks`` gets its places, some 4 MiB of text each."""
        base = places[-1].base
        texts: list[bytes] = []
        size = offset = 0
        at = 0
        async for text in chunk_texts(self._blobs, places, base):
            texts.append(text)
            size += len(text)
            at += 1
            if size < _TEXT_BYTES and at < len(places):
                continue
            joined = b",".join(texts)
            deflated = await asyncio.to_thread(deflate_chunk, joined)
            place = ChunkPlace(
                len(deflated), len(joined), zlib.crc32(joined), base, segment=key, offset=offset
            )
            chunks.append(place)
            offset += len(deflated)
            texts, size = [], 0
            yield deflated

    async def _places(self, pk: str, series: str) -> tuple[list[ChunkPlace], str]:
        """The chunks of a series in the order of retrieval, and the folder of its segments."""
        places: list[ChunkPlace] = []
        folder = ""
        after: list[str] | None = None
        while True:
            page = await self._documents.query(
                INDEX.name,
                And((Eq(("type",), shapes.INSTANCE), Eq(("series",), series))),
                order=[Order(("series",)), Order(("version",))],
                limit=_PAGE,
                after=after,
                partition=pk,
                members=["series", "version", "blob", "metadata"],
            )
            places += [ChunkPlace.from_json(body["metadata"]) for body in page]
            if page and not folder:
                folder = "/".join(page[0]["blob"].split("/")[1:4])
            if len(page) < _PAGE:
                return places, folder
            after = [page[-1]["series"], page[-1]["version"]]

    async def _remove(self, pk: str, series: str, segment: str) -> None:
        found = await self._documents.get(INDEX.name, pk, shapes.series_id(series))
        used = found is not None and (found.body.get("compacted") or {}).get("segment") == segment
        if not used:
            await self._blobs.delete(segment)


def is_compacted(series: JsonObject) -> bool:
    """Whether the segment of a series document holds what is in the series now."""
    compacted = series.get("compacted")
    return compacted is not None and bool(compacted["revision"] == series["revision"])


def compacted_places(series: JsonObject) -> list[ChunkPlace]:
    """The chunks of a compacted series; each may hold several instances, with commas between."""
    return [ChunkPlace.from_json(place) for place in series["compacted"]["chunks"]]

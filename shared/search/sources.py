"""What the rows of a page need beside their index documents, read for that page alone.

The cost is bounded by the page: a result needs at most one read of an instance document and its
metadata, and a page one read of each study or series above its results. A few at a time, so that
memory holds a few instances' metadata, and of the others only what was asked for.

References
----------
Spec dicomweb.md §4.7; PS3.18 8.3.4.3 (includefield).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

from shared.dicom import attributes as dicom
from shared.dicom.instance import JsonElement
from shared.errors import BlobNotFound
from shared.index import shapes
from shared.index.metadata import ChunkPlace, json_array
from shared.index.schema import INDEX
from shared.ports import Blobs, Documents, JsonObject
from shared.search.results import document_id
from shared.where import And, Eq, Order, Where

_AT_ONCE = 8
_NEWEST_FIRST = (Order(("version",), descending=True), Order(("id",)))


class Sources:
    """Reads of one page of results."""

    def __init__(self, documents: Documents, blobs: Blobs, *, partition: str) -> None:
        self._documents = documents
        self._blobs = blobs
        self._partition = partition
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def above(
        self, bodies: Sequence[JsonObject], levels: Sequence[dicom.Level]
    ) -> list[dict[dicom.Level, JsonObject]]:
        """For each result the documents of levels above it; each document is read once."""
        wanted = {(body["study"], document_id(body, level)) for body in bodies for level in levels}
        documents = dict(
            zip(wanted, await asyncio.gather(*(self._get(*one) for one in wanted)), strict=True)
        )
        return [
            {
                level: found
                for level in levels
                if (found := documents[body["study"], document_id(body, level)]) is not None
            }
            for body in bodies
        ]

    async def metadata(
        self, bodies: Sequence[JsonObject], tags: frozenset[str], resources_url: str
    ) -> list[Mapping[str, JsonElement]]:
        """For each result some attributes of its instance: of a study or series, the newest."""
        if not tags:
            return [{}] * len(bodies)
        return await asyncio.gather(
            *(self._metadata_of(body, tags, resources_url) for body in bodies)
        )

    async def _get(self, study: str, document: str) -> JsonObject | None:
        async with self._room:
            pk = shapes.partition_key(self._partition, study)
            found = await self._documents.get(INDEX.name, pk, document)
        return None if found is None else found.body

    async def _metadata_of(
        self, body: JsonObject, tags: frozenset[str], resources_url: str
    ) -> Mapping[str, JsonElement]:
        async with self._room:
            place = await self._place(body)
            if place is None:
                return {}
            pieces = json_array(self._blobs, [ChunkPlace.from_json(place)], resources_url)
            try:
                text = b"".join([piece async for piece in pieces])
            except BlobNotFound:
                return {}  # deleted and purged since the index was asked
        [elements] = json.loads(text)
        return {tag: elements[tag] for tag in tags if tag in elements}

    async def _place(self, body: JsonObject) -> JsonObject | None:
        terms: list[Where] = [Eq(("type",), shapes.INSTANCE)]
        if "series" in body:
            terms.append(Eq(("series",), body["series"]))
        if "instance" in body:
            terms.append(Eq(("id",), body["id"]))
        found = await self._documents.query(
            INDEX.name,
            And(tuple(terms)),
            order=_NEWEST_FIRST,
            limit=1,
            partition=shapes.partition_key(self._partition, body["study"]),
            members=["metadata"],
        )
        return found[0].get("metadata") if found else None

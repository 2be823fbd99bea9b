"""Put what the index is to remember of received instances in its place.

Small metadata chunks and byte ranges stay in the instance document. Larger ones of one request and
series go together into one segment blob, so that they are written, and later read, at once.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Sequence

from shared.dicom.attributes import INDEXED_ATTRIBUTES
from shared.dicom.instance import JsonElement
from shared.index import shapes
from shared.index.documents import NewInstance
from shared.index.metadata import INLINE_BYTES, ChunkPlace, place_in_segment, place_inline
from shared.ports import Blobs, Ids, JsonObject
from shared.store.intake import Received
from shared.tags.values import values_of

RANGES_INLINE_BYTES = 16 * 1024
"""Largest ``frames`` and ``bulk`` that stay in the instance document, in bytes of JSON."""


class _Segment:
    """One segment blob in the making. Nothing is written if nothing was added."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> int:
        """Add bytes; their offset."""
        offset = self._size
        self._pieces.append(data)
        self._size += len(data)
        return offset

    async def write(self, blobs: Blobs) -> str | None:
        """Write the blob; its key, or ``None`` if there is nothing to write."""
        if not self._pieces:
            return None
        await blobs.put(self.key, self._chunks())
        return self.key

    async def _chunks(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


async def place(
    received: Sequence[Received], resources_url: str, *, blobs: Blobs, ids: Ids
) -> tuple[list[NewInstance], list[str]]:
    """Make index entries of received instances; write segments where they are needed.

    Returns
    -------
    tuple
        The entries in the order given, and the keys of the segments that were written.
    """
    segments: dict[str, _Segment] = {}
    news: list[NewInstance] = []
    for one in received:
        folder = f"segments/{one.key.partition}/{one.key.study}/{one.key.series}"
        segment = segments.get(folder)
        if segment is None:
            segment = segments[folder] = _Segment(f"{folder}/{ids.version()}")
        news.append(
            NewInstance(
                one.key,
                one.version,
                _attributes(one),
                _details(one, segment, resources_url),
                tags=one.tags.last,
            )
        )
    written = [await segment.write(blobs) for segment in segments.values()]
    return news, [key for key in written if key is not None]


def _attributes(one: Received) -> dict[str, JsonElement]:
    """What the index keeps: built-in attributes, and values of extended query tags."""
    found = one.facts.attributes
    if not one.tags.entries:
        return found
    values, _ = values_of(found, one.tags.entries)
    return {tag: found[tag] for tag in found if int(tag, 16) in INDEXED_ATTRIBUTES} | values


def _details(one: Received, segment: _Segment, resources_url: str) -> JsonObject:
    facts = one.facts
    details: JsonObject = {
        "blob": one.blob,
        "size": one.stored.size,
        "sha256": one.stored.sha256.hex(),
        "transferSyntax": facts.transfer_syntax_uid,
        "sopClass": (facts.identifiers.sop_class_uid or "").rstrip(" \0"),
        "metadata": _chunk_place(one, segment, resources_url).to_json(),
    }
    left_out = one.verdict.left_out & INDEXED_ATTRIBUTES
    if left_out:
        details[shapes.LEFT_OUT] = sorted(f"{tag:08X}" for tag in left_out)
    ranges = {"frames": facts.frames, "bulk": facts.bulk}
    text = json.dumps(ranges, separators=(",", ":")).encode()
    if len(text) <= RANGES_INLINE_BYTES:
        details |= {name: value for name, value in ranges.items() if value}
    else:
        data = zlib.compress(text)
        details["ranges"] = {
            "segment": segment.key,
            "offset": segment.add(data),
            "length": len(data),
        }
    return details


def _chunk_place(one: Received, segment: _Segment, resources_url: str) -> ChunkPlace:
    chunk = one.facts.metadata
    if len(chunk.deflated) <= INLINE_BYTES:
        return place_inline(chunk, resources_url)
    return place_in_segment(chunk, resources_url, segment.key, segment.add(chunk.deflated))

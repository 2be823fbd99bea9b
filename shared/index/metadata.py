"""Where an instance's metadata chunk is kept, and how chunks become one response.

A chunk is the DICOM JSON of one instance as raw deflate, ended by a full flush, so that chunks
can stand one after the other in one deflate stream (architecture §7). A small one is kept in
the instance document itself, a larger one in a segment blob (ADR 0002).

References
----------
RFC 1951 (deflate), RFC 1952 (gzip), PS3.18 F.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from shared.dicom.instance import MetadataChunk
from shared.errors import CorruptData
from shared.ports import Blobs, ByteSpan, JsonObject

INLINE_BYTES = 8 * 1024
"""Largest chunk that is kept in the instance document, in bytes of deflated JSON."""


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """One chunk and where it is: in ``inline``, or in a segment blob.

    A chunk is the JSON of one instance; that of a compacted series, of several with commas between.

    ``length`` is the number of deflated bytes; ``size`` and ``crc32`` are those of the JSON
    text; ``base`` is the address that its ``BulkDataURI`` begin with.
    """

    length: int
    size: int
    crc32: int
    base: str
    inline: bytes | None = None
    segment: str | None = None
    offset: int = 0

    def to_json(self) -> JsonObject:
        """The member ``metadata`` of an instance document."""
        place: JsonObject = {
            "length": self.length, "size": self.size, "crc32": self.crc32, "base": self.base,
        }  # fmt: skip
        if self.inline is not None:
            place["inline"] = base64.b64encode(self.inline).decode("ascii")
        else:
            place["segment"], place["offset"] = self.segment, self.offset
        return place

    @staticmethod
    def from_json(place: JsonObject) -> ChunkPlace:
        """Read what ``to_json`` wrote."""
        inline = place.get("inline")
        return ChunkPlace(
            length=place["length"],
            size=place["size"],
            crc32=place["crc32"],
            base=place["base"],
            inline=None if inline is None else base64.b64decode(inline),
            segment=place.get("segment"),
            offset=place.get("offset", 0),
        )


def place_inline(chunk: MetadataChunk, base: str) -> ChunkPlace:
    """Keep a chunk in the instance document."""
    return ChunkPlace(len(chunk.deflated), chunk.size, chunk.crc32, base, inline=chunk.deflated)


def place_in_segment(chunk: MetadataChunk, base: str, segment: str, offset: int) -> ChunkPlace:
    """Keep a chunk in a segment blob, at ``offset`` bytes."""
    return ChunkPlace(
        len(chunk.deflated), chunk.size, chunk.crc32, base, segment=segment, offset=offset
    )


# Reading ----------------------------------------------------------------------------------


async def deflated_chunks(blobs: Blobs, places: Sequence[ChunkPlace]) -> AsyncIterator[bytes]:
    """The deflated bytes of each place, in order; neighbours in a segment are read as one.

    Memory is bounded by one run of neighbours of at most 4 MiB.
    """
    for run in _runs(places):
        if run[0].inline is not None:
            yield run[0].inline
            continue
        start = run[0].offset
        span = ByteSpan(start, run[-1].offset + run[-1].length - start)
        data = b"".join([piece async for piece in await blobs.read(run[0].segment or "", span)])
        if len(data) != span.length:
            raise CorruptData("A metadata segment is shorter than its index says.")
        for place in run:
            yield data[place.offset - start : place.offset - start + place.length]


_RUN_BYTES = 4 * 1024 * 1024


def _runs(places: Iterable[ChunkPlace]) -> Iterable[list[ChunkPlace]]:
    run: list[ChunkPlace] = []
    for place in places:
        if run and not _continues(run, place):
            yield run
            run = []
        run.append(place)
    if run:
        yield run


def _continues(run: list[ChunkPlace], place: ChunkPlace) -> bool:
    last = run[-1]
    return (
        place.inline is None
        and last.inline is None
        and place.segment == last.segment
        and place.offset == last.offset + last.length
        and place.offset + place.length - run[0].offset <= _RUN_BYTES
    )


async def json_array(blobs: Blobs, places: Sequence[ChunkPlace], base: str) -> AsyncIterator[bytes]:
    """The JSON array of all chunks as text, in pieces, with ``BulkDataURI`` below ``base``."""
    lead = b"["
    async for text in chunk_texts(blobs, places, base):
        yield lead + text
        lead = b","
    yield b"]" if places else b"[]"


async def chunk_texts(
    blobs: Blobs, places: Sequence[ChunkPlace], base: str
) -> AsyncIterator[bytes]:
    """The JSON text of each chunk, with ``BulkDataURI`` below ``base``.

    Raises
    ------
    CorruptData
        A chunk is not what was stored.
    """
    index = 0
    async for deflated in deflated_chunks(blobs, places):
        yield _text(deflated, places[index], base)
        index += 1


def _text(deflated: bytes, place: ChunkPlace, base: str) -> bytes:
    text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated)
    if len(text) != place.size or zlib.crc32(text) != place.crc32:
        raise CorruptData("A metadata chunk is not what was stored.")
    if place.base == base:
        return text
    return text.replace(
        b'"BulkDataURI":"' + place.base.encode() + b"/", b'"BulkDataURI":"' + base.encode() + b"/"
    )


# One gzip member ----------------------------------------------------------------------------

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def deflate_chunk(text: bytes, level: int = 6) -> bytes:
    """Text as raw deflate, ended by a full flush: it can stand before and behind others."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(text) + compressor.flush(zlib.Z_FULL_FLUSH)


_OPEN, _COMMA = deflate_chunk(b"["), deflate_chunk(b",")


def _closing() -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(b"]") + compressor.flush(zlib.Z_FINISH)


_CLOSE = _closing()


async def gzip_array(blobs: Blobs, places: Sequence[ChunkPlace], base: str) -> AsyncIterator[bytes]:
    """The JSON array of all chunks as one gzip member; chunks pass through as they are.

    A chunk whose ``BulkDataURI`` begin with another address than ``base`` is rewritten.
    """
    crc = zlib.crc32(b"[")
    size = 1
    lead = _GZIP_HEADER + _OPEN
    index = 0
    async for deflated in deflated_chunks(blobs, places):
        place = places[index]
        data, length, chunk_crc = deflated, place.size, place.crc32
        if place.base != base:
            text = _text(deflated, place, base)
            data, length, chunk_crc = deflate_chunk(text), len(text), zlib.crc32(text)
        if index:
            lead, crc, size = _COMMA, zlib.crc32(b",", crc), size + 1
        index += 1
        crc, size = crc32_combine(crc, chunk_crc, length), size + length
        yield lead + data
    if not places:
        yield lead
    crc, size = zlib.crc32(b"]", crc), size + 1
    yield _CLOSE + crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


# CRC of a concatenation: polynomials over GF(2) modulo the CRC's, bits reflected ------------

_POLYNOMIAL = 0xEDB88320


def _multiply(a: int, b: int) -> int:
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = (b >> 1) ^ _POLYNOMIAL if b & 1 else b >> 1
    return product


@lru_cache(maxsize=4096)
def _shift(length: int) -> int:
    """x^(8·length) modulo the polynomial."""
    result, power = 0x80000000, 0x00800000  # 1, x^8
    while length:
        if length & 1:
            result = _multiply(power, result)
        power = _multiply(power, power)
        length >>= 1
    return result


def crc32_combine(first: int, second: int, length: int) -> int:
    """CRC-32 of two texts from the CRC of each and the ``length`` of the second, in bytes."""
    return _multiply(_shift(length), first) ^ second

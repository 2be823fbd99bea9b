"""Instances that arrive as metadata and bulk data (PS3.18 10.5.1, 8.6.1.2): made into files.

The first parts are arrays of data sets in the DICOM JSON model; each later part is a bulk value
that a ``BulkDataURI`` of them names by its ``Content-Location``. Several parts of one location are
the frames of an image. What is made goes the way of any stored file: the same reading, the same
rules.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, Final

from shared.config import Limits
from shared.dicom import tags, transfer_syntax
from shared.dicom.instance import Identifiers
from shared.dicom.json_reader import BulkValue, JsonFault, element, encoded, head, text_of
from shared.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from shared.errors import MalformedRequest, PayloadTooLarge
from shared.store.bulk_parts import (
    BulkPart,
    described,
    encapsulated,
    is_encapsulated,
    native,
    syntax_of,
)
from shared.store.intake import RefusedByRules
from shared.store.models import CANNOT_UNDERSTAND, Refused
from shared.store.spool import Spool
from shared.web.media_types import DICOM_JSON, parse_media_type
from shared.web.multipart import Part

_PIXELS: Final = frozenset({tags.PIXEL_DATA})
_PIECE: Final = 64 * 1024
_UNDEFINED: Final = 0xFFFFFFFF


async def instances(
    parts: AsyncIterator[Part], limits: Limits
) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """The files of a request's data sets, in their order, each as pieces.

    All parts are read before the first file is given.

    Parameters
    ----------
    parts : AsyncIterator[Part]
        Metadata first, then bulk data.
    limits : Limits
        Bytes of metadata and of bulk data, nesting.

    Raises
    ------
    MalformedRequest
        A part is not what it should be; it is named by its number.
    PayloadTooLarge
        There is more than the limits say.
    RefusedByRules
        From the pieces of a file: its data set cannot be made into one.

    References
    ----------
    PS3.18 10.5.1.1, 8.7.3.
    """
    with Spool(limits.bulk_data_bytes) as spool:
        data_sets, bulk = await _read(parts, spool, limits)
        _require_use(data_sets, bulk)
        for data_set in data_sets:
            yield _File(data_set, bulk, spool, limits).pieces()


async def _read(
    parts: AsyncIterator[Part], spool: Spool, limits: Limits
) -> tuple[list[dict[str, Any]], dict[str, list[BulkPart]]]:
    data_sets: list[dict[str, Any]] = []
    bulk: dict[str, list[BulkPart]] = {}
    number = room = 0
    async for part in parts:
        number += 1
        kind = parse_media_type(
            part.headers.get("content-type") or (DICOM_JSON if number == 1 else "")
        )
        if kind is None:
            raise MalformedRequest(f"Part {number} has no media type.")
        if kind.name == DICOM_JSON and not bulk:
            text = bytearray()
            async for piece in part.content:
                text += piece
                room += len(piece)
                if room > limits.metadata_bytes:
                    raise PayloadTooLarge(
                        f"The metadata of a request may have at most {limits.metadata_bytes} bytes."
                    )
            data_sets += await asyncio.to_thread(_parsed, bytes(text), number)
            continue
        if number == 1:
            raise MalformedRequest(f"Part 1 must be {DICOM_JSON}.")
        location = part.headers.get("content-location")
        if not location:
            raise MalformedRequest(f"Part {number} has no Content-Location.")
        place = await spool.add(part.content)
        syntax = kind.parameters.get("transfer-syntax")
        bulk.setdefault(location, []).append(BulkPart(number, kind.name, syntax, place))
    return data_sets, bulk


def _parsed(text: bytes, number: int) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedRequest(f"Part {number} is no JSON.") from None
    rows = [found] if isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise MalformedRequest(f"Part {number} is no array of data sets.")
    return rows


def _require_use(data_sets: list[dict[str, Any]], bulk: Mapping[str, list[BulkPart]]) -> None:
    """Refuse bulk data that no data set names: nobody could say whose it is."""
    used: set[str] = set()
    waiting: list[Any] = list(data_sets)
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            if isinstance(each.get("BulkDataURI"), str):
                used.add(each["BulkDataURI"])
            waiting += each.values()
    for location, unused in bulk.items():
        if location not in used:
            raise MalformedRequest(
                f"Part {unused[0].number} has a Content-Location that no data set names."
            )


class _File:
    """One data set on its way to a file."""

    def __init__(
        self,
        data_set: dict[str, Any],
        bulk: Mapping[str, list[BulkPart]],
        spool: Spool,
        limits: Limits,
    ) -> None:
        self._data_set = data_set
        self._bulk = bulk
        self._spool = spool
        self._limits = limits

    async def pieces(self) -> AsyncIterator[bytes]:
        """The file. Nothing is given before all is known to fit together."""
        chunks = self._chunks()
        try:
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                yield chunk
        except JsonFault as fault:
            raise RefusedByRules(self._refused(fault)) from None

    def _chunks(self) -> Iterator[bytes]:
        gathered = bytearray()
        for piece in self._encoded():
            gathered += piece
            if len(gathered) >= _PIECE:
                yield bytes(gathered)
                gathered.clear()
        if gathered:
            yield bytes(gathered)

    def _refused(self, fault: JsonFault) -> Refused:
        tag = 0 if fault.tag is None else fault.tag
        shown = "" if fault.tag is None else f"({tag >> 16:04x},{tag & 0xFFFF:04x}) - "
        identifiers = Identifiers(
            *(
                text_of(self._data_set, uid)
                for uid in (
                    tags.SOP_CLASS_UID,
                    tags.SOP_INSTANCE_UID,
                    tags.STUDY_INSTANCE_UID,
                    tags.SERIES_INSTANCE_UID,
                )
            )
        )
        text = fault.text[:1].upper() + fault.text[1:]
        return Refused(CANNOT_UNDERSTAND, identifiers, [f"DICOM100: {shown}{text}."])

    def _encoded(self) -> Iterator[bytes]:
        # all faults that the metadata has show here, before anything is written
        pieces = list(encoded(self._data_set, most_levels=self._limits.nesting))
        values = {
            at: self._value(piece)
            for at, piece in enumerate(pieces)
            if isinstance(piece, BulkValue)
        }
        yield from self._meta(self._syntax(pieces))
        for at, piece in enumerate(pieces):
            if isinstance(piece, BulkValue):
                yield from values[at]
            else:
                yield piece

    def _syntax(self, pieces: list[bytes | BulkValue]) -> str:
        for piece in pieces:
            if isinstance(piece, BulkValue) and not piece.depth and piece.tag in _PIXELS:
                parts = self._parts(piece)
                if is_encapsulated(parts):
                    return syntax_of(parts, described(self._data_set), self._spool)
        return transfer_syntax.EXPLICIT_LE

    def _parts(self, value: BulkValue) -> list[BulkPart]:
        parts = self._bulk.get(value.uri)
        if parts is None:
            raise JsonFault(value.tag, "no part has the BulkDataURI as its Content-Location")
        return parts

    def _value(self, value: BulkValue) -> Iterator[bytes]:
        parts, spool = self._parts(value), self._spool
        if value.tag in _PIXELS and not value.depth:
            pixels = described(self._data_set)
            if is_encapsulated(parts):
                return _joined(head(value.tag, "OB", _UNDEFINED), encapsulated(parts, spool))
            content, length = native(parts, pixels, spool), pixels.bytes
            vr = value.vr if value.vr in ("OB", "OW") else "OW"
            if pixels.bits > 8:
                vr = "OW"
        else:
            content = (piece for part in parts for piece in spool.read(part.place))
            length, vr = sum(part.place.length for part in parts), value.vr
        start = head(value.tag, vr, length + length % 2)
        pad = b" " if vr in ("LT", "ST", "UC", "UR", "UT", "DS", "IS") else b"\0"
        return _joined(start, content, pad * (length % 2))

    def _meta(self, syntax: str) -> Iterator[bytes]:
        """Preamble and file meta information (PS3.10 7.1)."""
        uids = (
            (0x00020002, text_of(self._data_set, tags.SOP_CLASS_UID) or ""),
            (0x00020003, text_of(self._data_set, tags.SOP_INSTANCE_UID) or ""),
            (tags.TRANSFER_SYNTAX_UID, syntax),
            (0x00020012, IMPLEMENTATION_CLASS_UID),
        )
        meta = element(0x00020001, "OB", b"\0\1")
        meta += b"".join(element(tag, "UI", uid.encode()) for tag, uid in uids)
        meta += element(0x00020013, "SH", IMPLEMENTATION_VERSION_NAME.encode())
        yield (
            bytes(128) + b"DICM" + element(0x00020000, "UL", len(meta).to_bytes(4, "little")) + meta
        )


def _joined(start: bytes, content: Iterator[bytes], end: bytes = b"") -> Iterator[bytes]:
    yield start
    yield from content
    yield end

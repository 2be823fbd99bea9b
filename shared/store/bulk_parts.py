"""The pixel data of an instance from the parts of a request: native, or encapsulated frames.

The media type of the parts says what they are; the header of each frame has to agree with the data
set before a byte of it is written or decoded (PS3.18 8.7.3.3).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from shared.dicom import tags, transfer_syntax
from shared.dicom.codestream import (
    HEADER_BYTES,
    CodestreamFacts,
    codestream_offset,
    jpeg_2000_facts,
    jpeg_facts,
)
from shared.dicom.json_reader import JsonFault, number_of
from shared.store.spool import Place, Spool

_MOST_DECODED: Final = 64 * 1024 * 1024
_MOST_FRAGMENT: Final = 0xFFFFFFFE
_ITEM: Final = b"\xfe\xff\x00\xe0"
_END: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"

_JPEG_2000: Final = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (90, 91, 92, 93))
SYNTAXES: Final[Mapping[str, tuple[str, ...]]] = {
    "image/jpeg": tuple(f"1.2.840.10008.1.2.4.{number}" for number in (70, 50, 51, 57)),
    "image/jls": ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),
    "image/jp2": _JPEG_2000[:2],
    "image/jpx": _JPEG_2000[2:],
    "image/jphc": tuple(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203)),
    "image/dicom-rle": (transfer_syntax.RLE,),
    "video/mpeg": ("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101"),
    "video/mp4": tuple(f"1.2.840.10008.1.2.4.{number}" for number in (102, 103, 104, 105, 106)),
    "video/h265": ("1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"),
}
"""Transfer syntaxes of each media type of compressed pixel data, the default one first."""

_PNG: Final = "image/png"
_WITH_HEADER: Final = frozenset({"image/jpeg", "image/jls", "image/jp2", "image/jpx", "image/jphc"})


class BulkPart(NamedTuple):
    """One part of bulk data.

    Parameters
    ----------
    number : int
        Of the part in the request, from 1.
    media_type : str
        ``type/subtype`` in lower case.
    syntax : str or None
        Its parameter ``transfer-syntax``.
    place : Place
        Where it is kept.
    """

    number: int
    media_type: str
    syntax: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class Description:
    """The size of the frames that a data set says it has."""

    rows: int
    columns: int
    samples: int
    bits: int
    frames: int
    is_planar: bool = False

    @property
    def bytes(self) -> int:
        """Length of native pixel data, without padding."""
        bits = self.rows * self.columns * self.samples * self.bits * self.frames
        return (bits + 7) // 8


def described(data_set: Mapping[str, Any]) -> Description:
    """The description of the pixels of a data set.

    Raises
    ------
    JsonFault
        An attribute that is needed is missing.
    """
    found = []
    for tag in (tags.ROWS, tags.COLUMNS, tags.SAMPLES_PER_PIXEL, tags.BITS_ALLOCATED):
        number = number_of(data_set, tag)
        if number is None or number < 1:
            raise JsonFault(tag, "the attribute is missing, and pixel data needs it")
        found.append(number)
    frames = 1
    if tags.key(tags.NUMBER_OF_FRAMES) in data_set:
        told = number_of(data_set, tags.NUMBER_OF_FRAMES)
        if told is None or told < 1:
            raise JsonFault(tags.NUMBER_OF_FRAMES, "the value is no number of frames")
        frames = told
    is_planar = number_of(data_set, tags.PLANAR_CONFIGURATION) == 1
    return Description(found[0], found[1], found[2], found[3], frames, is_planar)


def is_encapsulated(parts: Sequence[BulkPart]) -> bool:
    """Whether the parts are compressed frames or a video."""
    return parts[0].media_type in SYNTAXES


def syntax_of(parts: Sequence[BulkPart], pixels: Description, spool: Spool) -> str:
    """The transfer syntax of compressed parts, after a look at the header of each.

    Raises
    ------
    JsonFault
        The parts are not all of one kind, or not what the data set says.
    """
    kind = parts[0].media_type
    syntaxes = set()
    for part in parts:
        if part.media_type != kind:
            raise _fault(part, f"is {part.media_type}, and the first one is {kind}")
        if part.syntax is not None and part.syntax not in SYNTAXES[kind]:
            raise _fault(part, f"has a transfer syntax that is none of {kind}")
        syntax = part.syntax or SYNTAXES[kind][0]
        if kind in _WITH_HEADER:
            facts = _facts(part, spool)
            _require_agreement(part, facts, pixels)
            syntax = _agreed(part, facts)
        syntaxes.add(syntax)
    if len(syntaxes) > 1:
        raise JsonFault(tags.PIXEL_DATA, "the frames have several transfer syntaxes")
    is_stream = kind.startswith("video/")
    if len(parts) != (1 if is_stream else pixels.frames):
        raise JsonFault(
            tags.PIXEL_DATA,
            f"there are {len(parts)} parts, and {pixels.frames} frames"
            + (" of one video" if is_stream else ""),
        )
    return syntaxes.pop()


def _facts(part: BulkPart, spool: Spool) -> CodestreamFacts:
    data = spool.head(part.place, HEADER_BYTES)
    facts = jpeg_facts(data) or jpeg_2000_facts(data[codestream_offset(data) :])
    if facts is None or facts.transfer_syntax_uid not in _FAMILY[part.media_type]:
        raise _fault(part, f"is no {part.media_type} that DICOM knows")
    return facts


_FAMILY: Final[Mapping[str, tuple[str, ...]]] = {**SYNTAXES, "image/jpx": _JPEG_2000}


def _require_agreement(part: BulkPart, facts: CodestreamFacts, pixels: Description) -> None:
    if (facts.rows, facts.columns) != (pixels.rows, pixels.columns):
        raise _fault(
            part,
            f"has {facts.rows} rows and {facts.columns} columns, "
            f"and the data set {pixels.rows} and {pixels.columns}",
        )
    if facts.samples != pixels.samples or facts.bits > pixels.bits:
        raise _fault(part, "has other samples than the data set says")


def _agreed(part: BulkPart, facts: CodestreamFacts) -> str:
    """The syntax of a frame: its own, unless a wider one that covers it is declared."""
    own, told = facts.transfer_syntax_uid, part.syntax
    if told is None or told == own:
        return own
    wider = {
        "1.2.840.10008.1.2.4.50": ("1.2.840.10008.1.2.4.51",),
        "1.2.840.10008.1.2.4.70": ("1.2.840.10008.1.2.4.57",),
        "1.2.840.10008.1.2.4.80": ("1.2.840.10008.1.2.4.81",),
        "1.2.840.10008.1.2.4.90": _JPEG_2000[1:],
        "1.2.840.10008.1.2.4.91": _JPEG_2000[3:],
        "1.2.840.10008.1.2.4.201": tuple(SYNTAXES["image/jphc"][1:]),
    }
    if told not in wider.get(own, ()):
        raise _fault(part, "is not of the transfer syntax that it says")
    return told


def encapsulated(parts: Sequence[BulkPart], spool: Spool) -> Iterator[bytes]:
    """The value of encapsulated pixel data: each part one fragment (PS3.5 A.4)."""
    yield _ITEM + b"\0\0\0\0"  # an empty offset table
    for part in parts:
        start = codestream_offset(spool.head(part.place, HEADER_BYTES))
        place = Place(part.place.offset + start, part.place.length - start)
        padded = place.length + place.length % 2
        if padded > _MOST_FRAGMENT:
            raise _fault(part, "is longer than DICOM allows")
        yield _ITEM + struct.pack("<I", padded)
        yield from spool.read(place)
        yield b"\0" * (padded - place.length)
    yield _END


def native(parts: Sequence[BulkPart], pixels: Description, spool: Spool) -> Iterator[bytes]:
    """The value of native pixel data, without padding.

    Raises
    ------
    JsonFault
        It has not the length that the data set says.
    """
    if parts[0].media_type == _PNG:
        return _from_png(parts, pixels, spool)
    length = sum(part.place.length for part in parts)
    if length not in (pixels.bytes, pixels.bytes + pixels.bytes % 2):
        raise JsonFault(
            tags.PIXEL_DATA, f"there are {length} bytes, and {pixels.bytes} by the data set"
        )
    return _read(parts, pixels.bytes, spool)


def _read(parts: Sequence[BulkPart], size: int, spool: Spool) -> Iterator[bytes]:
    for part in parts:
        for piece in spool.read(part.place):
            yield piece[:size]
            size -= len(piece[:size])


def _from_png(parts: Sequence[BulkPart], pixels: Description, spool: Spool) -> Iterator[bytes]:
    if len(parts) != pixels.frames:
        raise JsonFault(
            tags.PIXEL_DATA, f"there are {len(parts)} parts, and {pixels.frames} frames"
        )
    if pixels.bytes // pixels.frames > _MOST_DECODED:
        raise JsonFault(tags.PIXEL_DATA, f"a PNG may have at most {_MOST_DECODED} bytes of pixels")
    if pixels.is_planar and pixels.samples > 1:
        raise JsonFault(tags.PLANAR_CONFIGURATION, "the samples of a PNG are interleaved")
    for part in parts:
        _require_png(part, pixels, spool)
    return (_decoded(part, pixels, spool) for part in parts)


def _require_png(part: BulkPart, pixels: Description, spool: Spool) -> None:
    """Compare the header of a PNG (ISO 15948 11.2.2) with the data set."""
    data = spool.head(part.place, 33)
    if part.media_type != _PNG or data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 33:
        raise _fault(part, "is no PNG")
    columns, rows, bits, colour = struct.unpack_from(">IIBB", data, 16)
    samples = {0: 1, 2: 3}.get(colour)
    facts = CodestreamFacts(rows, columns, samples or 0, bits, "")
    if samples is None or bits != pixels.bits or bits not in (8, 16) or samples * bits > 24:
        raise _fault(part, "has other samples than the data set says")
    _require_agreement(part, facts, pixels)


def _decoded(part: BulkPart, pixels: Description, spool: Spool) -> bytes:
    from PIL import Image, UnidentifiedImageError

    frame = pixels.bytes // pixels.frames
    if part.place.length > 2 * frame + HEADER_BYTES:
        raise _fault(part, "is larger than its pixels")
    data = b"".join(spool.read(part.place))
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            decoded = image.tobytes("raw", "I;16" if pixels.bits == 16 else image.mode)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        raise _fault(part, "is no PNG that can be decoded") from None
    if len(decoded) != frame:
        raise _fault(part, "has other samples than the data set says")
    return decoded


def _fault(part: BulkPart, text: str) -> JsonFault:
    return JsonFault(tags.PIXEL_DATA, f"part {part.number} {text}")

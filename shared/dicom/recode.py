"""Write elements anew in explicit VR little endian, without reading meaning into values.

Nothing is decoded: a value that breaks its VR comes out as it went in, in the other byte order.
Sequences get defined lengths. Group lengths are left out, as they would have to be counted anew.

References
----------
PS3.5 7.1 (elements), 7.5 (sequences), 6.2.2 note 2 (UN of undefined length), A.2.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.dicom import tags
from shared.dicom.json_model import little_endian
from shared.dicom.vr import EXPLICIT_LE, IMPLICIT_LE, STRUCTURE, UNKNOWN_SEQUENCE, Encoding
from shared.errors import CorruptData

HEADER_BYTES: Final = 12
"""Most bytes from which the beginning of an element can be read."""

_WORDS: Final = {
    "AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4,
    "FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8,
}  # fmt: skip
_LONG_VRS: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_MOST_SHORT: Final = 0xFFFF


class Incomplete(Exception):
    """The bytes end within an element."""


@dataclass(frozen=True, slots=True)
class Signedness:
    """Whether pixel values are signed, which decides VRs that are ``US or SS``."""

    is_signed: bool


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an element.

    ``start`` and ``length`` (of the value) are in bytes. ``is_unknown``: a sequence that is written
    as UN, so its items are in implicit VR little endian.
    """

    tag: int
    vr: str
    length: int
    start: int
    is_unknown: bool = False

    @property
    def is_undefined(self) -> bool:
        """Whether a delimiter ends the value."""
        return self.length == tags.UNDEFINED_LENGTH


def head_of(data: bytes, at: int, encoding: Encoding, pixels: Signedness) -> Head | None:
    """The beginning of the element at ``at``; ``None`` for what is no element: padding, items.

    Raises
    ------
    Incomplete
        There are too few bytes.
    """
    if len(data) < at + 8:
        raise Incomplete
    tag, vr, length, start = encoding.head(data, at, pixels)
    if vr is STRUCTURE:
        return None
    if start > len(data):
        raise Incomplete
    return Head(tag, vr.name, length, start, vr is UNKNOWN_SEQUENCE)


def header(tag: int, vr: str, length: int) -> bytes:
    """The beginning of an element in explicit VR little endian.

    A value that is too long for its VR's header becomes UN (PS3.5 6.2.2).
    """
    group, number = tag >> 16, tag & 0xFFFF
    if vr not in _LONG_VRS:
        if length <= _MOST_SHORT:
            return struct.pack("<HH2sH", group, number, vr.encode(), length)
        vr = "UN"
    return struct.pack("<HH2sHI", group, number, vr.encode(), 0, length)


def element(tag: int, vr: str, value: bytes) -> bytes:
    """A whole element in explicit VR little endian; an odd value is padded (PS3.5 6.2)."""
    if len(value) % 2:
        value += b"\0" if vr in ("OB", "UI", "UN") else b" "
    return header(tag, vr, len(value)) + value


def word_of(vr: str, encoding: Encoding) -> int:
    """Length in bytes of the words that have to be turned round; 1 where none have."""
    return _WORDS.get(vr, 1) if encoding.order == ">" else 1


def recoded(
    data: bytes, at: int, encoding: Encoding, pixels: Signedness
) -> tuple[int, bytes, int] | None:
    """One element anew.

    Parameters
    ----------
    data : bytes
        Elements.
    at : int
        Where the element begins.
    encoding : Encoding
        Of ``data``.
    pixels : Signedness
        Of the data set's pixels.

    Returns
    -------
    tuple or None
        Tag, the element in explicit VR little endian, where the next one begins. ``None``: there
        are no more elements, only padding.

    Raises
    ------
    Incomplete
        The element goes on behind the end of ``data``.
    CorruptData
        A sequence is malformed.
    """
    head = head_of(data, at, encoding, pixels)
    if head is None:
        return None
    if head.is_undefined and head.vr == "UN":
        # as it is: its items are in implicit VR little endian whatever is around them
        _, end = _sequence(data, head, IMPLICIT_LE, pixels)
        return head.tag, header(head.tag, "UN", head.length) + data[head.start : end], end
    if head.vr == "SQ" or head.is_undefined:
        inner = IMPLICIT_LE if head.is_unknown else encoding
        value, end = _sequence(data, head, inner, pixels)
        return head.tag, header(head.tag, "SQ", len(value)) + value, end
    end = head.start + head.length
    if end > len(data):
        raise Incomplete
    value = little_endian(data[head.start : end], word_of(head.vr, encoding))
    return head.tag, header(head.tag, head.vr, len(value)) + value, end


def recoded_all(data: bytes, encoding: Encoding, pixels: Signedness) -> Iterator[tuple[int, bytes]]:
    """Each element of a complete data set anew, without group lengths."""
    at = 0
    while at < len(data):
        one = recoded(data, at, encoding, pixels)
        if one is None:
            return
        tag, written, at = one
        if not is_group_length(tag):
            yield tag, written


def is_group_length(tag: int) -> bool:
    """Whether an element counts the bytes of its group (PS3.5 7.2)."""
    return not tag & 0xFFFF


def _sequence(data: bytes, head: Head, encoding: Encoding, pixels: Signedness) -> tuple[bytes, int]:
    """The items of a sequence anew, and where it ends in ``data``."""
    end = len(data) if head.is_undefined else head.start + head.length
    if end > len(data):
        raise Incomplete
    written: list[bytes] = []
    at = head.start
    while at < end:
        tag, length = _item(data, at, encoding)
        at += 8
        if tag == tags.SEQUENCE_DELIMITATION and head.is_undefined:
            return b"".join(written), at
        if tag != tags.ITEM:
            raise CorruptData("A sequence has something else than items.")
        value, at = _elements(data, at, length, encoding, pixels)
        written.append(struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value)
    if head.is_undefined:
        raise Incomplete
    return b"".join(written), at


def _item(data: bytes, at: int, encoding: Encoding) -> tuple[int, int]:
    if len(data) < at + 8:
        raise Incomplete
    group, number, length = struct.unpack_from(encoding.order + "HHI", data, at)
    return group << 16 | number, length


def _elements(
    data: bytes, at: int, length: int, encoding: Encoding, pixels: Signedness
) -> tuple[bytes, int]:
    """The elements of an item anew, and where it ends in ``data``."""
    undefined = length == tags.UNDEFINED_LENGTH
    end = len(data) if undefined else at + length
    if end > len(data):
        raise Incomplete
    written: list[bytes] = []
    while at < end:
        one = recoded(data, at, encoding, pixels)
        if one is None:
            tag, _ = _item(data, at, encoding)
            if undefined and tag == tags.ITEM_DELIMITATION:
                return b"".join(written), at + 8
            raise CorruptData("An item has something else than elements.")
        tag, element_, at = one
        if not is_group_length(tag):
            written.append(element_)
    if undefined:
        raise Incomplete
    return b"".join(written), at


ENCODINGS: Final = {True: IMPLICIT_LE, False: EXPLICIT_LE}
"""Little-endian encodings by whether they leave VRs out."""

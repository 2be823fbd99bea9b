"""Value representations: how each is encoded, and how a data set's elements begin (PS3.5 6.2, 7.1).

One table per byte order, so that reading an element asks for its VR once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from shared.dicom import tags
from shared.dicom.json_model import (
    BULK_VRS,
    STRING_VRS,
    binary_json,
    names_json,
    number_texts_json,
    texts_json,
)
from shared.errors import NotDicom

_LONG: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_SHORT: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL",
     "SS", "ST", "TM", "UI", "UL", "US"}
)  # fmt: skip
_AMBIGUOUS: Final = {
    "US or SS": ("US", "SS"),
    "OB or OW": ("OW", "OW"),
    "US or OW": ("OW", "OW"),
    "US or SS or OW": ("OW", "OW"),
}
_TEXT_WRITERS: Final = {"DS": number_texts_json, "IS": number_texts_json, "PN": names_json}


class Vr:
    """One value representation in one byte order.

    Parameters
    ----------
    name : str
        Two letters.
    order : str
        ``<`` or ``>``.

    Attributes
    ----------
    header : int
        Bytes before the value in explicit VR.
    is_plain : bool
        Elements of it are values: no sequences, no items.
    is_text : bool
        Its values are strings.
    is_bulk : bool
        Its values are bytes that metadata may leave out (spec §2.9).
    texts : callable
        JSON members of string values.
    members : callable
        JSON members of a binary value.
    """

    __slots__ = ("header", "is_bulk", "is_plain", "is_text", "members", "name", "texts")

    def __init__(self, name: str, order: str = "<") -> None:
        self.name = name
        self.header = 12 if name in _LONG else 8
        self.is_plain = name in _SHORT or (name in _LONG and name != "SQ")
        self.is_text = name in STRING_VRS
        self.is_bulk = name in BULK_VRS
        self.texts: Callable[[Sequence[str]], str] = _TEXT_WRITERS.get(name, texts_json)
        self.members: Callable[[bytes], str] = binary_json(name, order)


STRUCTURE: Final = Vr("")
"""In place of a VR: items, delimiters, and the zeros that may follow a data set."""


UNKNOWN_SEQUENCE: Final = Vr("SQ")
"""A sequence that is written as UN: its items are Implicit VR Little Endian (PS3.5 6.2.2)."""

_LONG_UNKNOWN: Final = 0xFFFF  # what fits a short length is read, as pydicom does


class Pixels(Protocol):
    """The pixel description of a data set, as far as it has been read."""

    @property
    def is_signed(self) -> bool:
        """Whether pixel values are signed."""
        ...


class Encoding:
    """How elements are written: with or without their VR, in which byte order.

    Parameters
    ----------
    implicit : bool
        VRs are left out.
    order : str
        ``<`` or ``>``.
    """

    __slots__ = ("_by_code", "_by_name", "_head", "_long", "implicit", "order")

    def __init__(self, *, implicit: bool, order: str) -> None:
        self.implicit = implicit
        self.order = order
        self._by_name = {name: Vr(name, order) for name in _LONG | _SHORT}
        self._by_code = {name.encode(): vr for name, vr in self._by_name.items()}
        self._head = struct.Struct(order + ("HHI" if implicit else "HH2sH")).unpack_from
        self._long = struct.Struct(order + "I").unpack_from

    def head(self, data: bytes, at: int, pixels: Pixels) -> tuple[int, Vr, int, int]:
        """Read the beginning of an element, of which 8 bytes are there.

        Parameters
        ----------
        data : bytes
            Part of a data set.
        at : int
            Where in ``data`` the element begins.
        pixels : Pixels
            Whether their values are signed decides VRs that are ``US or SS``.

        Returns
        -------
        tuple
            Tag, VR, length of the value, where in ``data`` the value begins. If that is behind
            the end of ``data``, the length is not known yet, and 0.

        Raises
        ------
        NotDicom
            It has no VR where it should.
        """
        if self.implicit:
            group, number, length = self._head(data, at)
            if group == 0xFFFE:
                return 0xFFFE0000 | number, STRUCTURE, length, at + 8
            tag = group << 16 | number
            return tag, self._dictionary_vr(tag, pixels), length, at + 8
        group, number, code, length = self._head(data, at)
        tag = group << 16 | number
        if group == 0xFFFE:
            return tag, STRUCTURE, self._long(data, at + 4)[0], at + 8
        vr = self._by_code.get(code) or self._unusual(tag, code)
        start: int = at + vr.header
        if vr.header == 12:
            length = self._long(data, at + 8)[0] if len(data) >= start else 0
            if vr.name == "UN":
                vr = self._known(tag, vr, length, pixels)
        return tag, vr, length, start

    def _known(self, tag: int, vr: Vr, length: int, pixels: Pixels) -> Vr:
        """What an element of VR UN is by the dictionary, which some writers do not have.

        Its value is that of Implicit VR Little Endian (PS3.5 6.2.2 Note 3). Bulk values and long
        ones stay what they are.
        """
        known = tags.entry(tag) if length < _LONG_UNKNOWN else None
        if known is None:
            return vr
        if known.vr == "SQ":
            return UNKNOWN_SEQUENCE
        found = self._by_name.get(known.vr) or self._by_name[_AMBIGUOUS[known.vr][pixels.is_signed]]
        return found if found.is_text or (not found.is_bulk and self.order == "<") else vr

    def _unusual(self, tag: int, code: bytes) -> Vr:
        if tag == 0:
            return STRUCTURE
        if code.isalpha() and code.isupper():
            return self._by_name["UN"]  # a VR of the future has a long header (PS3.5 6.2)
        raise NotDicom(f"The element {tags.text(tag)} has no valid VR.")

    def _dictionary_vr(self, tag: int, pixels: Pixels) -> Vr:
        if tag == 0:
            return STRUCTURE
        known = tags.entry(tag)
        if known is None:
            return self._by_name["LO" if tags.is_private_creator(tag) else "UN"]
        return self._by_name.get(known.vr) or self._by_name[_AMBIGUOUS[known.vr][pixels.is_signed]]


IMPLICIT_LE: Final = Encoding(implicit=True, order="<")
EXPLICIT_LE: Final = Encoding(implicit=False, order="<")
EXPLICIT_BE: Final = Encoding(implicit=False, order=">")

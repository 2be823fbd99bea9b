"""What is kept of a data set's elements while they pass by: facts, and DICOM JSON."""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Callable
from typing import Final

from shared.dicom import tags
from shared.dicom.frames import Fragments
from shared.dicom.instance import Checker, Identifiers, JsonElement
from shared.dicom.json_model import bulk_json, string_values
from shared.dicom.metadata_writer import MetadataWriter, filled, place_of
from shared.dicom.pixel_notes import PIXEL_ELEMENTS, PIXEL_MODULE, PixelNotes
from shared.dicom.text import DEFAULT, CharacterSet, character_set
from shared.dicom.vr import Encoding, Vr

INLINE_BYTES: Final = 1024
"""Largest value of a bulk VR (OB, OW, UN, …) that stands in the metadata itself."""

_MOST_WANTED_TEXT: Final = 64 * 1024
_UIDS: Final = {
    tags.SOP_CLASS_UID: "sop_class_uid",
    tags.SOP_INSTANCE_UID: "sop_instance_uid",
    tags.STUDY_INSTANCE_UID: "study_instance_uid",
    tags.SERIES_INSTANCE_UID: "series_instance_uid",
}
_NOTED: Final = (
    frozenset({*_UIDS, tags.SPECIFIC_CHARACTER_SET, tags.EXTENDED_OFFSET_TABLE}) | PIXEL_MODULE
)


class Contents:
    """Takes the elements of one data set in their order.

    Parameters
    ----------
    wanted : frozenset[int]
        Top-level elements of which ``attributes`` are given.
    checker : Checker or None
        Looks at each element.
    bulk_data_uri : callable or None
        Address of a bulk value from the UIDs and its path; ``None`` leaves bulk values out.

    Attributes
    ----------
    writer : MetadataWriter
        Has the DICOM JSON.
    bulk : dict[str, tuple[int, int]]
        Bulk values: path → offset and length in the data set as read.
    identifiers : Identifiers or None
        The UIDs, from ``identify`` on.
    pixels : PixelNotes
        How pixels are encoded, and where native ones are.
    fragments : Fragments
        Where encapsulated ones are.
    """

    def __init__(
        self,
        *,
        wanted: frozenset[int],
        checker: Checker | None,
        bulk_data_uri: Callable[[Identifiers, str], str] | None,
    ) -> None:
        self.writer = MetadataWriter()
        self.bulk: dict[str, tuple[int, int]] = {}
        self.identifiers: Identifiers | None = None
        self.pixels = PixelNotes()
        self.fragments = Fragments()
        self._wanted = wanted
        self._check = None if checker is None else checker.element
        self._bulk_data_uri = bulk_data_uri
        self._uids: dict[str, str] = {}
        self._wanted_texts: list[str] = []
        self._charset = DEFAULT
        self._charsets: list[CharacterSet] = []
        # where we are: sequences, and numbers of items in them
        self._path: list[int] = []
        self._depth = 0
        self._comma = ""  # before the next element of an item
        self._is_dropped = False
        self._bulk_before = 0  # bulk values before the current top-level sequence

    # Elements -----------------------------------------------------------------------------

    def value(self, tag: int, vr: Vr, raw: bytes, offset: int, encoding: Encoding) -> None:
        """Take an element with its value, which is at ``offset`` of the data set."""
        if not tag & 0xFFFF or tag == tags.DATA_SET_TRAILING_PADDING:
            return  # group lengths and padding are no part of the model
        values = string_values(raw, vr.name, self._charset) if vr.is_text else None
        if tag in _NOTED:
            self._note(tag, raw, values, encoding.order)
        check = self._check
        if check is not None and not check(tag, vr.name, values, len(raw), self._depth):
            self._is_dropped = self._depth > 0
            return
        if values is not None:
            self._write(tag, vr.name, vr.texts(values))
        elif not vr.is_bulk:
            self._write(tag, vr.name, vr.members(raw))
        elif self._is_told(vr, encoding):
            is_inline = 0 < len(raw) <= INLINE_BYTES
            members = vr.members(raw) if is_inline else self._bulk_members(tag, offset, len(raw))
            self._write(tag, vr.name, members)

    def passed_by(self, tag: int, vr: Vr, offset: int, length: int, encoding: Encoding) -> None:
        """Take an element whose value is not read."""
        if not tag & 0xFFFF or tag == tags.DATA_SET_TRAILING_PADDING:
            return
        if self._depth == 0 and tag in PIXEL_ELEMENTS:
            self.pixels.found(tag, vr.name, offset, length)
        check = self._check
        if check is not None and not check(tag, vr.name, None, length, self._depth):
            self._is_dropped = self._depth > 0
        elif self._is_told(vr, encoding):
            self._write(tag, vr.name, self._bulk_members(tag, offset, length))

    def encapsulated(self, tag: int, vr: Vr) -> bool:
        """Take the beginning of encapsulated pixel data; whether they are the instance's frames."""
        if self._depth or tag not in PIXEL_ELEMENTS or not self.pixels.found(tag, vr.name, 0, 0):
            return False
        told = self._bulk_data_uri is not None
        self._write(tag, vr.name, place_of(self._path_of(tag)) if told else "")
        return True

    def identify(self) -> Identifiers:
        """Take it that the UIDs have been read."""
        if self.identifiers is None:
            identifiers = Identifiers(**{name: self._uids.get(name) for name in _UIDS.values()})
            self.identifiers = identifiers
            uri = self._bulk_data_uri
            if uri is not None:
                self.writer.members = lambda path: bulk_json(uri(identifiers, path))
        return self.identifiers

    def attributes(self) -> dict[str, JsonElement]:
        """The wanted elements, at the end."""
        text = f"{{{','.join(self._wanted_texts)}}}"
        if self.writer.members is not None:
            text = filled(text, self.writer.members)
        found: dict[str, JsonElement] = json.loads(text)
        return found

    def _note(self, tag: int, raw: bytes, values: list[str] | None, order: str) -> None:
        if tag == tags.SPECIFIC_CHARACTER_SET:
            self._charset = character_set(raw)
        if self._depth:
            return
        if tag in _UIDS:
            if values is not None:
                self._uids[_UIDS[tag]] = "\\".join(values)
        elif tag == tags.EXTENDED_OFFSET_TABLE:
            self.fragments.extended = table(raw, "Q", order)
        else:
            self.pixels.note(tag, raw, values, order)

    def _is_told(self, vr: Vr, encoding: Encoding) -> bool:
        # of an implicit VR file nothing is known of an element that is UN
        return self._bulk_data_uri is not None and not (encoding.implicit and vr.name == "UN")

    def _bulk_members(self, tag: int, offset: int, length: int) -> str:
        if not length:
            return ""
        path = self._path_of(tag)
        self.bulk[path] = (offset, length)
        return place_of(path)

    def _path_of(self, tag: int) -> str:
        path = self._path
        steps = [f"{path[at]:08X}.{path[at + 1]}." for at in range(0, len(path), 2)]
        return f"{''.join(steps)}{tag:08X}"

    def _write(self, tag: int, vr: str, members: str) -> None:
        text = f'"{tags.key(tag)}":{{"vr":"{vr}"{members}}}'
        if self._depth:
            if not self._is_dropped:
                self.writer.add(f"{self._comma}{text}")
                self._comma = ","
            return
        self.writer.element(text)
        if tag in self._wanted:
            self._want(text)

    def _want(self, text: str) -> None:
        if len(text) <= _MOST_WANTED_TEXT:
            self._wanted_texts.append(text)

    # Sequences ----------------------------------------------------------------------------

    def open_sequence(self, tag: int) -> None:
        """A sequence begins."""
        if not self._depth:
            self._bulk_before = len(self.bulk)
        self._depth += 1
        self._path.append(tag)
        self.writer.add(f'{self._comma}"{tags.key(tag)}":{{"vr":"SQ"')

    def open_item(self, number: int) -> None:
        """An item of it begins, counted from 1."""
        self._path.append(number)
        self._charsets.append(self._charset)
        self._comma = ""
        self.writer.add(',"Value":[{' if number == 1 else ",{")

    def close_item(self) -> None:
        """It ends, and with it its own character set."""
        self._path.pop()
        self._charset = self._charsets.pop()
        self.writer.add("}")

    def close_sequence(self, *, is_empty: bool) -> None:
        """The sequence ends."""
        tag = self._path.pop()
        self._depth -= 1
        self._comma = ","
        self.writer.add("}" if is_empty else "]}")
        if not self._depth:
            self._comma = ""
            self._end_top_level(tag)

    def _end_top_level(self, tag: int) -> None:
        text = self.writer.end(keep=not self._is_dropped)
        if text is not None and tag in self._wanted:
            self._want(text)
        while self._is_dropped and len(self.bulk) > self._bulk_before:
            self.bulk.popitem()
        self._is_dropped = False


def table(raw: bytes, code: str, order: str) -> array[int]:
    """The numbers of an offset table, of array type ``code``; a remainder is left out."""
    numbers = array(code)
    numbers.frombytes(raw[: len(raw) - len(raw) % numbers.itemsize])
    if (order == "<") != (sys.byteorder == "little"):
        numbers.byteswap()
    return numbers

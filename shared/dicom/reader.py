"""Read a Part 10 file as it arrives, in pieces of any size, holding little of it.

One pass yields all that the index and later retrievals need: the UIDs, the DICOM JSON of the data
set, and where bulk data and frames are. Values over 64 KiB are passed by, whatever they are. The
structure is checked to the last byte: a file that is cut off is refused, which pydicom does not
notice.

References
----------
PS3.10 7 (file format), PS3.5 7 (data set), PS3.5 A (transfer syntaxes), PS3.18 F (JSON model).
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from typing import Final

from shared.config import Limits
from shared.dicom import tags, transfer_syntax
from shared.dicom.frames import Fragments
from shared.dicom.instance import Checker, Identifiers, InstanceFacts, JsonElement
from shared.dicom.json_model import (
    BULK_VRS,
    STRING_VRS,
    bulk_json,
    string_values,
    strings_json,
    value_json,
)
from shared.dicom.metadata_writer import MetadataWriter
from shared.dicom.pixel_notes import PIXEL_ELEMENTS, PixelNotes
from shared.dicom.text import DEFAULT, CharacterSet, character_set
from shared.errors import NotDicom

KEPT_BYTES: Final = 64 * 1024
"""Largest value that is held in memory; larger ones are read past."""

INLINE_BYTES: Final = 1024
"""Largest value of a bulk VR (OB, OW, UN, …) that stands in the metadata itself."""

_MOST_WANTED_TEXT: Final = 64 * 1024
_MOST_TABLE_BYTES: Final = 64 * 1024 * 1024
_MOST_META_BYTES: Final = 1024 * 1024
_INFLATED_AT_ONCE: Final = 1024 * 1024
_LONG_VRS: Final = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)
_SHORT_VRS: Final = frozenset(
    {"AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL",
     "SS", "ST", "TM", "UI", "UL", "US"}
)  # fmt: skip
_EXPLICIT: Final = {vr.encode(): (vr, vr in _LONG_VRS) for vr in _LONG_VRS | _SHORT_VRS}
_AMBIGUOUS: Final = {
    "US or SS": ("US", "SS"),
    "OB or OW": ("OW", "OW"),
    "US or OW": ("OW", "OW"),
    "US or SS or OW": ("OW", "OW"),
}
_OFFSET_TABLES: Final = frozenset({tags.EXTENDED_OFFSET_TABLE, tags.EXTENDED_OFFSET_TABLE_LENGTHS})
_UIDS: Final = {
    tags.SOP_CLASS_UID: "sop_class_uid",
    tags.SOP_INSTANCE_UID: "sop_instance_uid",
    tags.STUDY_INSTANCE_UID: "study_instance_uid",
    tags.SERIES_INSTANCE_UID: "series_instance_uid",
}
_HEADER: Final = 8
_NEED_MORE: Final = -1


class _Level:
    """A sequence, or an item of one, that is open.

    ``end`` is the offset behind it, or -1 if a delimiter ends it. ``number`` counts the items of
    a sequence, and is that of an item in its sequence.
    """

    __slots__ = ("charset", "end", "implicit", "is_empty", "is_item", "number", "tag")

    def __init__(
        self, tag: int, end: int, *, is_item: bool, implicit: bool, charset: CharacterSet
    ) -> None:
        self.tag = tag
        self.end = end
        self.is_item = is_item
        self.implicit = implicit  # of what is around it
        self.charset = charset  # of what is around it
        self.number = 0
        self.is_empty = True


class InstanceReader:
    """Push parser of one Part 10 file.

    Parameters
    ----------
    limits : Limits
        Bytes before pixel data, nesting and number of elements, size.
    wanted : frozenset[int]
        Top-level elements to be given as ``InstanceFacts.attributes``.
    checker : Checker or None
        Looks at each element as it is read.
    bulk_data_uri : callable or None
        Address of a bulk value from the UIDs and its path; ``None`` leaves bulk values out.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        wanted: frozenset[int],
        checker: Checker | None,
        bulk_data_uri: Callable[[Identifiers, str], str] | None,
    ) -> None:
        self._limits = limits
        self._wanted = wanted
        self._checker = checker
        self._bulk_data_uri = bulk_data_uri
        self._buffer = bytearray()
        self._at = 0  # offset of the buffer's first byte
        self._needed = 0
        self._skip = 0  # bytes of a value still to be passed by
        self._state: Callable[[], bool] = self._preamble
        self._size = 0
        self._inflater: zlib._Decompress | None = None
        self._syntax = ""
        self._order = "<"
        self._implicit = False
        self._charset = DEFAULT
        self._levels: list[_Level] = []
        self._depth = 0
        self._elements = 0
        self._header_bytes = 0
        self._drop = False
        self._last_tag = 0
        self._uids: dict[str, str] = {}
        self._identifiers: Identifiers | None = None
        self._writer = MetadataWriter()
        self._attributes: dict[str, JsonElement] = {}
        self._bulk: dict[str, tuple[int, int]] = {}
        self._pixels = PixelNotes()
        self._fragments = Fragments()
        self._fragment_state: tuple[int, int, bytes] | None = None

    # What the caller sees -----------------------------------------------------------------

    @property
    def identifiers(self) -> Identifiers | None:
        """The UIDs, as soon as the data set has passed (0020,000E), or ended."""
        return self._identifiers

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file.

        Raises
        ------
        NotDicom
            They cannot be part of a DICOM file, or break a limit.
        """
        self._size += len(chunk)
        if self._inflater is None:
            self._read(chunk)
        else:
            self._inflate(chunk)

    def finish(self) -> InstanceFacts:
        """The facts, after the last byte.

        Raises
        ------
        NotDicom
            The file is not complete.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise NotDicom("The deflated data set is cut off.")
        self._close_levels_that_end_here()
        self._require_complete()
        identifiers = self._identify()
        return InstanceFacts(
            identifiers=identifiers,
            transfer_syntax_uid=self._syntax,
            attributes=self._attributes,
            metadata=self._writer.finish(),
            bulk=self._bulk,
            frames=self._pixels.frames(self._syntax, self._fragments),
            size=self._size,
        )

    def _require_complete(self) -> None:
        if self._state in (self._preamble, self._meta):
            raise NotDicom("The file ends before its data set begins.")
        if self._skip or self._state == self._fragment_items:
            raise NotDicom(f"The file ends within {tags.text(self._last_tag)}.")
        if any(self._buffer):
            raise NotDicom(f"The file ends within the element at offset {self._at}.")
        if self._levels:
            raise NotDicom(f"The sequence {tags.text(self._levels[0].tag)} is not closed.")

    # Bytes --------------------------------------------------------------------------------

    def _inflate(self, chunk: bytes) -> None:
        inflater = self._inflater
        if inflater is None:
            return
        try:
            while chunk and not inflater.eof:
                data = inflater.decompress(chunk, _INFLATED_AT_ONCE)
                chunk = inflater.unconsumed_tail
                if self._at + len(data) > self._limits.instance_bytes:
                    raise NotDicom("The inflated data set is larger than an instance may be.")
                self._read(data)
        except zlib.error:
            raise NotDicom("The deflated data set cannot be inflated.") from None

    def _read(self, chunk: bytes) -> None:
        if self._skip and not self._buffer:
            passed = min(self._skip, len(chunk))
            self._pass_by(chunk, passed)
            if passed == len(chunk):
                return
            chunk = chunk[passed:] if passed else chunk
        self._buffer += chunk
        if len(self._buffer) < self._needed:
            return
        self._needed = 0
        while self._pass_by_buffered() and self._state():
            pass

    def _pass_by(self, data: bytes | bytearray, count: int) -> None:
        if self._fragment_state is not None and count:
            offset, length, tail = self._fragment_state
            self._fragment_state = offset, length, (tail + data[max(0, count - 16) : count])[-18:]
        self._skip -= count
        self._at += count

    def _pass_by_buffered(self) -> bool:
        """Pass by the rest of a value as far as it is there; whether all of it was."""
        if self._skip:
            passed = min(self._skip, len(self._buffer))
            self._pass_by(self._buffer, passed)
            del self._buffer[:passed]
        return not self._skip

    def _consume(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._at += count
        return data

    def _wait_for(self, count: int) -> bool:
        """Whether ``count`` bytes are there; if not, ``feed`` waits for them."""
        if len(self._buffer) >= count:
            return True
        self._needed = count
        return False

    # Preamble and file meta information (PS3.10 7.1) --------------------------------------

    def _preamble(self) -> bool:
        if not self._wait_for(132):
            return False
        if self._consume(132)[128:] != b"DICM":
            raise NotDicom("There is no DICM prefix behind a preamble of 128 bytes.")
        self._state = self._meta
        return True

    def _meta(self) -> bool:
        if not self._wait_for(_HEADER):
            return False
        group, element = struct.unpack_from("<HH", self._buffer)
        if group != 2:
            self._begin_data_set()
            return True
        known = _EXPLICIT.get(bytes(self._buffer[4:6]))
        if known is None:
            raise NotDicom(f"The file meta information is malformed at offset {self._at}.")
        header = 12 if known[1] else _HEADER
        if not self._wait_for(header):
            return False
        length = struct.unpack_from(
            *(("<I", self._buffer, 8) if known[1] else ("<H", self._buffer, 6))
        )[0]
        if self._at + header + length > _MOST_META_BYTES:
            raise NotDicom("The file meta information is too long.")
        if not self._wait_for(header + length):
            return False
        value = self._consume(header + length)[header:]
        if group << 16 | element == tags.TRANSFER_SYNTAX_UID:
            self._syntax = value.decode("latin_1").rstrip("\0 ")
        return True

    def _begin_data_set(self) -> None:
        if not self._syntax or not all(letter in "0123456789." for letter in self._syntax):
            raise NotDicom("The transfer syntax UID (0002,0010) is missing or malformed.")
        self._implicit = transfer_syntax.is_implicit(self._syntax)
        self._order = ">" if transfer_syntax.is_big_endian(self._syntax) else "<"
        self._two = struct.Struct(self._order + "HH")
        self._long = struct.Struct(self._order + "I")
        self._short = struct.Struct(self._order + "H")
        self._state = self._data_set
        if transfer_syntax.is_deflated(self._syntax):
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            compressed, self._at = bytes(self._buffer), 0
            self._buffer.clear()
            self._inflate(compressed)

    # Data set (PS3.5 7) -------------------------------------------------------------------

    def _data_set(self) -> bool:
        """Read elements as long as they are there. ``True`` if something else is to be done."""
        position = 0
        start = self._at
        while not self._skip and self._state == self._data_set:
            after = self._step(position)
            if after < 0:
                break
            position = after
            self._at = start + position
        else:
            del self._buffer[:position]
            return True
        del self._buffer[:position]
        return False

    def _more(self, position: int, count: int) -> int:
        """Ask for ``count`` bytes from ``position`` on."""
        self._needed = count
        return _NEED_MORE

    def _step(self, position: int) -> int:
        """Read one element, item or delimiter; the position behind it, or ``_NEED_MORE``."""
        if self._levels and self._levels[-1].end == self._at:
            self._close_level()
            return position
        buffer = self._buffer
        available = len(buffer) - position
        if available < _HEADER:
            return self._more(position, _HEADER)
        group, element = self._two.unpack_from(buffer, position)
        if group == 0xFFFE:
            return self._delimiter(position, element)
        tag = group << 16 | element
        if group in (0, 2) and not self._levels:
            return self._outside_data_set(position, tag)
        if self._implicit:
            vr, header = self._implicit_vr(tag), _HEADER
            length = self._long.unpack_from(buffer, position + 4)[0]
        else:
            vr, is_long = self._explicit_vr(position)
            header = 12 if is_long else _HEADER
            if available < header:
                return self._more(position, header)
            length = (
                self._long.unpack_from(buffer, position + 8)
                if is_long
                else self._short.unpack_from(buffer, position + 6)
            )[0]
        return self._element(tag, vr, length, position, header)

    def _outside_data_set(self, position: int, tag: int) -> int:
        """Zeros may follow the data set as padding; its groups 0000 and 0002 hold nothing else."""
        if tag != 0:
            raise NotDicom(f"The data set has {tags.text(tag)}, which belongs to no data set.")
        self._state = self._padding
        return position

    def _padding(self) -> bool:
        if any(self._buffer):
            raise NotDicom("The data set is followed by bytes that are no padding.")
        self._consume(len(self._buffer))
        return False

    def _explicit_vr(self, position: int) -> tuple[str, bool]:
        code = bytes(self._buffer[position + 4 : position + 6])
        known = _EXPLICIT.get(code)
        if known is not None:
            return known
        if code.isalpha() and code.isupper():
            return "UN", True  # a VR of the future has a long header (PS3.5 6.2)
        raise NotDicom(f"The element at offset {self._at} has no valid VR.")

    def _implicit_vr(self, tag: int) -> str:
        known = tags.entry(tag)
        if known is None:
            return "LO" if tags.is_private_creator(tag) else "UN"
        if known.vr in _AMBIGUOUS:
            return _AMBIGUOUS[known.vr][self._pixels.is_signed]
        return known.vr

    def _element(self, tag: int, vr: str, length: int, position: int, header: int) -> int:
        levels = self._levels
        if levels and not levels[-1].is_item:
            raise NotDicom(f"A sequence has something else than items at offset {self._at}.")
        is_nested = length == tags.UNDEFINED_LENGTH or vr == "SQ"
        total = header + length
        is_passed_by = not is_nested and self._is_passed_by(tag, length)
        if not (is_nested or is_passed_by) and len(self._buffer) - position < total:
            return self._more(position, total)
        self._note_element(tag, header)
        if is_nested:
            self._open(tag, vr, length, header)
            return position + header
        end = self._at + header + length
        if levels and 0 <= levels[-1].end < end:
            raise NotDicom(f"{tags.text(tag)} at offset {self._at} is longer than its item.")
        if is_passed_by:
            self._bulk_value(tag, vr, self._at + header, length)
            self._skip = length
            return position + header
        self._count_header(length)
        self._value(tag, vr, bytes(self._buffer[position + header : position + total]))
        return position + total

    def _note_element(self, tag: int, header: int) -> None:
        if not self._levels:
            if tag <= self._last_tag and self._last_tag:
                raise NotDicom(f"{tags.text(tag)} at offset {self._at} is out of order.")
            self._last_tag = tag
            if tag > tags.SERIES_INSTANCE_UID and self._identifiers is None:
                self._identify()
        self._elements += 1
        if self._elements > self._limits.elements:
            raise NotDicom(f"The data set has more than {self._limits.elements} elements.")
        self._count_header(header)

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > self._limits.header_bytes:
            raise NotDicom(
                f"The data set has more than {self._limits.header_bytes} bytes beside bulk data."
            )

    def _is_passed_by(self, tag: int, length: int) -> bool:
        if tag in PIXEL_ELEMENTS and not self._levels:
            return True
        if tag in _OFFSET_TABLES and not self._levels:
            return length > _MOST_TABLE_BYTES
        return length > KEPT_BYTES

    def _identify(self) -> Identifiers:
        if self._identifiers is None:
            self._identifiers = Identifiers(
                **{name: self._uids.get(name) for name in _UIDS.values()}
            )
        return self._identifiers

    # Values -------------------------------------------------------------------------------

    def _value(self, tag: int, vr: str, raw: bytes) -> None:
        if tag & 0xFFFF == 0 or tag == tags.DATA_SET_TRAILING_PADDING:
            return  # group lengths and padding are no part of the model
        values: list[str] | None = None
        if vr in STRING_VRS:
            if tag == tags.SPECIFIC_CHARACTER_SET:
                self._charset = character_set(raw)
            values = string_values(raw, vr, self._charset)
        if not self._levels:
            self._note_value(tag, raw, values)
        if self._checker is not None and not self._checker.element(
            tag, vr, values, len(raw), self._depth
        ):
            self._drop = True
        members = self._members(tag, vr, raw, values)
        if members is not None:
            self._write(tag, f'"{tag:08X}":{{"vr":"{vr}"{members}}}')
        if not self._levels:
            self._end_top_level(tag)

    def _members(self, tag: int, vr: str, raw: bytes, values: list[str] | None) -> str | None:
        if values is not None:
            return strings_json(values, vr)
        if vr not in BULK_VRS:
            return value_json(raw, vr, self._order)
        if self._bulk_data_uri is None or (vr == "UN" and self._implicit):
            return None  # of an implicit VR file nothing is known of such an element
        if not raw:
            return ""
        if len(raw) <= INLINE_BYTES:
            return value_json(raw, vr, self._order)
        return self._bulk_members(tag, self._at + self._header_of(vr), len(raw))

    def _header_of(self, vr: str) -> int:
        return 12 if not self._implicit and vr in _LONG_VRS else _HEADER

    def _note_value(self, tag: int, raw: bytes, values: list[str] | None) -> None:
        name = _UIDS.get(tag)
        if name is not None and values is not None:
            self._uids[name] = "\\".join(values)
        elif tag in _OFFSET_TABLES:
            if tag == tags.EXTENDED_OFFSET_TABLE:
                whole = len(raw) // 8
                self._fragments.extended.extend(
                    struct.unpack(f"{self._order}{whole}Q", raw[: whole * 8])
                )
        elif tag >> 16 == 0x0028:
            self._pixels.note(tag, raw, values, self._order)

    def _bulk_value(self, tag: int, vr: str, offset: int, length: int) -> None:
        """Note a value that is passed by."""
        if tag in PIXEL_ELEMENTS and not self._levels:
            self._pixels.found(tag, vr, offset, length)
        if self._checker is not None and not self._checker.element(
            tag, vr, None, length, self._depth
        ):
            self._drop = True
        if self._bulk_data_uri is not None and not (vr == "UN" and self._implicit):
            members = self._bulk_members(tag, offset, length) if length else ""
            self._write(tag, f'"{tag:08X}":{{"vr":"{vr}"{members}}}')
        if not self._levels:
            self._end_top_level(tag)

    def _bulk_members(self, tag: int, offset: int, length: int) -> str:
        path = self._path(tag)
        self._bulk[path] = (offset, length)
        return self._uri_members(path)

    def _uri_members(self, path: str) -> str:
        if self._bulk_data_uri is None:
            return ""
        return bulk_json(self._bulk_data_uri(self._identify(), path))

    def _path(self, tag: int) -> str:
        steps = [
            str(level.number) if level.is_item else f"{level.tag:08X}" for level in self._levels
        ]
        return ".".join([*steps, f"{tag:08X}"])

    def _write(self, tag: int, text: str) -> None:
        if self._levels:
            level = self._levels[-1]
            if not level.is_empty:
                self._writer.add(",")
            level.is_empty = False
        self._writer.add(text)

    def _end_top_level(self, tag: int) -> None:
        text = self._writer.end(keep=not self._drop)
        self._drop = False
        if text and tag in self._wanted and len(text) <= _MOST_WANTED_TEXT:
            self._attributes.update(json.loads(f"{{{text}}}"))

    # Sequences, items, fragments ----------------------------------------------------------

    def _open(self, tag: int, vr: str, length: int, header: int) -> None:
        start = self._at + header
        if length == tags.UNDEFINED_LENGTH and vr in ("OB", "OW"):
            self._open_fragments(tag, vr)
            return
        if vr not in ("SQ", "UN"):
            raise NotDicom(f"{tags.text(tag)} of VR {vr} has no length.")
        if self._depth >= self._limits.nesting:
            raise NotDicom(f"Sequences are nested more than {self._limits.nesting} deep.")
        end = -1 if length == tags.UNDEFINED_LENGTH else start + length
        if self._levels and 0 <= self._levels[-1].end < end:
            raise NotDicom(f"{tags.text(tag)} at offset {self._at} is longer than its item.")
        self._write(tag, f'"{tag:08X}":{{"vr":"SQ"')
        level = _Level(tag, end, is_item=False, implicit=self._implicit, charset=self._charset)
        self._levels.append(level)
        self._depth += 1
        if vr == "UN":
            self._implicit = True  # PS3.5 6.2.2

    def _delimiter(self, position: int, element: int) -> int:
        length = self._long.unpack_from(self._buffer, position + 4)[0]
        level = self._levels[-1] if self._levels else None
        self._count_header(_HEADER)
        if element == 0xE000 and level is not None and not level.is_item:
            self._open_item(level, length)
        elif (element == 0xE00D and level is not None and level.is_item and level.end < 0) or (
            element == 0xE0DD and level is not None and not level.is_item and level.end < 0
        ):
            self._close_level()
        else:
            raise NotDicom(f"There is an item or delimiter out of place at offset {self._at}.")
        return position + _HEADER

    def _open_item(self, level: _Level, length: int) -> None:
        end = -1
        if length != tags.UNDEFINED_LENGTH:
            end = self._at + _HEADER + length
            if 0 <= level.end < end:
                raise NotDicom(f"The item at offset {self._at} is longer than its sequence.")
        self._elements += 1
        if self._elements > self._limits.elements:
            raise NotDicom(f"The data set has more than {self._limits.elements} elements.")
        self._writer.add(',"Value":[{' if level.is_empty else ",{")
        level.is_empty = False
        level.number += 1
        item = _Level(level.tag, end, is_item=True, implicit=self._implicit, charset=self._charset)
        item.number = level.number
        self._levels.append(item)

    def _close_level(self) -> None:
        level = self._levels.pop()
        self._implicit, self._charset = level.implicit, level.charset
        if level.is_item:
            self._writer.add("}")
            return
        self._depth -= 1
        self._writer.add("}" if level.is_empty else "]}")
        if not self._levels:
            self._end_top_level(level.tag)

    def _close_levels_that_end_here(self) -> None:
        while self._levels and self._levels[-1].end == self._at and not self._skip:
            self._close_level()

    def _open_fragments(self, tag: int, vr: str) -> None:
        """Begin encapsulated pixel data (PS3.5 A.4)."""
        self._is_top_level_pixels = tag in PIXEL_ELEMENTS and not self._levels
        self._has_table = False
        if self._is_top_level_pixels:
            self._pixels.found(tag, vr, 0, 0)
            self._write(tag, f'"{tag:08X}":{{"vr":"{vr}"{self._uri_members(self._path(tag))}}}')
        if not self._levels:
            self._end_top_level(tag)
        self._state = self._fragment_items

    def _fragment_items(self) -> bool:
        if self._fragment_state is not None:
            offset, length, ends = self._fragment_state
            self._fragment_state = None
            if self._is_top_level_pixels:
                self._fragments.add(offset, length, ends[:2], ends[2:] if length > 2 else ends)
        if not self._wait_for(_HEADER):
            return False
        group, element = self._two.unpack_from(self._buffer)
        length = self._long.unpack_from(self._buffer, 4)[0]
        if group << 16 | element == tags.SEQUENCE_DELIMITATION:
            self._consume(_HEADER)
            self._state = self._data_set
            return True
        if group << 16 | element != tags.ITEM or length == tags.UNDEFINED_LENGTH:
            raise NotDicom(f"Pixel data has something else than fragments at offset {self._at}.")
        if not self._has_table:
            return self._basic_table(length)
        # the first two bytes tell whether an image begins: wait for them
        if not self._wait_for(_HEADER + min(length, 2)):
            return False
        self._consume(_HEADER)
        self._fragment_state = self._at, length, bytes(self._buffer[: min(length, 2)])
        self._skip = length
        return True

    def _basic_table(self, length: int) -> bool:
        if length > _MOST_TABLE_BYTES:
            raise NotDicom("The basic offset table is too long.")
        if not self._wait_for(_HEADER + length):
            return False
        raw = self._consume(_HEADER + length)[_HEADER:]
        self._has_table = True
        if self._is_top_level_pixels:
            whole = len(raw) // 4
            self._fragments.basic.extend(struct.unpack(f"{self._order}{whole}I", raw[: whole * 4]))
            self._fragments.origin = self._at
        return True

"""The grammar of a data set: elements, sequences, items, fragments (PS3.5 7, A.4).

Checked to the last byte: a data set that is cut off is refused, which pydicom does not notice.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from shared.config import Limits
from shared.dicom import tags
from shared.dicom.contents import Contents, table
from shared.dicom.pixel_notes import PIXEL_ELEMENTS
from shared.dicom.vr import IMPLICIT_LE, STRUCTURE, UNKNOWN_SEQUENCE, Encoding, Vr
from shared.errors import NotDicom

KEPT_BYTES: Final = 64 * 1024
"""Largest value that is held in memory; larger ones are read past."""

_MOST_TABLE_BYTES: Final = 16 * 1024 * 1024
_MOST_ITEM_ELEMENTS: Final = 10_000
_TABLES: Final = frozenset({tags.EXTENDED_OFFSET_TABLE, tags.EXTENDED_OFFSET_TABLE_LENGTHS})
_PIXEL_GROUP: Final = tags.EXTENDED_OFFSET_TABLE
_HEADER: Final = 8
_TAIL: Final = 16  # bytes at the end of a fragment in which the end of an image is looked for
_FOREVER: Final = sys.maxsize
_BEFORE: Final = 0x0000FFFF  # group 0000 belongs to no data set


class _Level:
    """A sequence, or an item of one, that is open.

    Parameters
    ----------
    end : int
        Offset behind it, or -1 if a delimiter ends it.
    bound : int
        Offset that nothing in it reaches beyond.
    encoding : Encoding
        Of what is around it.
    is_item : bool
        An item, not a sequence.

    Attributes
    ----------
    items : int
        Number of items so far.
    tags : set of int or None
        Elements of an item so far; ``None`` for a sequence.
    """

    __slots__ = ("bound", "encoding", "end", "is_item", "items", "tags")

    def __init__(self, end: int, bound: int, encoding: Encoding, *, is_item: bool) -> None:
        self.end = end
        self.bound = bound
        self.encoding = encoding
        self.is_item = is_item
        self.items = 0
        self.tags: set[int] | None = set() if is_item else None


class DataSetReader:
    """Push parser of one data set.

    Parameters
    ----------
    contents : Contents
        Takes what is read.
    limits : Limits
        Bytes before pixel data, nesting, number of elements.
    encoding : Encoding
        Of the data set.
    offset : int
        Of its first byte, from which ``contents`` are told where values are.
    """

    def __init__(self, contents: Contents, limits: Limits, encoding: Encoding, offset: int) -> None:
        self._contents = contents
        self._most = limits.elements
        self._room = limits.header_bytes
        self._most_levels = 2 * limits.nesting
        self._encoding = encoding
        self._buffer = bytearray()
        self._base = offset  # of the first byte that is in the buffer, or being read
        self._needed = 0  # bytes without which reading cannot go on
        self._skip = 0  # bytes of a value still to be passed by
        self._state: Callable[[bytes, int], int] = self._elements
        self._levels: list[_Level] = []
        self._end = -1  # of the innermost level
        self._bound = _FOREVER
        self._tags: set[int] | None = None  # of the innermost level, if it is an item
        self._last_tag = _BEFORE
        self._count = 0
        self._header_bytes = 0
        self._fragment: tuple[int, int, bytes] | None = None
        self._tail = b""
        self._are_frames = False
        self._has_table = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises
        ------
        NotDicom
            They cannot be part of a data set, or break a limit.
        """
        if self._buffer:
            self._buffer += chunk
            if len(self._buffer) < self._needed:
                return
            chunk = bytes(self._buffer)
            self._buffer.clear()
        position = 0
        self._needed = 0
        while not self._needed:
            position = (self._pass_by if self._skip else self._state)(chunk, position)
        self._base += position
        self._buffer += chunk[position:] if position else chunk

    def finish(self) -> None:
        """Take it that there are no more bytes.

        Raises
        ------
        NotDicom
            The data set is not complete.
        """
        if not self._skip:
            while self._levels and self._end == self._base:
                self._close()
        if self._skip or self._state == self._fragments:
            raise NotDicom(f"The file ends within {tags.text(self._last_tag)}.")
        if any(self._buffer):
            raise NotDicom(f"The file ends within the element at offset {self._base}.")
        if self._levels:
            raise NotDicom(f"The sequence {tags.text(self._last_tag)} is not closed.")

    def _wait(self, position: int, count: int) -> int:
        """Stop until ``count`` bytes are there from ``position`` on."""
        self._needed = count
        return position

    def _pass_by(self, data: bytes, position: int) -> int:
        stop = min(position + self._skip, len(data))
        self._skip -= stop - position
        if self._fragment is not None:
            self._tail = (self._tail + data[max(position, stop - _TAIL) : stop])[-_TAIL:]
        return self._wait(stop, 1) if self._skip else stop

    # Elements -----------------------------------------------------------------------------

    def _elements(self, data: bytes, position: int) -> int:
        """Read elements as long as they are there, and values; the position behind them."""
        size, base = len(data), self._base
        contents = self._contents
        value, pixels = contents.value, contents.pixels
        while True:
            if base + position == self._end:
                self._close()
                continue
            if size - position < _HEADER:
                return self._wait(position, _HEADER)
            encoding = self._encoding
            tag, vr, length, start = encoding.head(data, position, pixels)
            if length > KEPT_BYTES or not vr.is_plain or tag >= _PIXEL_GROUP:
                return self._special(data, position, (tag, vr, length, start))
            stop = start + length
            if stop > size:
                return self._wait(position, stop - position)
            self._begins(tag, stop - position, base + stop)
            value(tag, vr, data[start:stop], base + start, encoding)
            position = stop

    def _special(self, data: bytes, position: int, head: tuple[int, Vr, int, int]) -> int:
        """Read what is no short value: structure, sequences, pixel data, tables, long values."""
        tag, vr, length, start = head
        if vr is STRUCTURE:
            return self._structure(tag, length, position)
        if start > len(data):
            return self._wait(position, start - position)
        if length == tags.UNDEFINED_LENGTH or not vr.is_plain:
            return self._open(position, tag, vr, length, start)
        base, stop = self._base, start + length
        if length > self._most_kept(tag):
            self._begins(tag, start - position, base + stop)
            self._skip = length
            self._contents.passed_by(tag, vr, base + start, length, self._encoding)
            return start
        if stop > len(data):
            self._require_room(length)
            return self._wait(position, stop - position)
        self._begins(tag, stop - position, base + stop)
        self._contents.value(tag, vr, data[start:stop], base + start, self._encoding)
        return stop

    def _most_kept(self, tag: int) -> int:
        if self._levels:
            return KEPT_BYTES
        if tag in PIXEL_ELEMENTS:
            return -1
        return _MOST_TABLE_BYTES if tag in _TABLES else KEPT_BYTES

    def _begins(self, tag: int, size: int, stop: int) -> None:
        """Account for an element of ``size`` bytes, less those passed by, that ends at ``stop``."""
        self._count += 1
        self._header_bytes += size
        if stop > self._bound or self._count > self._most or self._header_bytes > self._room:
            raise self._too_much(stop)
        known = self._tags
        if known is not None:
            if tag in known or len(known) >= _MOST_ITEM_ELEMENTS:
                raise self._out_of_place(tag)
            known.add(tag)
            return
        if tag <= self._last_tag or self._levels:
            raise self._out_of_place(tag)
        self._last_tag = tag
        if tag > tags.SERIES_INSTANCE_UID and self._contents.identifiers is None:
            self._contents.identify()

    def _out_of_place(self, tag: int) -> NotDicom:
        shown = tags.text(tag)
        if self._tags is not None:
            return NotDicom(f"An item has {shown} twice, or too many elements.")
        if self._levels:
            return NotDicom(f"A sequence has {shown}, which is no item.")
        if tag <= _BEFORE:
            return NotDicom(f"The data set has {shown}, which belongs to no data set.")
        return NotDicom(f"{shown} is out of order: it follows {tags.text(self._last_tag)}.")

    def _account(self, size: int, stop: int) -> None:
        """Account for what is no element: an item, a delimiter, a fragment."""
        self._count += 1
        self._header_bytes += size
        if stop > self._bound or self._count > self._most or self._header_bytes > self._room:
            raise self._too_much(stop)

    def _require_room(self, size: int) -> None:
        if self._header_bytes + size > self._room:
            raise self._too_much(0)

    def _too_much(self, stop: int) -> NotDicom:
        if stop > self._bound:
            return NotDicom(f"There is more than fits before the item's end at {self._bound}.")
        if self._count > self._most:
            return NotDicom(f"The data set has more than {self._most} elements.")
        return NotDicom(f"The data set has more than {self._room} bytes beside bulk data.")

    def _padding(self, data: bytes, position: int) -> int:
        """Zeros may follow the data set."""
        if data[position:].strip(b"\0"):
            raise NotDicom("The data set is followed by bytes that are no padding.")
        return self._wait(len(data), 1)

    # Sequences and items (PS3.5 7.5) ------------------------------------------------------

    def _open(self, position: int, tag: int, vr: Vr, length: int, start: int) -> int:
        """Begin what has parts; the position of the first."""
        at = self._base + start
        if length == tags.UNDEFINED_LENGTH and vr.name in ("OB", "OW"):
            self._begins(tag, start - position, at)
            self._are_frames = self._contents.encapsulated(tag, vr)
            self._has_table = False
            self._state = self._fragments
            return start
        if vr.name not in ("SQ", "UN"):
            raise NotDicom(f"{tags.text(tag)} of VR {vr.name} has no length.")
        if len(self._levels) >= self._most_levels:
            raise NotDicom(f"Sequences are nested more than {self._most_levels // 2} deep.")
        end = -1 if length == tags.UNDEFINED_LENGTH else at + length
        self._begins(tag, start - position, max(at, end))
        self._contents.open_sequence(tag)
        self._push(end, is_item=False)
        if vr.name == "UN" or vr is UNKNOWN_SEQUENCE:
            self._encoding = IMPLICIT_LE  # PS3.5 6.2.2
        return start

    def _structure(self, tag: int, length: int, position: int) -> int:
        """Read the beginning or the end of an item, or the end of a sequence."""
        start = position + _HEADER
        level = self._levels[-1] if self._levels else None
        if level is None:
            if tag != 0:
                raise NotDicom(f"There is an item or delimiter without sequence at {self._base}.")
            self._state = self._padding
            return position
        self._account(_HEADER, self._base + start)
        if tag == tags.ITEM and not level.is_item:
            self._open_item(level, length, self._base + start)
        elif level.end < 0 and tag == (
            tags.ITEM_DELIMITATION if level.is_item else tags.SEQUENCE_DELIMITATION
        ):
            self._close()
        else:
            raise NotDicom(f"There is {tags.text(tag)} out of place.")
        return start

    def _open_item(self, sequence: _Level, length: int, start: int) -> None:
        end = -1 if length == tags.UNDEFINED_LENGTH else start + length
        if end > self._bound:
            raise NotDicom(f"The item at offset {start - _HEADER} is longer than its sequence.")
        sequence.items += 1
        self._contents.open_item(sequence.items)
        self._push(end, is_item=True)

    def _push(self, end: int, *, is_item: bool) -> None:
        bound = self._bound if end < 0 else end
        level = _Level(end, bound, self._encoding, is_item=is_item)
        self._levels.append(level)
        self._end, self._bound, self._tags = end, bound, level.tags

    def _close(self) -> None:
        level = self._levels.pop()
        self._encoding = level.encoding
        if level.is_item:
            self._contents.close_item()
        else:
            self._contents.close_sequence(is_empty=not level.items)
        if self._levels:
            around = self._levels[-1]
            self._end, self._bound, self._tags = around.end, around.bound, around.tags
        else:
            self._end, self._bound, self._tags = -1, _FOREVER, None

    # Encapsulated pixel data (PS3.5 A.4) --------------------------------------------------

    def _fragments(self, data: bytes, position: int) -> int:
        if self._fragment is not None:
            offset, size, beginning = self._fragment
            self._contents.fragments.add(offset, size, beginning, self._tail)
            self._fragment = None
        if len(data) - position < _HEADER:
            return self._wait(position, _HEADER)
        tag, _, length, start = self._encoding.head(data, position, self._contents.pixels)
        if tag == tags.SEQUENCE_DELIMITATION:
            self._state = self._elements
            return start
        if tag != tags.ITEM or length == tags.UNDEFINED_LENGTH:
            raise NotDicom(f"Pixel data has {tags.text(tag)}, which is no fragment.")
        if not self._has_table:
            return self._basic_table(data, position, start, length)
        told = start + min(length, 2)  # the first bytes tell whether an image begins
        if told > len(data):
            return self._wait(position, told - position)
        self._account(_HEADER, self._base + start + length)
        if self._are_frames:
            self._fragment = self._base + start, length, data[start:told]
            self._tail = b""
        self._skip = length
        return start

    def _basic_table(self, data: bytes, position: int, start: int, length: int) -> int:
        stop = start + length
        if length > _MOST_TABLE_BYTES:
            raise NotDicom("The basic offset table is too long.")
        if stop > len(data):
            self._require_room(length)
            return self._wait(position, stop - position)
        self._account(stop - position, self._base + stop)
        self._has_table = True
        if self._are_frames:
            fragments = self._contents.fragments
            fragments.basic = table(data[start:stop], "I", self._encoding.order)
            fragments.origin = self._base + stop
        return stop

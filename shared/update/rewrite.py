"""Write a stored file anew with other values of some attributes, as a stream.

Only the file meta information and the elements that change are written; every other byte is
passed on as it is, pixel data among them. In memory is one element at a time, and of a large one
a piece. A deflated data set is inflated and deflated again: its elements stay byte by byte the
same.

References
----------
PS3.5 6.1 (text), 7.1 (order of elements), 7.2 (group lengths), A.5 (deflate); PS3.10 7.1.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

from shared.dicom import tags, transfer_syntax
from shared.dicom.recode import (
    HEADER_BYTES,
    Head,
    Incomplete,
    Signedness,
    head_of,
    header,
    is_group_length,
    recoded,
)
from shared.dicom.text import UnfitText, character_set, encode
from shared.dicom.vr import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Encoding
from shared.errors import CorruptData
from shared.ports import ByteSpan, SameBytes
from shared.retrieve.content import inflating
from shared.retrieve.convert import file_meta, meta_anew
from shared.retrieve.window import Window
from shared.update.changes import Change

_AT_ONCE: Final = 1024 * 1024
_MOST_ELEMENT: Final = 64 * 1024 * 1024
_UTF_8: Final = b"ISO_IR 192"
_UNSIGNED: Final = Signedness(is_signed=False)


async def rewritten(
    content: AsyncIterator[bytes],
    changes: Mapping[int, Change],
    *,
    to_utf_8: bool = False,
    same: SameBytes | None = None,
) -> AsyncGenerator[bytes, None]:
    """A file with other values of some top-level attributes.

    Parameters
    ----------
    content : AsyncIterator[bytes]
        The file.
    changes : Mapping[int, Change]
        By tag, all of them above group 0002 and below the pixel data.
    to_utf_8 : bool
        The data set, all ASCII so far, says from now on that its text is UTF-8.
    same : SameBytes, optional
        Is told from where on the new file is as the old one: not at all of a deflated one.

    Raises
    ------
    UnfitText
        A value cannot be written in the character set of the data set. Raised before the first
        byte of the data set is given.
    CorruptData
        The file is malformed.
    """
    file = Window(content)
    meta, stored, start = await file_meta(file)
    new_meta = meta_anew(meta, stored)
    yield new_meta
    encoding = EXPLICIT_LE
    if transfer_syntax.is_big_endian(stored):
        encoding = EXPLICIT_BE
    elif transfer_syntax.is_implicit(stored):
        encoding = IMPLICIT_LE
    deflated = transfer_syntax.is_deflated(stored)
    file.forget(start)
    window = Window(inflating(file.rest())) if deflated else file
    rewriting = _Rewriting(window, 0 if deflated else start, encoding, changes, to_utf_8)
    pieces = rewriting.pieces()
    if not deflated:
        size = len(new_meta)
        async for piece in pieces:
            if same is not None and same.start is None and rewriting.rest is not None:
                same.start, same.source = size, rewriting.rest
            size += len(piece)
            yield piece
        return
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    async for piece in pieces:
        data = deflater.compress(piece)
        size += len(data)
        yield data
    last = deflater.flush()
    yield last + b"\0" * ((size + len(last)) % 2)  # an even number of bytes (PS3.5 A.5)


class _Rewriting:
    """One data set on its way."""

    def __init__(
        self,
        window: Window,
        at: int,
        encoding: Encoding,
        changes: Mapping[int, Change],
        to_utf_8: bool,
    ) -> None:
        self._window = window
        self._at = at
        self._encoding = encoding
        self._changes = changes
        self._to_utf_8 = to_utf_8
        self._charset = b""
        self._new: dict[int, bytes] | None = None
        self.rest: int | None = None  # where the bytes begin that go over as they are
        self._groups = {tag >> 16 for tag in changes}

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The data set."""
        last = max(self._changes)
        while (head := await self._head()) is not None and head.tag <= last:
            is_character_set = head.tag == tags.SPECIFIC_CHARACTER_SET
            if is_character_set:
                self._charset = await self._value(head)
            if head.tag >= tags.SPECIFIC_CHARACTER_SET:
                for tag in [tag for tag in self._written() if tag < head.tag]:
                    yield self._written().pop(tag)
            is_replaced = head.tag in self._changes or (is_character_set and self._to_utf_8)
            if is_replaced or (is_group_length(head.tag) and head.tag >> 16 in self._groups):
                await self._pass_over(head)
                continue
            async for piece in self._as_it_is(head):
                yield piece
        yield b"".join(self._written().values())
        self._written().clear()
        self._window.forget(self._at)
        self.rest = self._at
        async for piece in self._window.rest():
            yield piece

    async def _head(self) -> Head | None:
        """The beginning of the next element; ``None`` behind the last one."""
        self._window.forget(self._at)
        await self._window.read_to(self._at + HEADER_BYTES)
        data = self._window.bytes_from(self._at)
        if not any(data[:HEADER_BYTES]):
            return None
        try:
            return head_of(data, 0, self._encoding, _UNSIGNED)
        except Incomplete:
            raise CorruptData("A file ends within an element.") from None

    async def _value(self, head: Head) -> bytes:
        start = self._at + head.start
        return (await self._window.take(ByteSpan(self._at, head.start + head.length)))[
            start - self._at :
        ]

    async def _pass_over(self, head: Head) -> None:
        async for _ in self._as_it_is(head):
            pass

    async def _as_it_is(self, head: Head) -> AsyncIterator[bytes]:
        """The element, byte by byte; then the window is behind it."""
        at = self._at
        if head.is_undefined:
            length = await self._length_of_undefined()
        else:
            length = head.start + head.length
        self._at += length
        async for piece in self._window.pieces(ByteSpan(at, length), at_once=_AT_ONCE):
            yield piece

    async def _length_of_undefined(self) -> int:
        """How long an element is that a delimiter ends."""
        wanted = 64 * 1024
        while wanted <= _MOST_ELEMENT:
            more = await self._window.read_to(self._at + wanted)
            try:
                found = recoded(self._window.bytes_from(self._at), 0, self._encoding, _UNSIGNED)
            except Incomplete:
                if not more:
                    break
                wanted *= 4
                continue
            if found is not None:
                return found[2]
            break
        raise CorruptData("A sequence before the attributes to be changed does not end.")

    def _written(self) -> dict[int, bytes]:
        """The new elements that are still to come, in order of tags."""
        if self._new is None:
            charset = character_set(_UTF_8 if self._to_utf_8 else self._charset)
            new = {
                tag: self._element(
                    tag, change.vr, encode("\\".join(change.values), charset, change.vr)
                )
                for tag, change in self._changes.items()
            }
            if self._to_utf_8:
                new[tags.SPECIFIC_CHARACTER_SET] = self._element(
                    tags.SPECIFIC_CHARACTER_SET, "CS", _UTF_8
                )
            self._new = dict(sorted(new.items()))
        return self._new

    def _element(self, tag: int, vr: str, value: bytes) -> bytes:
        value += b" " * (len(value) % 2)
        if self._encoding.implicit:
            return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
        if self._encoding.order == "<":
            return header(tag, vr, len(value)) + value
        if len(value) > 0xFFFF:
            raise UnfitText
        return struct.pack(">HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value

"""Convert a stored file into another transfer syntax, as a stream (PS3.18 8.7.3, PS3.5 Annex A).

The file is read once, from front to back. Elements are written anew in explicit VR little endian,
frames are decoded and encoded one by one on threads. In memory are the elements before the pixel
data (bounded at the time of the store) and a few frames. The first frame is converted before the
first byte is given out, so that what is wrong with a file is said in the status, not by a
connection that breaks.

References
----------
PS3.10 7.1, PS3.5 8.2, A.4, A.5.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Final

from shared.dicom import tags, transfer_syntax
from shared.dicom.frames import FrameTable
from shared.dicom.json_model import little_endian
from shared.dicom.part10 import (
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    FileMeta,
)
from shared.dicom.pixel_notes import PIXEL_ELEMENTS
from shared.dicom.pixels import NativeFrame, can_decode, can_encode, decoded_description
from shared.dicom.pixels import encoded_description as described_as
from shared.dicom.recode import (
    HEADER_BYTES,
    Head,
    Incomplete,
    Signedness,
    element,
    head_of,
    header,
    is_group_length,
    recoded,
    recoded_all,
    word_of,
)
from shared.dicom.vr import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Encoding
from shared.errors import CorruptData, NotDicom, UnusablePixelData
from shared.ports import ByteSpan
from shared.retrieve.content import inflating
from shared.retrieve.decoding import in_threads, recoding
from shared.retrieve.window import Window

TARGETS: Final = frozenset(
    {transfer_syntax.EXPLICIT_LE, transfer_syntax.DEFLATED, *transfer_syntax.ENCODABLE}
)
"""Transfer syntaxes that files can be converted into."""

_PREAMBLE = 132
_AT_ONCE = 1024 * 1024
_LONGEST_NATIVE = 0xFFFFFFFE
_TABLES = frozenset({tags.EXTENDED_OFFSET_TABLE, tags.EXTENDED_OFFSET_TABLE_LENGTHS})
_IMPLEMENTATION_VERSION = 0x00020013
_IMPLEMENTATION_CLASS = 0x00020012
_DELIMITER_BYTES = 8


def convertible(stored: str, table: FrameTable | None) -> frozenset[str]:
    """The transfer syntaxes that a file can be converted into.

    Parameters
    ----------
    stored : str
        Transfer syntax of the file.
    table : FrameTable or None
        Its frames, if it has pixel data.
    """
    native = {transfer_syntax.EXPLICIT_LE, transfer_syntax.DEFLATED}
    if table is None:
        return frozenset(native)
    pixels = table.pixels
    if table.is_encapsulated:
        length = decoded_description(pixels).frame_bits() // 8 * table.count
        if (
            transfer_syntax.is_video(stored)
            or table.starts is None
            or not can_decode(pixels)
            or not 0 < length <= _LONGEST_NATIVE
        ):
            return frozenset()
        pixels = decoded_description(pixels)
    return frozenset({*native, *(uid for uid in TARGETS if can_encode(pixels, uid))})


async def converted(
    content: AsyncIterator[bytes], table: FrameTable | None, target: str
) -> AsyncIterator[bytes]:
    """A file in another transfer syntax.

    Parameters
    ----------
    content : AsyncIterator[bytes]
        The stored file.
    table : FrameTable or None
        Its frames, if it has pixel data.
    target : str
        One of ``convertible``.

    Raises
    ------
    CorruptData
        A frame cannot be decoded, or the file is not what its index says.
    """
    conversion = _Conversion(Window(content), table, target)
    pieces = conversion.pieces()
    try:
        meta = await anext(pieces)
        yield meta
        if target == transfer_syntax.DEFLATED:
            deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
            size = len(meta)
            async for piece in pieces:
                data = deflater.compress(piece)
                size += len(data)
                if data:
                    yield data
            last = deflater.flush()
            # an odd number of bytes is padded (PS3.5 A.5)
            yield last + b"\0" * ((size + len(last)) % 2)
        else:
            async for piece in pieces:
                yield piece
    finally:
        await pieces.aclose()
        await conversion.close()


class _Conversion:
    """One file on its way."""

    def __init__(self, window: Window, table: FrameTable | None, target: str) -> None:
        self._file = window
        self._window = window
        self._table = table
        self._target = target
        self._encoding: Encoding = EXPLICIT_LE
        self._pixels = Signedness(table is not None and table.pixels.pixel_representation == 1)
        self._pending: dict[int, bytes] = {}

    async def close(self) -> None:
        """Close the streams."""
        if self._window is not self._file:
            await self._window.close()
        await self._file.close()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """File meta information, then the data set; the first once the first frame is ready."""
        meta, at = await self._meta()
        data_set = self._data_set(at)
        first = await anext(data_set, b"")
        yield meta
        yield first
        async for piece in data_set:
            yield piece

    async def _meta(self) -> tuple[bytes, int]:
        """The file meta information anew, and where the data set begins."""
        old, stored, length = await file_meta(self._file)
        if transfer_syntax.is_big_endian(stored):
            self._encoding = EXPLICIT_BE
        elif transfer_syntax.is_implicit(stored):
            self._encoding = IMPLICIT_LE
        if not transfer_syntax.is_deflated(stored):
            return meta_anew(old, self._target), length
        self._file.forget(length)
        self._window = Window(inflating(self._file.rest()))
        return meta_anew(old, self._target), 0

    # The data set -------------------------------------------------------------------------

    async def _data_set(self, at: int) -> AsyncGenerator[bytes, None]:
        if self._table is not None:
            async for piece in self._to_end_of_pixels(at, self._table):
                yield piece
            at = _pixels_end(self._table)
        async for piece in self._rest(at):
            yield piece

    async def _to_end_of_pixels(self, at: int, table: FrameTable) -> AsyncIterator[bytes]:
        """What is before the pixel data, held back as the first frame may change it; and these."""
        if not await self._window.read_to(_pixels_start(table)):
            raise CorruptData("A file is shorter than its index says.")
        head = self._read_elements(self._window.bytes_from(at))
        if table.is_encapsulated or self._target in transfer_syntax.ENCODABLE:
            pixels = self._frames(table)
        else:
            pixels = self._native(head, table)
        first = await anext(pixels)
        yield b"".join(self._pending[tag] for tag in sorted(self._pending))
        yield first
        async for piece in pixels:
            yield piece

    def _read_elements(self, data: bytes) -> Head:
        """Take in the elements before the pixel data; the beginning of that."""
        at = 0
        while True:
            head = head_of(data, at, self._encoding, self._pixels)
            if head is not None and head.tag in PIXEL_ELEMENTS:
                return head
            one = recoded(data, at, self._encoding, self._pixels)
            if head is None or one is None:
                raise CorruptData("A file has no pixel data where its index says.")
            tag, written, at = one
            if not is_group_length(tag) and tag not in _TABLES:
                self._pending[tag] = written

    async def _native(self, head: Head, table: FrameTable) -> AsyncIterator[bytes]:
        """Native pixel data as it is, but for the byte order."""
        span = table.native or ByteSpan(0, 0)
        yield header(head.tag, head.vr, span.length)
        async for piece in self._value(span, table.word):
            yield piece

    async def _value(self, span: ByteSpan, word: int) -> AsyncIterator[bytes]:
        async for piece in self._window.pieces(span, at_once=_AT_ONCE):
            yield little_endian(piece, word)

    async def _frames(self, table: FrameTable) -> AsyncIterator[bytes]:
        """Frames anew, with the element around them; the header is brought in line first."""
        work = recoding(table.pixels, self._target, is_encapsulated=table.is_encapsulated)
        frames = in_threads(self._stored_frames(table), work)
        encapsulate = self._target in transfer_syntax.ENCODABLE
        size = 0
        begun = False
        async for frame in frames:
            if not begun:
                begun = True
                yield self._pixel_header(table, frame, encapsulate=encapsulate)
            if encapsulate:
                padded = frame.data + b"\0" * (len(frame.data) % 2)
                yield struct.pack("<HHI", 0xFFFE, 0xE000, len(padded)) + padded
            else:
                if len(frame.data) * 8 != decoded_description(table.pixels).frame_bits():
                    raise UnusablePixelData("A frame is not as long as its description says.")
                size += len(frame.data)
                yield frame.data
        yield struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) if encapsulate else b"\0" * (size % 2)

    async def _stored_frames(self, table: FrameTable) -> AsyncIterator[bytes]:
        for number in range(1, table.count + 1):
            frame = table.frame(number)
            yield frame.cut(await self._window.take(frame.covering))

    def _pixel_header(self, table: FrameTable, first: NativeFrame, *, encapsulate: bool) -> bytes:
        """The beginning of the pixel data; describes in the header what the frames have become."""
        native = replace(
            decoded_description(table.pixels) if table.is_encapsulated else table.pixels,
            photometric_interpretation=first.photometric_interpretation,
        )
        described = described_as(native, self._target) if encapsulate else native
        self._put_text(tags.PHOTOMETRIC_INTERPRETATION, described.photometric_interpretation)
        if described.samples > 1:
            planar = struct.pack("<H", described.planar_configuration)
            self._pending[tags.PLANAR_CONFIGURATION] = element(
                tags.PLANAR_CONFIGURATION, "US", planar
            )
        if encapsulate:
            empty_table = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
            return header(tags.PIXEL_DATA, "OB", tags.UNDEFINED_LENGTH) + empty_table
        length = native.frame_bits() // 8 * table.count
        vr = "OB" if native.bits_allocated <= 8 else "OW"
        return header(tags.PIXEL_DATA, vr, length + length % 2)

    def _put_text(self, tag: int, text: str) -> None:
        if text:
            self._pending[tag] = element(tag, "CS", text.encode("ascii"))

    async def _rest(self, at: int) -> AsyncIterator[bytes]:
        """The elements from an offset on; large values piece by piece."""
        wanted = HEADER_BYTES
        while True:
            self._window.forget(at)
            whole = await self._window.read_to(at + wanted)
            data = self._window.bytes_from(at)
            if not any(data):
                return
            try:
                head = head_of(data, 0, self._encoding, self._pixels)
                if head is None:
                    return  # padding, or the delimiter of something that is over
                if not head.is_undefined and head.vr != "SQ" and head.length > _AT_ONCE:
                    yield header(head.tag, head.vr, head.length)
                    span = ByteSpan(at + head.start, head.length)
                    async for piece in self._value(span, word_of(head.vr, self._encoding)):
                        yield piece
                    at, wanted = span.end, HEADER_BYTES
                    continue
                one = recoded(data, 0, self._encoding, self._pixels)
            except Incomplete:
                if not whole:
                    raise CorruptData("A file ends within an element.") from None
                wanted = max(2 * wanted, 64 * 1024)
                continue
            if one is None:
                return
            tag, written, length = one
            at, wanted = at + length, HEADER_BYTES
            if not is_group_length(tag):
                yield written


def _pixels_start(table: FrameTable) -> int:
    if table.native is not None:
        return table.native.offset
    offsets, _ = table.fragments or ([0], [0])
    return offsets[0]


def _pixels_end(table: FrameTable) -> int:
    if table.native is not None:
        return table.native.end
    offsets, lengths = table.fragments or ([0], [0])
    return offsets[-1] + lengths[-1] + _DELIMITER_BYTES


async def file_meta(file: Window) -> tuple[bytes, str, int]:
    """The file meta elements, the transfer syntax, and where the data set begins.

    Raises
    ------
    CorruptData
        It is malformed.
    """
    reader = FileMeta()
    seen = 0
    try:
        while True:
            more = await file.read_to(seen + 1)
            fed = file.bytes_from(seen)
            seen += len(fed)
            if reader.feed(fed) is not None:
                break
            if not more:
                raise CorruptData("A file ends within its file meta information.")
    except NotDicom as error:
        raise CorruptData("A file's file meta information is malformed.") from error
    return file.bytes_from(_PREAMBLE, reader.length), reader.transfer_syntax_uid, reader.length


def meta_anew(old: bytes, target: str) -> bytes:
    """Preamble and file meta information of a file that is written here (PS3.10 7.1)."""
    changed = {
        tags.TRANSFER_SYNTAX_UID: element(tags.TRANSFER_SYNTAX_UID, "UI", target.encode()),
        _IMPLEMENTATION_CLASS: element(
            _IMPLEMENTATION_CLASS, "UI", IMPLEMENTATION_CLASS_UID.encode()
        ),
        _IMPLEMENTATION_VERSION: element(
            _IMPLEMENTATION_VERSION, "SH", IMPLEMENTATION_VERSION_NAME.encode()
        ),
    }
    elements = dict(recoded_all(old, EXPLICIT_LE, Signedness(is_signed=False))) | changed
    body = b"".join(elements[tag] for tag in sorted(elements))
    length = element(tags.META_GROUP_LENGTH, "UL", struct.pack("<I", len(body)))
    return bytes(128) + b"DICM" + length + body

"""Where the frames of an instance are in its file, found while it passes by at ingest.

So a frame is later one range read, whatever the size of the file.

References
----------
PS3.5 8.2, A.4 (encapsulation), PS3.3 C.7.6.3 (pixel module, extended offset table),
PS3.3 C.7.6.24 (floating point pixel data).
"""

from __future__ import annotations

import base64
import itertools
import operator
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.dicom import transfer_syntax
from shared.dicom.json_model import little_endian
from shared.errors import CorruptData, FrameNotFound, UnusablePixelData
from shared.ports import ByteSpan

ITEM_HEADER: Final = 8
_JPEG_STARTS: Final = (b"\xff\xd8", b"\xff\x4f")
_JPEG_END: Final = b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """How the pixels of a frame are encoded (PS3.3 C.7.6.3).

    ``vr`` is that of the pixel data element. Numbers that the data set lacks are 0.
    """

    transfer_syntax_uid: str
    rows: int = 0
    columns: int = 0
    samples: int = 1
    bits_allocated: int = 0
    bits_stored: int = 0
    pixel_representation: int = 0
    planar_configuration: int = 0
    photometric_interpretation: str = ""
    vr: str = "OW"

    def frame_bits(self) -> int:
        """Length of a native frame, in bits; 0 if the description does not tell."""
        bits = self.rows * self.columns * self.samples * self.bits_allocated
        if self.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422"):
            return bits // 3 * 2
        return bits


@dataclass(frozen=True, slots=True)
class Frame:
    """Where one frame is.

    Parameters
    ----------
    covering : ByteSpan
        One range that holds the frame.
    parts : tuple of ByteSpan
        The ranges of its bytes, in order, within the same file; between them are item headers.
    shift : int
        Bits before the first pixel, in little-endian order: frames of 1-bit images need not begin
        on a byte, nor any on a word.
    bits : int
        Length in bits where it is no number of bytes or ``shift`` is set, otherwise 0.
    word : int
        Words of so many bytes have to be turned round: the file is big-endian. Otherwise 1.
    """

    covering: ByteSpan
    parts: tuple[ByteSpan, ...]
    shift: int = 0
    bits: int = 0
    word: int = 1

    def cut(self, covering: bytes) -> bytes:
        """The frame, in little-endian order, from the bytes of ``covering``.

        Raises
        ------
        CorruptData
            There are too few bytes.
        """
        if len(covering) != self.covering.length:
            raise CorruptData("The file is shorter than its index says.")
        start = self.covering.offset
        data = b"".join(covering[part.offset - start : part.end - start] for part in self.parts)
        data = little_endian(data, self.word)
        if not self.bits:
            return data
        whole = int.from_bytes(data, "little") >> self.shift & ((1 << self.bits) - 1)
        return whole.to_bytes((self.bits + 7) // 8, "little")


@dataclass(frozen=True, slots=True)
class FrameTable:
    """The frames of one instance.

    Parameters
    ----------
    count : int
        Number of frames.
    pixels : PixelDescription
        How they are encoded.
    native : ByteSpan or None
        The value of native pixel data.
    fragments : tuple of arrays or None
        Offsets and lengths of the fragments of encapsulated pixel data, in bytes.
    starts : Sequence[int] or None
        Index of the first fragment of each frame; ``None`` where boundaries were not found.
    """

    count: int
    pixels: PixelDescription
    native: ByteSpan | None = None
    fragments: tuple[array[int], array[int]] | None = None
    starts: Sequence[int] | None = None

    @property
    def is_inflated(self) -> bool:
        """Whether ranges are those of the inflated data set, not of the file."""
        return transfer_syntax.is_deflated(self.pixels.transfer_syntax_uid)

    @property
    def is_encapsulated(self) -> bool:
        """Whether frames are as the transfer syntax compresses them."""
        return self.native is None

    def frame(self, number: int) -> Frame:
        """Where frame ``number`` is, counted from 1.

        Raises
        ------
        FrameNotFound
            There is no such frame.
        UnusablePixelData
            The file does not tell where its frames are.
        """
        if not 1 <= number <= self.count:
            raise FrameNotFound(f"The instance has {self.count} frame(s).")
        return self._fragments_of(number) if self.native is None else self._native(number)

    def _native(self, number: int) -> Frame:
        value = self.native or ByteSpan(0, 0)
        bits = self.pixels.frame_bits()
        if not bits or (bits * self.count + 7) // 8 > value.length:
            raise UnusablePixelData("The pixel data is shorter than its description says.")
        word = self.word
        first, last = bits * (number - 1), bits * number
        start = first // (8 * word) * word
        end = min(-(-last // (8 * word)) * word, value.length)
        span = ByteSpan(value.offset + start, end - start)
        shift = first - 8 * start
        uneven = shift or last != 8 * end
        return Frame(span, (span,), shift, bits if uneven else 0, word)

    @property
    def word(self) -> int:
        """Bytes of the words that have to be turned round: those of big-endian pixels, else 1."""
        if not transfer_syntax.is_big_endian(self.pixels.transfer_syntax_uid):
            return 1
        least = 2 if self.pixels.vr == "OW" else 1
        return max(least, self.pixels.bits_allocated // 8)

    def _fragments_of(self, number: int) -> Frame:
        if self.fragments is None or self.starts is None:
            raise UnusablePixelData("The file does not tell where its frames begin.")
        offsets, lengths = self.fragments
        first = self.starts[number - 1]
        last = self.starts[number] if number < len(self.starts) else len(offsets)
        parts = tuple(
            ByteSpan(offsets[at], lengths[at]) for at in range(first, last) if lengths[at]
        )
        if not parts:
            raise UnusablePixelData("The frame is empty.")
        return Frame(ByteSpan(parts[0].offset, parts[-1].end - parts[0].offset), parts)

    # As JSON, in an instance document ----------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The table as a JSON object; ``from_json`` reads it."""
        pixels = self.pixels
        found: dict[str, Any] = {
            "count": self.count,
            "pixels": [
                pixels.transfer_syntax_uid, pixels.rows, pixels.columns, pixels.samples,
                pixels.bits_allocated, pixels.bits_stored, pixels.pixel_representation,
                pixels.planar_configuration, pixels.photometric_interpretation, pixels.vr,
            ],
        }  # fmt: skip
        if self.native is not None:
            found["native"] = [self.native.offset, self.native.length]
        if self.fragments is not None:
            offsets, lengths = self.fragments
            ends = itertools.chain((0,), map(sum, zip(offsets, lengths, strict=True)))
            gaps = (offset - end for offset, end in zip(offsets, ends, strict=False))
            found["fragments"] = _packed(itertools.chain((len(offsets),), gaps, lengths))
        if self.starts is not None and self.fragments is not None:
            before = itertools.chain((0,), self.starts)
            found["starts"] = _packed(map(operator.sub, self.starts, before))
        return found

    @staticmethod
    def from_json(found: dict[str, Any]) -> FrameTable:
        """Read what ``to_json`` wrote."""
        native, fragments, starts = found.get("native"), None, None
        if "fragments" in found:
            numbers = _unpacked(found["fragments"])
            count = numbers[0]
            offsets, lengths = array("Q"), array("Q", numbers[1 + count :])
            end = 0
            for gap, length in zip(numbers[1 : 1 + count], lengths, strict=True):
                offsets.append(end + gap)
                end += gap + length
            fragments = (offsets, lengths)
        if "starts" in found:
            starts = array("Q", itertools.accumulate(_unpacked(found["starts"])))
        return FrameTable(
            found["count"],
            PixelDescription(*found["pixels"]),
            None if native is None else ByteSpan(*native),
            fragments,
            starts,
        )


def _packed(numbers: Iterable[int]) -> str:
    """Numbers from 0 as text: base 128, deflated, base 64."""
    data = bytearray()
    for number in numbers:
        while number > 0x7F:
            data.append(number & 0x7F | 0x80)
            number >>= 7  # noqa: PLW2901
        data.append(number)
    return base64.b64encode(zlib.compress(data)).decode("ascii")


def _unpacked(text: str) -> list[int]:
    numbers: list[int] = []
    number = shift = 0
    for byte in zlib.decompress(base64.b64decode(text)):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(number)
            number = shift = 0
    return numbers


# Boundaries of encapsulated frames ---------------------------------------------------------


@dataclass(slots=True)
class Fragments:
    """The fragments of one encapsulated pixel data element, noted as they pass.

    Parameters
    ----------
    origin : int
        Offset of the first byte after the basic offset table, from which tables count.
    """

    origin: int = 0
    basic: array[int] = field(default_factory=lambda: array("Q"))
    extended: array[int] = field(default_factory=lambda: array("Q"))
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    lengths: array[int] = field(default_factory=lambda: array("Q"))
    begins: bytearray = field(default_factory=bytearray)
    ends: bytearray = field(default_factory=bytearray)

    def add(self, offset: int, length: int, head: bytes, tail: bytes) -> None:
        """Note a fragment: where its bytes are, its first two and its last few bytes."""
        self.offsets.append(offset)
        self.lengths.append(length)
        self.begins.append(head[:2] in _JPEG_STARTS)
        self.ends.append(_JPEG_END in tail)

    def starts(self, frames: int) -> Sequence[int] | None:
        """Index of the first fragment of each frame, or ``None`` if that cannot be found."""
        count = len(self.offsets)
        if frames == 1:
            return array("Q", [0]) if count else None
        for table in (self.extended, self.basic):
            found = self._by_table(table, frames)
            if found is not None:
                return found
        if count == frames:
            return range(count)
        return self._by_markers(frames)

    def _by_table(self, table: array[int], frames: int) -> Sequence[int] | None:
        """A table is believed only if each of its offsets points at an item."""
        if len(table) != frames or table[0] != 0:
            return None
        starts = array("Q")
        at, count = 0, len(self.offsets)
        for offset in table:
            item = offset + self.origin + ITEM_HEADER
            while at < count and self.offsets[at] < item:
                at += 1
            if at == count or self.offsets[at] != item:
                return None
            starts.append(at)
            at += 1
        return starts

    def _by_markers(self, frames: int) -> Sequence[int] | None:
        """A frame begins where an image begins and the one before has ended (PS3.5 A.4)."""
        starts = [
            at
            for at in range(len(self.offsets))
            if self.begins[at] and (at == 0 or self.ends[at - 1])
        ]
        return array("Q", starts) if len(starts) == frames and starts[0] == 0 else None

"""Whether a compressed frame holds all of its pixels, asked before it is decoded.

Decoders of JPEG make up what a frame lacks: one that was cut short, or damaged so that its codes
no longer add up, comes out as a picture that looks whole. Here it is refused instead. What adds
up although it was changed cannot be told: JPEG has no checksum.

JPEG-LS, JPEG 2000 and RLE are not looked into: their decoders (CharLS, OpenJPEG, pylibjpeg-rle)
refuse too few data by themselves.

References
----------
ISO 10918-1 (T.81) B, C, F.2.2, H.2.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from shared.dicom.frames import PixelDescription
from shared.errors import UnusablePixelData

_SOI: Final = b"\xff\xd8"
_EOI: Final = b"\xff\xd9"
_DHT, _SOS, _DRI, _END = 0xC4, 0xDA, 0xDD, 0xD9
_EXTENDED, _LOSSLESS = 0xC1, 0xC3
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {_DHT, 0xC8, 0xCC}
_JPEG_LS: Final = 0xF7
_STANDALONE: Final = frozenset({0x01, 0xD8})
_END_OF_SCAN: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_RESTART: Final = re.compile(rb"\xff+[\xd0-\xd7]")
_WINDOW: Final = 16
_NOWHERE: Final = 1 << 60
"""Bits that a code takes which there is not: the walk leaves the data at once."""
_SPARE_BITS: Final = 16
"""Fewer bits than these may be left: those that fill up the last byte, and a byte of padding."""
_BLOCK: Final = 64
_END_OF_BLOCK: Final = 2 * _BLOCK


def whole_frame(frame: bytes, pixels: PixelDescription) -> bytes:
    """The frame, with the end marker that it may lack, if it holds all samples that it claims.

    Parameters
    ----------
    frame : bytes
        As it is encapsulated.
    pixels : PixelDescription
        Of its data set.

    Raises
    ------
    UnusablePixelData
        A JPEG frame that is cut short or damaged: too few coded samples, or too many.
    """
    if frame[:2] != _SOI:
        return frame
    if not frame.rstrip(b"\0").endswith((_EOI, _EOI + b"\xff")):
        # the picture may be whole without; CharLS needs it to stop in time
        frame += _EOI
    try:
        marker, bits = _process(frame)
        if marker == _JPEG_LS:
            return frame
        if marker != _LOSSLESS and bits == 8:
            _require_without_warnings(frame)
        else:
            _Walk(frame, pixels.rows).whole()
    except (IndexError, KeyError, struct.error, ValueError, ZeroDivisionError) as error:
        raise UnusablePixelData(
            "The frame cannot be decoded: it is cut short or damaged."
        ) from error
    return frame


def _process(frame: bytes) -> tuple[int, int]:
    """The frame header's marker, which names the coding process, and bits of a sample."""
    for marker, segment in _segments(frame):
        if marker in _FRAME_HEADERS or marker == _JPEG_LS:
            return marker, segment[0]
    raise ValueError("no frame header")


def _require_without_warnings(frame: bytes) -> None:
    """Let libjpeg-turbo read the codes; in an eighth of the size the rest costs little."""
    import simplejpeg

    simplejpeg.decode_jpeg(frame, "GRAY", fastdct=True, min_height=1, min_width=1, strict=True)


def _segments(frame: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers with what they hold, a scan's header with all that follows it (T.81 B.1.1)."""
    at = 2
    while at < len(frame):
        if frame[at] != 0xFF:
            raise ValueError("no marker")
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        if marker == _END:
            return
        (length,) = struct.unpack_from(">H", frame, at + 2)
        end = at + 2 + length
        if end > len(frame):
            raise ValueError("segment cut short")
        if marker == _SOS:
            found = _END_OF_SCAN.search(frame, end)
            end = found.start() if found else len(frame)
        yield marker, frame[at + 4 : end]
        at = end


class _Component(NamedTuple):
    horizontal: int
    vertical: int


class _Codes(NamedTuple):
    """What the next 16 bits hold: the bits of a code with its value, and how far it gets.

    ``advance`` counts samples in a lossless scan, coefficients in a block.
    """

    bits: Sequence[int]
    advance: Sequence[int]


@dataclass(slots=True)
class _Walk:
    """One pass over the codes of a frame, without making pixels of them."""

    frame: bytes
    data_set_rows: int
    tables: dict[tuple[int, int], bytes] = field(default_factory=dict)
    components: dict[int, _Component] = field(default_factory=dict)
    is_lossless: bool = False
    rows: int = 0
    columns: int = 0
    interval: int = 0

    def whole(self) -> None:
        seen: set[int] = set()
        for marker, segment in _segments(self.frame):
            if marker == _DHT:
                self._note_tables(segment)
            elif marker == _DRI:
                (self.interval,) = struct.unpack(">H", segment)
            elif marker in (_EXTENDED, _LOSSLESS):
                self._note_frame(marker, segment)
            elif marker in _FRAME_HEADERS:
                raise UnusablePixelData(
                    "The frame cannot be decoded: it is coded as no frame in DICOM is."
                )
            elif marker == _SOS:
                seen |= self._scan(segment)
        if not seen or seen != set(self.components):
            raise ValueError("a scan is missing")

    def _note_tables(self, segment: bytes) -> None:
        at = 0
        while at < len(segment):
            end = at + 17 + sum(segment[at + 1 : at + 17])
            self.tables[divmod(segment[at], 16)] = segment[at + 1 : end]
            at = end

    def _note_frame(self, marker: int, segment: bytes) -> None:
        _, rows, self.columns, count = struct.unpack_from(">BHHB", segment)
        self.rows = rows or self.data_set_rows  # told after the first scan (T.81 B.2.5)
        self.is_lossless = marker == _LOSSLESS
        for at in range(6, 6 + 3 * count, 3):
            self.components[segment[at]] = _Component(*divmod(segment[at + 1], 16))

    def _scan(self, segment: bytes) -> set[int]:
        count = segment[0]
        names = [segment[at] for at in range(1, 1 + 2 * count, 2)]
        components = [self.components[name] for name in names]
        tables: list[tuple[bytes, bytes]] = []
        for each, selectors in zip(components, segment[2 : 2 + 2 * count : 2], strict=True):
            dc, ac = divmod(selectors, 16)
            found = self.tables[0, dc], b"" if self.is_lossless else self.tables[1, ac]
            tables += [found] * (each.horizontal * each.vertical if count > 1 else 1)
        left = self._mcus(components)
        each_interval = self.interval or left
        pieces = _RESTART.split(segment[4 + 2 * count :])
        if len(pieces) != -(-left // each_interval):
            raise ValueError("restart markers are missing")
        for piece in pieces:
            _require_mcus(piece, min(each_interval, left), tables)
            left -= each_interval
        return set(names)

    def _mcus(self, components: list[_Component]) -> int:
        """Minimum coded units of a scan (T.81 A.2)."""
        side = 1 if self.is_lossless else 8
        most_h = max(each.horizontal for each in self.components.values())
        most_v = max(each.vertical for each in self.components.values())
        if len(components) > 1:
            return -(-self.columns // (side * most_h)) * -(-self.rows // (side * most_v))
        columns = -(-self.columns * components[0].horizontal // most_h)
        rows = -(-self.rows * components[0].vertical // most_v)
        return -(-columns // side) * -(-rows // side)


def _require_mcus(piece: bytes, mcus: int, tables: list[tuple[bytes, bytes]]) -> None:
    """Walk over a scan, or over what is between two restart markers."""
    data = piece.replace(b"\xff\x00", b"\xff")
    words = _words(data)
    if len(set(tables)) == 1 and not tables[0][1]:
        at = _walk_samples(words, mcus * len(tables), tables[0][0])
    else:
        at = _walk_mcus(words, mcus, tables)
    if not 0 <= 8 * len(data) - at < _SPARE_BITS:
        raise ValueError("too few codes, or too many")


def _walk_samples(words: Sequence[int], samples: int, table: bytes) -> int:
    """Walk over a lossless scan, several samples at a time; the bits that they take."""
    at = done = 0
    bits, advance = _runs(table)
    while done < samples - _WINDOW:
        window = words[at >> 3] >> 8 - (at & 7) & 0xFFFF
        at += bits[window]
        done += advance[window]
    bits = _differences(table).bits
    for _ in range(samples - done):
        at += bits[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
    return at


def _walk_mcus(words: Sequence[int], mcus: int, tables: list[tuple[bytes, bytes]]) -> int:
    at = 0
    codes = [(_differences(dc), _coefficients(ac) if ac else None) for dc, ac in tables]
    for _ in range(mcus):
        for dc, ac in codes:
            at += dc.bits[words[at >> 3] >> 8 - (at & 7) & 0xFFFF]
            if ac is None:
                continue
            bits, advance = ac
            index = 1
            while index < _BLOCK:
                window = words[at >> 3] >> 8 - (at & 7) & 0xFFFF
                at += bits[window]
                index += advance[window]
            if _BLOCK < index < _END_OF_BLOCK:
                raise ValueError("a block has too many coefficients")
    return at


def _words(data: bytes) -> Sequence[int]:
    """The 24 bits that begin at each byte."""
    import numpy as np

    padded = np.frombuffer(data + bytes(6), np.uint8).astype(np.uint32)
    return array("I", (padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]).tobytes())


@lru_cache(maxsize=64)
def _differences(table: bytes) -> _Codes:
    """Codes of DC coefficients and of lossless samples (T.81 F.1.2.1, H.1.2.2)."""
    return _lookup(table, lambda value: (value if value < 16 else 0, 1))


@lru_cache(maxsize=64)
def _coefficients(table: bytes) -> _Codes:
    """Codes of AC coefficients: a run of zeros, and the number of more bits (T.81 F.1.2.2)."""

    def meaning(value: int) -> tuple[int, int]:
        run, size = divmod(value, 16)
        return (size, run + 1) if size or run == 15 else (0, _END_OF_BLOCK)

    return _lookup(table, meaning)


def _lookup(table: bytes, meaning: Callable[[int], tuple[int, int]]) -> _Codes:
    """For each 16 bits the code that they begin with (T.81 C.2)."""
    bits, advance = [_NOWHERE] * (1 << _WINDOW), [0] * (1 << _WINDOW)
    code, at = 0, 16
    for length in range(1, 17):
        for value in table[at : at + table[length - 1]]:
            more, steps = meaning(value)
            low, count = code << _WINDOW - length, 1 << _WINDOW - length
            bits[low : low + count] = [length + more] * count
            advance[low : low + count] = [steps] * count
            code += 1
        at += table[length - 1]
        code <<= 1
    if len(bits) != 1 << _WINDOW:
        raise ValueError("more codes than there can be")
    return _Codes(bits, advance)


@lru_cache(maxsize=16)
def _runs(table: bytes) -> _Codes:
    """For each 16 bits all codes that are whole in them, at least the one they begin with."""
    import numpy as np

    first = np.array(_differences(table).bits, np.int64)
    bits, count = first.copy(), np.ones_like(first)
    windows = np.arange(1 << _WINDOW)
    for _ in range(_WINDOW):
        room = _WINDOW - bits
        following = first[windows << np.minimum(bits, _WINDOW) & 0xFFFF]
        fits = following <= room
        bits[fits] += following[fits]
        count[fits] += 1
    return _Codes(bits.tolist(), count.tolist())

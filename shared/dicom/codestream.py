"""What the header of a compressed frame says: its size, and its transfer syntax.

Nothing is decoded: the header is enough to refuse a frame that is not what its data set says.

References
----------
ISO 10918-1 B.2 (JPEG), ISO 14495-1 C (JPEG-LS), ISO 15444-1 A, I (JPEG 2000), PS3.5 8.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from shared.dicom.frames import PixelDescription
from shared.errors import UnusablePixelData

HEADER_BYTES: Final = 256 * 1024
"""How much of a frame is looked at."""

_JPEG_LOSSLESS: Final = {1: "1.2.840.10008.1.2.4.70"}
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_BOX_HEADER: Final = 8
_JPEG_2000: Final = b"\xff\x4f\xff\x51"
_BOXES: Final = 1024  # a JP2 file's boxes come before its codestream
_NO_FRAME_HEADERS: Final = frozenset({0xC4, 0xC8, 0xCC})
_JPEG_LS: Final = 0xF7
_START_OF_SCAN: Final = 0xDA


@dataclass(frozen=True, slots=True)
class CodestreamFacts:
    """What a frame's header says.

    Parameters
    ----------
    rows, columns : int
        Size, in pixels.
    samples : int
        Components.
    bits : int
        Precision of a sample.
    transfer_syntax_uid : str
        The one that a data set with such frames has.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    transfer_syntax_uid: str


def jpeg_facts(data: bytes) -> CodestreamFacts | None:
    """Facts of a JPEG or JPEG-LS frame from its first bytes; ``None`` for something else."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    frame: tuple[int, int, int, int, int] | None = None
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _STANDALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        segment = data[at + 4 : at + 2 + length]
        if marker in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7) and len(segment) >= 6:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", segment)
            frame = marker, bits, rows, columns, samples
        elif marker == 0xDA and frame is not None and segment:
            return _jpeg(frame, segment)
        at += 2 + length
    return None


def _jpeg(frame: tuple[int, int, int, int, int], scan: bytes) -> CodestreamFacts | None:
    marker, bits, rows, columns, samples = frame
    parameters = scan[1 + 2 * scan[0] :]
    if not parameters:
        return None
    if marker == 0xF7:
        syntax = "1.2.840.10008.1.2.4.81" if parameters[0] else "1.2.840.10008.1.2.4.80"
    elif marker == 0xC3:
        syntax = _JPEG_LOSSLESS.get(parameters[0], "1.2.840.10008.1.2.4.57")
    elif marker == 0xC0:
        syntax = "1.2.840.10008.1.2.4.50"
    elif marker == 0xC1:
        syntax = "1.2.840.10008.1.2.4.51"
    else:
        return None  # progressive JPEG is retired in DICOM
    return CodestreamFacts(rows, columns, samples, bits, syntax)


def codestream_offset(data: bytes) -> int:
    """Where the codestream of a JPEG 2000 file begins (``jp2c`` box); 0 for a bare one."""
    if data[4:8] != b"jP  ":
        return 0
    at = 0
    while at + _BOX_HEADER <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + _BOX_HEADER
        if length == 1 and start + 8 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        if kind == b"jp2c":
            return start
        if length < _BOX_HEADER:
            break
        at += length
    return 0


def jpeg_2000_facts(data: bytes) -> CodestreamFacts | None:
    """Facts of a JPEG 2000 codestream from its first bytes; ``None`` for something else."""
    if data[:4] != b"\xff\x4f\xff\x51" or len(data) < 43:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", data, 8)
    (samples,) = struct.unpack_from(">H", data, 40)
    is_high_throughput = struct.unpack_from(">H", data, 6)[0] & 0x4000
    (length,) = struct.unpack_from(">H", data, 4)
    at = 4 + length
    reversible = None
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0x90:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] == 0x52 and at + 14 <= len(data):
            reversible = data[at + 13] == 1
        at += 2 + length
    if reversible is None:
        return None
    if is_high_throughput:
        syntax = "1.2.840.10008.1.2.4.201" if reversible else "1.2.840.10008.1.2.4.203"
    else:
        syntax = "1.2.840.10008.1.2.4.90" if reversible else "1.2.840.10008.1.2.4.91"
    bits = (data[42] & 0x7F) + 1
    return CodestreamFacts(bottom - top, right - left, samples, bits, syntax)


# What a frame claims -------------------------------------------------------------------------


def declared_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns that a frame claims; ``None`` if it does not tell, as RLE does not.

    Less than the facts, and found also where these are not: a decoder makes room for what any
    frame header claims, and few bytes can claim 65,535 by 65,535 pixels.
    """
    at = frame.find(_JPEG_2000, 0, _BOXES)
    if at >= 0 and len(frame) >= at + 24:
        width, height, left, top = struct.unpack_from(">IIII", frame, at + 8)
        return height - top, width - left
    if frame[:2] == b"\xff\xd8":
        return _jpeg_size(frame)
    return None


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == _START_OF_SCAN:
            return None
        is_frame = 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME_HEADERS
        if (is_frame or marker == _JPEG_LS) and at + 9 <= len(frame):
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return rows, columns
        at += 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None


def require_declared_size(frame: bytes, pixels: PixelDescription) -> None:
    """Refuse a frame that claims another size than its data set.

    Raises
    ------
    UnusablePixelData
        It does.
    """
    claimed = declared_size(frame)
    if claimed is None or claimed == (pixels.rows, pixels.columns):
        return
    rows, columns = claimed
    if rows == 0 and columns == pixels.columns:
        return  # the number of lines comes at the end (T.81 B.2.5)
    raise UnusablePixelData(
        f"A frame claims {rows} rows and {columns} columns, its data set {pixels.rows} and "
        f"{pixels.columns}."
    )

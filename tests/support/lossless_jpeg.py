"""A small lossless JPEG encoder (T.81 Annex H): 2 to 16 bits, planes, restart intervals."""

from __future__ import annotations

import struct

import numpy as np

_LENGTHS = (0, 0, 3, 2, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0)
"""Codes of each length, 17 in all: for 0 to 16 more bits."""


def _codes() -> list[tuple[int, int]]:
    codes: list[tuple[int, int]] = []
    code = 0
    for length, count in enumerate(_LENGTHS, start=1):
        for _ in range(count):
            codes.append((code, length))
            code += 1
        code <<= 1
    return codes


def encode(pixels: np.ndarray, *, bits: int, lines_per_interval: int = 0) -> bytes:
    """Rows, columns and samples as one interleaved scan, predicted from the left (selector 1)."""
    rows, columns, samples = pixels.shape
    codes = _codes()
    pieces: list[list[str]] = []
    piece: list[str] = []
    for row in range(rows):
        is_first = row % lines_per_interval == 0 if lines_per_interval else row == 0
        if is_first and piece:
            pieces.append(piece)
            piece = []
        for column in range(columns):
            for sample in range(samples):
                if column:
                    predicted = int(pixels[row, column - 1, sample])
                elif is_first:
                    predicted = 1 << bits - 1
                else:
                    predicted = int(pixels[row - 1, 0, sample])
                difference = (int(pixels[row, column, sample]) - predicted) & 0xFFFF
                if difference > 32768:
                    difference -= 65536
                size = abs(difference).bit_length()
                code, length = codes[size]
                piece.append(f"{code:0{length}b}")
                if 0 < size < 16:
                    value = difference if difference > 0 else difference + (1 << size) - 1
                    piece.append(f"{value:0{size}b}")
    pieces.append(piece)
    table = bytes([0, *_LENGTHS, *range(17)])
    named = range(1, samples + 1)
    components = b"".join(bytes([name, 0x11, 0]) for name in named)
    selected = b"".join(bytes([name, 0]) for name in named)
    interval = columns * lines_per_interval
    return (
        b"\xff\xd8"
        + (_segment(0xDD, struct.pack(">H", interval)) if interval else b"")
        + _segment(0xC3, struct.pack(">BHHB", bits, rows, columns, samples) + components)
        + _segment(0xC4, table)
        + _segment(0xDA, bytes([samples]) + selected + b"\x01\0\0")
        + b"".join(
            (bytes([0xFF, 0xD0 + (at - 1) % 8]) if at else b"") + _packed("".join(each))
            for at, each in enumerate(pieces)
        )
        + b"\xff\xd9"
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _packed(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")

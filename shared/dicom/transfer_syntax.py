"""Transfer syntaxes: how a data set and its pixels are encoded (PS3.5 Annex A, PS3.6 A-1)."""

from __future__ import annotations

from typing import Final

IMPLICIT_LE: Final = "1.2.840.10008.1.2"
EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
ENCAPSULATED_UNCOMPRESSED: Final = "1.2.840.10008.1.2.1.98"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"
DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"
RLE: Final = "1.2.840.10008.1.2.5"

JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS: Final = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"

ENCODABLE: Final = frozenset({RLE, JPEG_BASELINE, JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS})
"""Compressed transfer syntaxes that can be made here. JPEG baseline loses: it has to be named."""

_NATIVE: Final = frozenset({IMPLICIT_LE, EXPLICIT_LE, DEFLATED, EXPLICIT_BE})

_DEFLATED: Final = frozenset(
    {
        DEFLATED,
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
    }
)

_VIDEO: Final = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))


def is_native(uid: str) -> bool:
    """Whether pixel data is uncompressed and has a defined length (PS3.5 A.1–A.3, A.5)."""
    return uid in _NATIVE


def is_deflated(uid: str) -> bool:
    """Whether the data set behind the file meta information is deflated (PS3.5 A.5)."""
    return uid in _DEFLATED


def is_video(uid: str) -> bool:
    """Whether the pixel data is one stream over all frames (MPEG-2, MPEG-4, HEVC; PS3.5 8.2.5)."""
    return uid.startswith(_VIDEO) and uid.removesuffix(".1") in _VIDEO


def is_implicit(uid: str) -> bool:
    """Whether VRs are left out of the file."""
    return uid == IMPLICIT_LE


def is_big_endian(uid: str) -> bool:
    """Whether numbers begin with their high byte."""
    return uid == EXPLICIT_BE

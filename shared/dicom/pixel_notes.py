"""What a reader notes of the pixel module while a data set passes by."""

from __future__ import annotations

import re
import struct
from typing import Any, Final

from shared.dicom import tags, transfer_syntax
from shared.dicom.frames import Fragments, FrameTable, PixelDescription
from shared.ports import ByteSpan

PIXEL_ELEMENTS: Final = frozenset(
    {tags.PIXEL_DATA, tags.FLOAT_PIXEL_DATA, tags.DOUBLE_FLOAT_PIXEL_DATA}
)
"""The elements that hold frames (PS3.3 C.7.6.3, C.7.6.24)."""

_NUMBERS: Final = {
    tags.SAMPLES_PER_PIXEL: "samples",
    tags.PLANAR_CONFIGURATION: "planar_configuration",
    tags.ROWS: "rows",
    tags.COLUMNS: "columns",
    tags.BITS_ALLOCATED: "bits_allocated",
    tags.BITS_STORED: "bits_stored",
    tags.PIXEL_REPRESENTATION: "pixel_representation",
}
PIXEL_MODULE: Final = frozenset({*_NUMBERS, tags.PHOTOMETRIC_INTERPRETATION, tags.NUMBER_OF_FRAMES})
"""The elements that ``PixelNotes.note`` is for."""

_COUNT: Final = re.compile(r"\+?[0-9]{1,12}")
_FLOAT_BITS: Final = {tags.FLOAT_PIXEL_DATA: 32, tags.DOUBLE_FLOAT_PIXEL_DATA: 64}


class PixelNotes:
    """Collects the pixel description and the place of the pixel data."""

    def __init__(self) -> None:
        self._description: dict[str, Any] = {}
        self._frames: str | None = None
        self._element: int | None = None
        self._native: ByteSpan | None = None

    @property
    def is_signed(self) -> bool:
        """Whether pixel values are signed, which decides VRs that are ``US or SS``."""
        return self._description.get("pixel_representation") == 1

    def note(self, tag: int, raw: bytes, values: list[str] | None, order: str) -> None:
        """Take note of a top-level element of ``PIXEL_MODULE``."""
        name = _NUMBERS.get(tag)
        if name is not None and len(raw) >= 2:
            self._description[name] = struct.unpack_from(order + "H", raw)[0]
        elif tag == tags.PHOTOMETRIC_INTERPRETATION and values:
            self._description["photometric_interpretation"] = values[0].strip(" \0")
        elif tag == tags.NUMBER_OF_FRAMES and values:
            self._frames = values[0].strip(" \0")

    def found(self, tag: int, vr: str, offset: int, length: int) -> bool:
        """Take note of the pixel data; ``length`` 0 where it is encapsulated.

        Returns
        -------
        bool
            Whether they are taken: a data set has one of the three elements, the first counts.
        """
        if self._element is not None:
            return False
        self._element = tag
        self._description["vr"] = vr
        if length:
            self._native = ByteSpan(offset, length)
        if tag in _FLOAT_BITS:
            self._description["bits_allocated"] = _FLOAT_BITS[tag]
        return True

    def frames(self, syntax: str, fragments: Fragments) -> dict[str, Any] | None:
        """The frame table as JSON, or ``None`` without pixel data."""
        if self._element is None or (self._native is None and not fragments.offsets):
            return None
        pixels = PixelDescription(syntax, **self._description)
        count = self._count()
        if self._native is not None:
            return FrameTable(count, pixels, self._native).to_json()
        if transfer_syntax.is_video(syntax):
            count = 1  # the stream is one thing: its frames cannot be told apart
        table = FrameTable(
            count,
            pixels,
            fragments=(fragments.offsets, fragments.lengths),
            starts=fragments.starts(count),
        )
        return table.to_json()

    def _count(self) -> int:
        """NumberOfFrames; 1 where it is absent or no number from 1."""
        text = self._frames or ""
        count = int(text) if _COUNT.fullmatch(text) else 1
        return count if 0 < count < 2**31 else 1

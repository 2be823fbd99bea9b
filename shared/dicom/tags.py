"""Tags as integers, ``(group << 16) | element``, and the data dictionary (PS3.6).

The dictionary is pydicom's, read from its data module alone: importing the package brings numpy
and takes 0.4 s, the data alone 14 ms, and that only on first use.
"""

from __future__ import annotations

import importlib.util
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, NamedTuple

SPECIFIC_CHARACTER_SET: Final = 0x00080005
SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018
STUDY_INSTANCE_UID: Final = 0x0020000D
SERIES_INSTANCE_UID: Final = 0x0020000E
TRANSFER_SYNTAX_UID: Final = 0x00020010
META_GROUP_LENGTH: Final = 0x00020000

SAMPLES_PER_PIXEL: Final = 0x00280002
PHOTOMETRIC_INTERPRETATION: Final = 0x00280004
PLANAR_CONFIGURATION: Final = 0x00280006
NUMBER_OF_FRAMES: Final = 0x00280008
ROWS: Final = 0x00280010
COLUMNS: Final = 0x00280011
BITS_ALLOCATED: Final = 0x00280100
BITS_STORED: Final = 0x00280101
PIXEL_REPRESENTATION: Final = 0x00280103
LUT_DESCRIPTOR: Final = 0x00283002
LUT_DATA: Final = 0x00283006

EXTENDED_OFFSET_TABLE: Final = 0x7FE00001
EXTENDED_OFFSET_TABLE_LENGTHS: Final = 0x7FE00002
FLOAT_PIXEL_DATA: Final = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA: Final = 0x7FE00009
PIXEL_DATA: Final = 0x7FE00010

DATA_SET_TRAILING_PADDING: Final = 0xFFFCFFFC
ITEM: Final = 0xFFFEE000
ITEM_DELIMITATION: Final = 0xFFFEE00D
SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD

UNDEFINED_LENGTH: Final = 0xFFFFFFFF


class Entry(NamedTuple):
    """What the dictionary says of a tag. ``vr`` may name several: ``US or SS``."""

    vr: str
    vm: str
    keyword: str


def text(tag: int) -> str:
    """A tag for people: ``(0008,0018)``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


@lru_cache(maxsize=8192)
def key(tag: int) -> str:
    """A tag as the DICOM JSON model names it: ``00080018`` (PS3.18 F.2.2)."""
    return f"{tag:08X}"


def is_private(tag: int) -> bool:
    """Whether the group is odd (PS3.5 7.8)."""
    return bool(tag & 0x10000)


def is_private_creator(tag: int) -> bool:
    """Whether the element reserves a block of private elements (PS3.5 7.8.1); its VR is LO."""
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


class _Dictionary(NamedTuple):
    entries: dict[int, tuple[str, str, str, str, str]]
    repeating: tuple[tuple[int, int, Entry], ...]  # mask, masked tag, entry


@cache
def _dictionary() -> _Dictionary:
    package = importlib.util.find_spec("pydicom")  # finds the package without importing it
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("pydicom")
    path = Path(next(iter(package.submodule_search_locations))) / "_dicom_dict.py"
    spec = importlib.util.spec_from_file_location("shared.dicom._pydicom_dictionary", path)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    repeating = []
    for pattern, row in module.RepeatersDictionary.items():
        mask = int("".join("0" if digit == "x" else "F" for digit in pattern), 16)
        entry = Entry(row[0], row[1], row[4])
        repeating.append((mask, int(pattern.replace("x", "0"), 16), entry))
    return _Dictionary(module.DicomDictionary, tuple(repeating))


@lru_cache(maxsize=8192)
def entry(tag: int) -> Entry | None:
    """What the dictionary says of a standard tag, repeating groups included.

    ``None`` for private and unknown tags, and for those that are no attributes (items and
    delimiters, VR ``NONE`` in PS3.6).
    """
    dictionary = _dictionary()
    row = dictionary.entries.get(tag)
    if row is not None:
        return None if row[0] == "NONE" else Entry(row[0], row[1], row[4])
    if tag & 0x10000:
        return None
    if not tag & 0xFFFF:
        return Entry("UL", "1", "")  # group length, PS3.5 7.2
    for mask, masked, repeated in dictionary.repeating:
        if tag & mask == masked:
            return repeated
    return None


@cache
def _by_keyword() -> dict[str, int]:
    return {row[4]: tag for tag, row in _dictionary().entries.items() if row[4]}


def tag_of(keyword: str) -> int | None:
    """The tag that has a keyword, exact in its case; ``None`` for unknown ones."""
    return _by_keyword().get(keyword)

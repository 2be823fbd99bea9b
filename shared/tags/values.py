"""The values of extended query tags in a data set, and what is wrong with them (spec §7)."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shared.dicom.instance import JsonElement
from shared.dicom.tags import key as tag_key
from shared.dicom.validation_minimum import minimum_problem
from shared.dicom.validation_rules import value_problem
from shared.tags.models import ExtendedTag

_BINARY: Final = {"FD": "<d", "FL": "<f", "SL": "<i", "SS": "<h", "UL": "<I", "US": "<H"}
_RANGES: Final = {
    "SL": (-(2**31), 2**31 - 1), "SS": (-(2**15), 2**15 - 1), "UL": (0, 2**32 - 1),
    "US": (0, 2**16 - 1), "IS": (-(2**31), 2**31 - 1),
}  # fmt: skip

MESSAGES: Final = {
    2: "The value is longer than its VR allows.",
    3: "The value has not the length that its VR requires.",
    4: "The value has a character that its VR does not allow.",
    5: "The element has another VR than the tag.",
    1000: "The person name has too many components.",
    1001: "A component group of the person name is too long.",
    1100: "The value is no valid date.",
    1200: "The value is no valid UID.",
    1300: "The value is no valid date and time.",
    1400: "The value is no valid time.",
    1500: "The value is no valid integer.",
}
"""What an error code means (spec §7)."""

_NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")
"""Of the right length, and so not wrong; no search finds them (``shared.dicom.json_model``)."""
_CODES: Final = {"AS": 3, "DA": 1100, "UI": 1200, "DT": 1300, "TM": 1400, "IS": 1500}
_LONGEST: Final = {"AE": 16, "CS": 16, "SH": 16, "LO": 64}


def values_of(
    attributes: Mapping[str, JsonElement], entries: Iterable[ExtendedTag]
) -> tuple[dict[str, JsonElement], dict[str, int]]:
    """The elements that the index keeps of extended tags, and codes of those that are invalid.

    Parameters
    ----------
    attributes : Mapping
        The top-level elements of a data set in the DICOM JSON model, by tag.
    entries : Iterable of ExtendedTag
        What is looked for.

    Returns
    -------
    tuple
        Elements by ``key``, with their first value only; codes by ``error_key``. What is absent
        or empty is in neither.
    """
    found: dict[str, JsonElement] = {}
    faults: dict[str, int] = {}
    for entry in entries:
        element = _element(attributes, entry)
        value = None if element is None else _first(element, entry.vr)
        if element is None or value in (None, "", {}):
            continue
        code = 5 if element["vr"] not in (entry.vr, "UN") else _fault(entry.vr, value)
        if code is None:
            found[entry.key] = {"vr": entry.vr, "Value": [value]}
        else:
            faults[entry.error_key] = code
    return found, faults


def _element(attributes: Mapping[str, JsonElement], entry: ExtendedTag) -> JsonElement | None:
    if entry.creator is None:
        return attributes.get(entry.path)
    group = entry.tag & 0xFFFF0000
    for block in range(0x10, 0x100):
        creator = (attributes.get(tag_key(group | block)) or {}).get("Value") or [None]
        if isinstance(creator[0], str) and creator[0].strip(" \0") == entry.creator:
            found = attributes.get(tag_key(group | block << 8 | entry.tag & 0xFF))
            if found is not None:
                return found
    return None


def _first(element: JsonElement, vr: str) -> Any:
    """The first value; of an unknown VR, read as the one that the tag has."""
    values = element.get("Value")
    if values or element["vr"] != "UN":
        return values[0] if values else None
    try:
        raw = base64.b64decode(element.get("InlineBinary", ""))
    except (ValueError, binascii.Error):
        return None
    if vr in _BINARY:
        size = struct.calcsize(_BINARY[vr])
        number = struct.unpack(_BINARY[vr], raw[:size])[0] if len(raw) >= size else None
        return number if number is not None and math.isfinite(number) else None
    text = raw.decode("utf-8", "replace").split("\\")[0].strip(" \0")
    if vr == "PN":
        return {"Alphabetic": text} if text else None
    return text


def _fault(vr: str, value: Any) -> int | None:
    """The code of what is wrong with a value, or ``None``."""
    if vr == "PN":
        return _name_fault(value)
    if vr in _RANGES:
        return None if _is_within(value, *_RANGES[vr]) else 1500
    if vr in ("FD", "FL"):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_number |= value in _NO_NUMBERS
        return None if is_number else 3
    if not isinstance(value, str):
        return 5
    longest = _LONGEST.get(vr)
    if longest is not None and len(value) > longest:
        return 2
    problem = minimum_problem(vr, [value], len(value))
    if problem is None and vr in ("AS", "DT", "TM"):
        problem = value_problem(vr, value)
    return None if problem is None else _CODES.get(vr, 4)


def _name_fault(value: Any) -> int | None:
    if not isinstance(value, Mapping):
        return 5
    groups = [str(group) for group in value.values()]
    if any(len(group) > 64 for group in groups):
        return 1001
    return 1000 if any(group.count("^") > 4 for group in groups) else None


def _is_within(value: Any, least: int, most: int) -> bool:
    try:
        return least <= int(value) <= most and float(value) == int(value)
    except (TypeError, ValueError, OverflowError):
        return False

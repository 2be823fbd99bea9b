"""The minimum rules for values, which keep the index consistent (spec dicomweb.md §2.8.1).

Version 1 refuses an instance for a breach in any searched attribute, version 2 for one in the five
required attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Final

from shared.dicom import uid
from shared.dicom.validation_rules import (
    CONTROL_BUT_ESC,
    EIGHT_DIGITS,
    INTEGER,
    LONGEST,
    SIZE,
    shown_tag,
    value_problem,
)


def minimum_problem(vr: str, values: list[str] | None, length: int) -> str | None:
    """What is wrong with an indexed element by the minimum rules: the end of its entry.

    Only the first value is looked at. An empty element passes, unless it is an AS.

    Parameters
    ----------
    vr, values, length
        As ``shared.dicom.instance.Checker`` has them.

    References
    ----------
    Spec dicomweb.md §2.8.1.
    """
    size = SIZE.get(vr)
    if size is not None:
        return f"Value length is not {size}." if length % size else None
    rule = _MINIMUM.get(vr)
    if rule is None:
        return None
    if values is None:
        return _length(LONGEST.get(vr, 64)) if length else None
    value = values[0] if values else ""
    return rule(value) if value or vr == "AS" else None


def minimum_text(tag: int, keyword: str, vr: str, tail: str) -> str:
    """The entry of a breach of the minimum rules."""
    return (
        f"DICOM100: {shown_tag(tag)} - "
        f"Dicom element '{keyword}' failed validation for VR '{vr}': {tail}"
    )


def _length(longest: int) -> str:
    return f"Value length exceeds maximum length of {longest}."


_INVALID_CHARACTER = "Value contains invalid character."


def _at_most(longest: int) -> Callable[[str], str | None]:
    return lambda value: _length(longest) if len(value) > longest else None


def _long_string(value: str) -> str | None:
    if len(value) > 64:
        return _length(64)
    return _INVALID_CHARACTER if CONTROL_BUT_ESC.search(value) else None


def _name(value: str) -> str | None:
    groups = value.split("=")
    if len(groups) > 3:
        return "Value contains too many component groups."
    if any(len(group) > 64 for group in groups):
        return "Value length of a component group exceeds maximum length of 64."
    if any(group.count("^") > 4 for group in groups):
        return "Value contains too many components."
    return _INVALID_CHARACTER if CONTROL_BUT_ESC.search(value) else None


def _calendar_day(value: str) -> str | None:
    tail = "Value cannot be parsed as a valid date."
    if not EIGHT_DIGITS.fullmatch(value):
        return tail
    try:
        date(int(value[:4]), int(value[4:6]), int(value[6:]))
    except ValueError:
        return tail
    return None


def _parsed_as(vr: str, what: str) -> Callable[[str], str | None]:
    tail = f"Value cannot be parsed as a valid {what}."
    return lambda value: None if value_problem(vr, value) is None else tail


_MINIMUM: Final[Mapping[str, Callable[[str], str | None]]] = MappingProxyType(
    {
        "AE": _at_most(16),
        "AS": lambda value: None if len(value) == 4 else "Value length is not 4.",
        "CS": _at_most(16),
        "DA": _calendar_day,
        "DT": _parsed_as("DT", "DateTime"),
        "IS": lambda value: (
            None
            if INTEGER.fullmatch(value)
            else "Value cannot be parsed as a valid integer string."
        ),
        "LO": _long_string,
        "PN": _name,
        "SH": _at_most(16),
        "TM": _parsed_as("TM", "Time"),
        "UI": lambda value: (
            None
            if uid.is_valid(value)
            else "Value is not an identifier of at most 64 digits and dots that ends in a digit."
        ),
    }
)

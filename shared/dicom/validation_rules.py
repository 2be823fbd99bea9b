"""The full rules for values, a breach of which is a warning in version 2 (spec §2.8.2).

They are those of PS3.5 6.2 as far as the Azure service checks them.

Nearly all values are valid, so ``VALID`` has one cheap test per VR, and only what fails it is
looked at closely. Control characters are those of Unicode category Cc; ESC, which character set
switches use, is allowed where PS3.5 6.1.2.5 has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from sys import maxsize
from types import MappingProxyType
from typing import Final, NamedTuple

from shared.dicom import tags

_CONTROL = r"\\\x00-\x1f\x7f-\x9f"
_CONTROL_BUT_ESC = r"\\\x00-\x1a\x1c-\x1f\x7f-\x9f"

_MONTH = "(?:0[1-9]|1[0-2])"
_DAY = "(?:0[1-9]|[12][0-9]|3[01])"
_HOUR = "(?:[01][0-9]|2[0-3])"
_MINUTE = "[0-5][0-9]"
_SECOND = "(?:[0-5][0-9]|60)"
_TIME = rf"{_HOUR}(?:{_MINUTE}(?:{_SECOND}(?:\.[0-9]{{1,6}})?)?)?"
_OFFSET = r"(?:\+(?:0[0-9]|1[0-3])[0-5][0-9]|\+1400|-(?!0000)(?:0[0-9]|1[01])[0-5][0-9]|-1200)"
_DATE_TIME = rf"[0-9]{{4}}(?:{_MONTH}(?:{_DAY}(?:{_TIME})?)?)?{_OFFSET}?"
_DATE = "[0-9]{4}(?:0[0-9]|1[0-2])(?:[0-2][0-9]|3[01])"  # bounds as §2.8.2 has them
_COMPONENT = "(?:[1-9][0-9]*+|0)"

LONGEST: Final[Mapping[str, int]] = MappingProxyType(
    {
        "AE": 16, "CS": 16, "DS": 16, "LO": 64, "LT": 10240, "PN": 64, "SH": 16, "ST": 1024,
        "UI": 64,
    }
)  # fmt: skip
"""Longest value of each VR, in characters (PS3.5 Table 6.2-1); of PN, of a component group."""

SIZE: Final[Mapping[str, int]] = MappingProxyType(
    {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "AT": 4, "FD": 8, "SV": 8, "UV": 8}
)
"""Size of one value of the binary VRs that may have several, in bytes (PS3.5 Table 6.2-1)."""


def _compiled(pattern: str) -> Callable[[str], object]:
    return re.compile(f"(?:{pattern})?", re.DOTALL).fullmatch


VALID: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType(
    {
        "AE": _compiled(rf"(?! *\Z)[^{_CONTROL}]{{1,16}}"),
        "AS": _compiled("[0-9]{3}[DWMY]"),
        "CS": _compiled("[A-Z0-9_ ]{1,16}"),
        "DA": _compiled(rf"{_DATE} *+(?:-{_DATE} *+)?"),
        "DS": _compiled(
            r"(?!.{17}) *+[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)? *+"
        ),
        "DT": _compiled(f"{_DATE_TIME} *+"),
        "IS": _compiled(" *+[+-]?[0-9]{1,9} *+"),
        "LO": _compiled(f"[^{_CONTROL_BUT_ESC}]{{1,64}}"),
        "LT": _compiled(".{1,10240}"),
        "PN": _compiled(
            rf"(?!.{{65}})[^=^{_CONTROL_BUT_ESC}]*+(?:\^[^=^{_CONTROL_BUT_ESC}]*+){{0,4}}"
        ),
        "SH": _compiled(f"[^{_CONTROL_BUT_ESC}]{{1,16}}"),
        "ST": _compiled(".{1,1024}"),
        "TM": _compiled(f"{_TIME} *+"),
        "UI": _compiled(rf"(?!.{{65}}){_COMPONENT}(?:\.{_COMPONENT})*+"),
    }
)
"""By VR a test that a single value passes if it is certainly valid; other VRs have no rule."""

CONTROL_BUT_ESC = re.compile(f"[{_CONTROL_BUT_ESC}]")
EIGHT_DIGITS = re.compile("[0-9]{8}")
_CODE = re.compile("[A-Z0-9_ ]*")
_DECIMAL = re.compile(r" *+[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)? *+")
INTEGER = re.compile(" *+[+-]?[0-9]++ *+")
_UID_CHARACTERS = re.compile("[0-9.]*")
_LEADING_ZERO = re.compile(r"(?:^|\.)0[0-9]")


# How many values --------------------------------------------------------------------------


class Multiplicity(NamedTuple):
    """A VM: from ``least`` to ``most`` values in steps of ``step`` (PS3.5 6.4)."""

    least: int
    most: int
    step: int
    text: str

    def allows(self, count: int) -> bool:
        """Whether an element may have this number of values."""
        return self.least <= count <= self.most and (count - self.least) % self.step == 0


_ANY_NUMBER = Multiplicity(0, maxsize, 1, "0-n")
_VM = re.compile("([0-9]+)(?:-([0-9]*)(n)?)?")


@lru_cache(maxsize=8192)
def multiplicity(tag: int) -> Multiplicity:
    """The VM of a tag in the dictionary; anything goes for private and unknown ones."""
    entry = tags.entry(tag)
    match = _VM.fullmatch(entry.vm) if entry else None
    if entry is None or match is None:
        return _ANY_NUMBER
    least = int(match[1])
    if match[3]:
        return Multiplicity(least, maxsize, int(match[2] or 1), entry.vm)
    return Multiplicity(least, int(match[2] or least), 1, entry.vm)


@lru_cache(maxsize=8192)
def takes_one(tag: int) -> bool:
    """Whether an element may have exactly one value."""
    return multiplicity(tag).allows(1)


# Full rules -------------------------------------------------------------------------------


def full_problem(tag: int, vr: str, values: list[str] | None, length: int) -> str | None:
    """What is wrong with an element: the text of its entry, or ``None``.

    Parameters
    ----------
    tag, vr, values, length
        As ``shared.dicom.instance.Checker`` has them.

    References
    ----------
    Spec dicomweb.md §2.8.2; PS3.5 6.2, 6.4, 9.1.
    """
    if values is None:
        return _unread_problem(tag, vr, length)
    padded = bool(values) and values[-1].endswith("\0")
    for value in [*values[:-1], values[-1].rstrip("\0")] if padded else values:
        tail = value_problem(vr, value)
        if tail is not None:
            return entry_text(tag, vr, value, tail)
    if padded or not values or multiplicity(tag).allows(len(values)):
        return None
    return entry_text(tag, vr, "\\".join(values), _count_problem(tag, len(values)))


def _unread_problem(tag: int, vr: str, length: int) -> str | None:
    """Of a binary value, or of a text that is too long to be kept in memory."""
    size = SIZE.get(vr)
    if size is not None:
        count = length // size
        if count == 0 or multiplicity(tag).allows(count):
            return None
        return entry_text(tag, vr, "", _count_problem(tag, count))
    longest = LONGEST.get(vr)
    single = vr in ("LT", "ST") or multiplicity(tag).most == 1
    groups = 3 if vr == "PN" else 1
    if longest is None or not single or length <= 4 * longest * groups:  # 4 bytes a character
        return None
    return entry_text(tag, vr, "", _too_long(vr))


def _count_problem(tag: int, count: int) -> str:
    return f"Number of items {count} does not match ValueMultiplicity {multiplicity(tag).text}"


def entry_text(tag: int, vr: str, value: str, tail: str) -> str:
    """The entry of a breach of the full rules; of a long value only the beginning is shown."""
    shown = value if len(value) <= 256 else f"{value[:256]}…"
    return f'DICOM100: {shown_tag(tag)} - Content "{shown}" does not validate VR {vr}: {tail}'


def shown_tag(tag: int) -> str:
    """``(gggg,eeee)`` in lower case, as the Azure service writes it."""
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"


def value_problem(vr: str, value: str) -> str | None:
    """What is wrong with one value by the full rules: the end of the entry, or ``None``."""
    valid = VALID.get(vr)
    if valid is None or valid(value):
        return None
    return _EXPLAINED[vr](value)


def _too_long(vr: str) -> str:
    return f"value exceeds maximum length of {LONGEST[vr]} characters"


def _application_entity(value: str) -> str | None:
    if len(value) > 16:
        return _too_long("AE")
    if not value.strip(" "):
        return "value may not consist only of spaces"
    return "value contains invalid control character"


def _code_string(value: str) -> str | None:
    if len(value) > 16:
        return _too_long("CS")
    if _CODE.fullmatch(value):
        return None
    return (
        "value contains invalid character. "
        "Only upper case letters, digits, spaces and underscores are allowed"
    )


def _date(value: str) -> str | None:
    components = [component.rstrip(" ") for component in value.split("-")]
    if len(components) > 2 or not all(map(EIGHT_DIGITS.fullmatch, components)):
        return "one of the date values does not match the pattern YYYYMMDD"
    if any(component[4:6] > "12" for component in components):
        return "month component exceeds the value 12"
    if any(component[6:] > "31" for component in components):
        return "day component exceeds the value 31"
    return None


def _decimal_string(value: str) -> str | None:
    if len(value) > 16:
        return _too_long("DS")
    return None if _DECIMAL.fullmatch(value) else "value is no decimal string"


def _integer_string(value: str) -> str | None:
    if not INTEGER.fullmatch(value):
        return "value is not an integer string"
    digits = value.strip(" +-").lstrip("0")
    if len(digits) > 10 or not -(2**31) <= int(value) < 2**31:
        return "value too large to fit 32 bit integer"
    return None


def _text(vr: str) -> Callable[[str], str | None]:
    def explained(value: str) -> str | None:
        if len(value) > LONGEST[vr]:
            return _too_long(vr)
        return "value contains invalid character"

    return explained


def _person_name(value: str) -> str | None:
    groups = value.split("=")
    if len(groups) > 3:
        return "value contains too many groups"
    if any(len(group) > 64 for group in groups):
        return "value exceeds maximum length of 64 characters in a group"
    if any(group.count("^") > 4 for group in groups):
        return "value contains too many components"
    if CONTROL_BUT_ESC.search(value):
        return "value contains invalid control character"
    return None


def _unique_identifier(value: str) -> str | None:
    text = value.rstrip(" ")
    if VALID["UI"](text):
        return None
    if len(text) > 64:
        return _too_long("UI")
    if not _UID_CHARACTERS.fullmatch(text):
        return "value contains invalid characters other than '0'-'9' and '.'"
    if _LEADING_ZERO.search(text):
        return "components must not have leading zeros"
    return "a component can not be empty"


_EXPLAINED: Final[Mapping[str, Callable[[str], str | None]]] = MappingProxyType(
    {
        "AE": _application_entity,
        "AS": lambda _: "value does not have pattern 000[DWMY]",
        "CS": _code_string,
        "DA": _date,
        "DS": _decimal_string,
        "DT": lambda _: "value does not mach pattern YYYY[MM[DD[HH[MM[SS[.F{1-6}]]]]]]",
        "IS": _integer_string,
        "LO": _text("LO"),
        "LT": lambda _: _too_long("LT"),
        "PN": _person_name,
        "SH": _text("SH"),
        "ST": lambda _: _too_long("ST"),
        "TM": lambda _: "value does not mach pattern HH or HHMM or HHMMSS or HHMMSS.F{1-6}",
        "UI": _unique_identifier,
    }
)
"""What is wrong with a value that failed ``VALID`` (the spelling "mach" is the reference's)."""

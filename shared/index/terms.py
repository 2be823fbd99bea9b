"""Search terms: attribute values in the form in which they are compared (spec dicomweb.md §4.4).

A document's ``q`` maps the path of an attribute (``00100020``; ``00400275.00400009`` within a
sequence) to its term. The same functions normalise the values of a query, so that both sides
agree:

=========  =================================================================================
VR         term
=========  =================================================================================
PN         ``{"full": text, "words": " w1 w2"}``, without case and accents
DA         ISO date, ``2024-01-31``
TM         microseconds since midnight
DT         microseconds since the year 0, without regard to a zone
IS … US    number; an FL in single precision
UI         the UID without padding
others     text without case and padding
=========  =================================================================================

An extended query tag has the name ``{level}.{tag}.{number}`` here and in ``d``
(``shared.tags.models``).

A value that does not parse has no term: it is found by none. Of several values the first counts,
except ModalitiesInStudy, which is worked out from the series.

References
----------
PS3.4 C.2.2.2 (attribute matching), PS3.18 8.3.4.1.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any, TypeAlias

from shared.dicom import attributes as dicom
from shared.dicom.instance import JsonElement
from shared.dicom.tags import key as tag_key
from shared.dicom.uid import normalised

Term: TypeAlias = str | int | float | dict[str, str]

_INTEGERS = frozenset({"IS", "SL", "SS", "UL", "US", "SV", "UV"})
_FLOATS = frozenset({"FL", "FD", "DS"})
_PADDING = " \0"
_NAME_WORDS = re.compile(r"[\^=\s]+")
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,6}))?)?)?")
_DATE_TIME = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d(?:\d\d(?:\d\d(?:\.\d{1,6})?)?)?)?([+-]\d{4})?")
_SECOND = 1_000_000
_DAY = 24 * 3600 * _SECOND
_LONGEST = 1_024


def folded_text(value: str) -> str:
    """Text as it is compared: without padding and case, accents kept."""
    return value.strip(_PADDING).casefold()[:_LONGEST]


def folded_name(value: str) -> str:
    """A person name as it is compared: without padding, case and accents."""
    decomposed = unicodedata.normalize("NFKD", value.strip(_PADDING).casefold())
    bare = "".join(each for each in decomposed if not unicodedata.combining(each))
    return unicodedata.normalize("NFKC", bare)[:_LONGEST]


def name_words(value: str) -> list[str]:
    """The words of a person name, folded: split at ``^``, ``=`` and white space."""
    return [word for word in _NAME_WORDS.split(folded_name(value)) if word]


def name_term(value: str) -> dict[str, str]:
    """The term of a person name in its text form, groups joined by ``=``."""
    full = "=".join(group.rstrip("^ ") for group in folded_name(value).split("=")).rstrip("=")
    return {"full": full, "words": "".join(f" {word}" for word in name_words(value))}


def date_term(value: str) -> str | None:
    """``20240131`` as ``2024-01-31``; ``None`` if it is no day of the calendar."""
    text = value.strip(_PADDING)
    if _DATE.fullmatch(text) is None:
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat()
    except ValueError:
        return None


def time_term(value: str) -> int | None:
    """``HH[MM[SS[.F]]]`` as microseconds since midnight; ``None`` if it is no time."""
    found = _TIME.fullmatch(value.strip(_PADDING))
    if found is None:
        return None
    hours, minutes, seconds = (int(found[group] or 0) for group in (1, 2, 3))
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    fraction = int((found[4] or "").ljust(6, "0")) if found[4] else 0
    return (hours * 3600 + minutes * 60 + seconds) * _SECOND + fraction


def date_time_term(value: str) -> int | None:
    """``YYYY[MM[DD[HH[MM[SS[.F]]]]]][±ZZZZ]`` as microseconds; ``None`` if it is none."""
    found = _DATE_TIME.fullmatch(value.strip(_PADDING))
    if found is None:
        return None
    try:
        day = date(int(found[1]), int(found[2] or 1), int(found[3] or 1)).toordinal()
    except ValueError:
        return None
    time = time_term(found[4]) if found[4] else 0
    return None if time is None else day * _DAY + time


def _number(value: Any, vr: str) -> int | float | None:
    try:
        number = float(value)
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if vr in _INTEGERS:
        return whole if abs(number) < 2**53 else None
    if abs(number) == float("inf"):
        return None
    return _single_precision(number) if vr == "FL" else number


def _single_precision(number: float) -> float | None:
    """A number as an FL holds it: what was stored as 0.1 is found by 0.1."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return None


def term(value: Any, vr: str) -> Term | None:
    """The term of one value of the DICOM JSON model, or ``None`` if it has none."""
    if value is None or value == "":
        return None
    if vr in _INTEGERS or vr in _FLOATS:
        return _number(value, vr)
    if vr == "PN":
        text = _name_text(value)
        return name_term(text) if text else None
    if not isinstance(value, str):
        return None
    if vr == "UI":
        return normalised(value) or None
    parse = {"DA": date_term, "TM": time_term, "DT": date_time_term}.get(vr)
    return parse(value) if parse is not None else (folded_text(value) or None)


def _name_text(value: Any) -> str:
    if not isinstance(value, Mapping):
        return ""
    groups = (str(value.get(name) or "") for name in ("Alphabetic", "Ideographic", "Phonetic"))
    return "=".join(groups).rstrip("=")


_PATHS_OF_LEVEL = {
    level: tuple(
        (".".join(map(tag_key, path)), tuple(map(tag_key, path)), key.vr)
        for path, key in dicom.SEARCH_KEYS.items()
        if key.level == level and key.tag not in dicom.COMPUTED
    )
    for level in dicom.LEVELS
}


def level_terms(attributes: Mapping[str, JsonElement], level: dicom.Level) -> dict[str, Any]:
    """The search terms of one level from the attributes of a data set or document."""
    found: dict[str, Any] = {}
    for name, path, vr in _PATHS_OF_LEVEL[level]:
        value = term(_first_value(attributes, path), vr)
        if value is not None:
            found[name] = value
    for name, element in attributes.items():
        if name.startswith(level):  # an extended query tag of this level
            value = term(element["Value"][0], element["vr"])
            if value is not None:
                found[name] = value
    return found


_LEVEL_OF_TERM: dict[str, dicom.Level] = {
    ".".join(map(tag_key, path)): key.level for path, key in dicom.SEARCH_KEYS.items()
}


def level_of_term(name: str) -> str | None:
    """The level of a member of ``q``: of a built-in attribute, or of an extended query tag."""
    return _LEVEL_OF_TERM.get(name) or level_of_extended(name)


def level_of_extended(name: str) -> str | None:
    """The level of an extended query tag by its name in the index (``shared.tags.models``)."""
    level = name.partition(".")[0]
    return level if level in dicom.LEVELS else None


def _first_value(attributes: Mapping[str, JsonElement], path: tuple[str, ...]) -> Any:
    values = (attributes.get(path[0]) or {}).get("Value") or [None]
    if len(path) == 1:
        return values[0]
    return _first_value(values[0], path[1:]) if isinstance(values[0], Mapping) else None


def merge_attributes(
    old: Mapping[str, JsonElement], new: Mapping[str, JsonElement]
) -> dict[str, JsonElement]:
    """The latest value of each attribute; an empty one never takes the place of another."""
    merged = dict(old)
    for tag, element in new.items():
        if has_value(element) or tag not in merged:
            merged[tag] = element
    return merged


def has_value(element: JsonElement | None) -> bool:
    """Whether an element has a value at all."""
    return element is not None and any(
        value not in (None, "", {}) for value in element.get("Value", [])
    )

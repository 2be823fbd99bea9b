"""What a search value means: from the text of a filter to a predicate over search terms.

References
----------
PS3.4 C.2.2.2 (attribute matching); PS3.18 8.3.4.1, 10.6.1.2; spec dicomweb.md §4.4, §8.5.
"""

from __future__ import annotations

import re

from shared.dicom import attributes as dicom
from shared.dicom.tags import key as tag_key
from shared.dicom.uid import normalised
from shared.errors import MalformedQuery
from shared.index import terms
from shared.web.query import Filter
from shared.where import And, Contains, Eq, In, Like, Member, Or, Path, Prefix, Range, Where

_WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_LIST = re.compile(r"[,\\]")
_MOST_UIDS = 1_000


def predicate(wanted: Filter, *, fuzzy: bool) -> Where | None:
    """The predicate of a filter; ``None``: everything matches, the attribute is only returned.

    Raises
    ------
    MalformedQuery
        The value is not one of the attribute's VR; the message names the attribute.
    """
    value = wanted.value.strip(" \0")
    path: Path = ("q", ".".join(map(tag_key, wanted.key.path)))
    if not value or (value == "*" and wanted.key.vr in _WILDCARD_VRS):
        return None  # universal matching, PS3.4 C.2.2.2.3
    if wanted.key.tag == dicom.MODALITIES_IN_STUDY:
        return Member(path, terms.folded_text(value))
    match wanted.key.vr:
        case "UI":
            return _uids(wanted, path, value)
        case "PN":
            return _name(wanted, path, value, fuzzy=fuzzy)
        case "DA":
            return _dates(wanted, path, value)
        case "TM":
            return _times(wanted, path, value)
        case "IS" | "SL" | "SS" | "UL" | "US" | "FL" | "FD":
            return _number(wanted, path, value)
        case _:
            return _text(path, terms.folded_text(value))


def _uids(wanted: Filter, path: Path, value: str) -> Where:
    uids = [normalised(uid.strip()) for uid in _LIST.split(value)]
    uids = [uid for uid in uids if uid]
    if not uids or len(uids) > _MOST_UIDS:
        raise MalformedQuery(
            f"Invalid query: {wanted.name} takes a list of 1 to {_MOST_UIDS} UIDs."
        )
    return Eq(path, uids[0]) if len(uids) == 1 else In(path, tuple(uids))


def _text(path: Path, folded: str) -> Where:
    return Like(path, folded) if "*" in folded or "?" in folded else Eq(path, folded)


def _name(wanted: Filter, path: Path, value: str, *, fuzzy: bool) -> Where:
    words = (*path, "words")
    if fuzzy:
        if '"' in value:
            raise MalformedQuery(f"Invalid query: {wanted.name} must not have a quotation mark.")
        found = terms.name_words(value.replace("*", " "))
        return And(tuple(Contains(words, f" {word}") for word in found))
    full = (*path, "full")
    folded = terms.name_term(value)["full"]
    if "=" in folded:
        return _text(full, folded)
    if "*" in folded or "?" in folded:
        # the pattern is for one component group, wherever in the name that is
        patterns = (folded, f"{folded}=*", f"*={folded}", f"*={folded}=*")
        return Or(tuple(Like(full, pattern) for pattern in patterns))
    groups = Or(
        (Prefix(full, f"{folded}="), Like(full, f"*={folded}"), Contains(full, f"={folded}="))
    )
    return Or((Eq(full, folded), groups))


def _dates(wanted: Filter, path: Path, value: str) -> Where:
    if "-" not in value:
        return Eq(path, _date(wanted, value))
    low, high = _ends(wanted, value)
    return _range(
        wanted,
        path,
        _date(wanted, low) if low else None,
        _date(wanted, high) if high else None,
    )


def _date(wanted: Filter, value: str) -> str:
    found = terms.date_term(value)
    if found is None:
        raise MalformedQuery(
            f"Invalid query: specified Date value '{value}' is invalid for attribute "
            f"'{wanted.key.keyword}'. Date should be valid and formatted as yyyyMMdd."
        )
    return found


def _times(wanted: Filter, path: Path, value: str) -> Where:
    """A time stands for all moments that begin like it: ``10`` for the whole hour."""
    if "-" not in value:
        return _range(wanted, path, _time(wanted, value, ""), _time(wanted, value, "end"))
    low, high = _ends(wanted, value)
    return _range(
        wanted,
        path,
        _time(wanted, low, "") if low else None,
        _time(wanted, high, "end") if high else None,
    )


_LATEST = {2: "5959.999999", 4: "59.999999", 6: ".999999"}


def _time(wanted: Filter, value: str, side: str) -> int:
    text = value.strip()
    found = terms.time_term(text + (_LATEST.get(len(text), "") if side else ""))
    if found is None or terms.time_term(text) is None:
        raise MalformedQuery(
            f"Invalid query: specified Time value is invalid for attribute "
            f"'{wanted.key.keyword}'. Time should be formatted as HH, HHmm, HHmmss or "
            "HHmmss.FFFFFF."
        )
    return found


def _ends(wanted: Filter, value: str) -> tuple[str, str]:
    low, _, high = value.partition("-")
    if not (low.strip() or high.strip()) or "-" in high:
        raise MalformedQuery(f"Invalid query: {wanted.name} has a range without ends.")
    return low.strip(), high.strip()


def _range(wanted: Filter, path: Path, low: str | int | None, high: str | int | None) -> Where:
    if low is not None and high is not None and low > high:  # type: ignore[operator] # one type
        raise MalformedQuery(f"Invalid query: the range of {wanted.name} ends before it begins.")
    return Range(path, low, high)


def _number(wanted: Filter, path: Path, value: str) -> Where:
    number = terms.term(value, wanted.key.vr)
    if not isinstance(number, int | float):
        raise MalformedQuery(f"Invalid query: {wanted.name} must be a number.")
    return Eq(path, number)

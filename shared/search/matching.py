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
from shared.search import moments
from shared.web.query import Filter, SearchQuery
from shared.where import And, Contains, Eq, Exists, In, Like, Member, Not, Or, Path, Where

MOST_CHARACTERS = 1_024
"""Longest value of a filter, except of a list of UIDs."""
MOST_UIDS = 1_000
MOST_VALUES = 100
MOST_WORDS = 20
MOST_STARS = 16
_MOST_UID_CHARACTERS = 66 * MOST_UIDS

_WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_SINGLE_VALUED = frozenset({"LT", "ST", "UI", "UR", "UT"})  # a backslash is text, or lists UIDs
_INTEGERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_FLOATS = frozenset({"DS", "FD", "FL"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT = re.compile(r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]{1,3})?")
_LIST = re.compile(r"[,\\]")
EMPTY = '""'
"""The value by which an attribute is found that has none (PS3.18 8.3.4.5)."""


def conditions(query: SearchQuery) -> list[Where]:
    """What a result has to fulfil, all of it.

    Raises
    ------
    MalformedQuery
        A value is malformed or costs too much; the message names the attribute.
    """
    found: list[Where] = []
    paired = moments.pairs(query.filters) if query.combined else []
    together = {part.key.path for pair in paired for part in pair}
    for date, time in paired:
        found.append(moments.interval(date, path_of(date), time, path_of(time)))
    for wanted in query.filters:
        if wanted.key.path not in together:
            matches = predicate(
                wanted,
                fuzzy=query.fuzzy,
                empty_values=query.empty_values,
                multiple_values=query.multiple_values,
            )
            if matches is not None:
                found.append(matches)
    return found


def predicate(
    wanted: Filter, *, fuzzy: bool, empty_values: bool = False, multiple_values: bool = False
) -> Where | None:
    """The predicate of a filter; ``None``: everything matches, the attribute is only returned.

    Raises
    ------
    MalformedQuery
        The value is not one of the attribute's VR; the message names the attribute.
    """
    value = wanted.value.strip(" \0")
    _require_short(wanted, value)
    if empty_values and value == EMPTY:
        return _without_value(wanted)
    if not (multiple_values and "\\" in value) or wanted.key.vr in _SINGLE_VALUED:
        return _single(wanted, value, fuzzy=fuzzy)
    values = [part for part in (part.strip() for part in value.split("\\")) if part]
    if not 1 <= len(values) <= MOST_VALUES:
        raise MalformedQuery(
            f"Invalid query: {wanted.name} takes a list of 1 to {MOST_VALUES} values."
        )
    any_of = [_single(wanted, part, fuzzy=fuzzy) for part in values]
    known = tuple(term for term in any_of if term is not None)
    return Or(known) if len(known) == len(any_of) else None


def path_of(wanted: Filter) -> Path:
    """Where a document keeps the term of a filter's attribute."""
    return ("q", wanted.key.stored_as or ".".join(map(tag_key, wanted.key.path)))


def _require_short(wanted: Filter, value: str) -> None:
    most = _MOST_UID_CHARACTERS if wanted.key.vr == "UI" else MOST_CHARACTERS
    if len(value) > most:
        raise MalformedQuery(f"Invalid query: {wanted.name} has more than {most} characters.")
    if wanted.key.vr in _WILDCARD_VRS and value.count("*") > MOST_STARS:
        raise MalformedQuery(
            f"Invalid query: {wanted.name} has more than {MOST_STARS} wildcards '*'."
        )


def _without_value(wanted: Filter) -> Where:
    """Empty Value Matching (PS3.4 C.2.2.2.7): the attribute is empty or not there."""
    if wanted.key.tag == dicom.MODALITIES_IN_STUDY:
        raise MalformedQuery(f"Invalid query: {wanted.name} cannot be matched by an empty value.")
    return Not(Exists(path_of(wanted)))


def _single(wanted: Filter, value: str, *, fuzzy: bool) -> Where | None:
    path, vr = path_of(wanted), wanted.key.vr
    if not value or (vr in _WILDCARD_VRS and not value.strip("*")):
        return None  # universal matching, PS3.4 C.2.2.2.3
    if wanted.key.tag == dicom.MODALITIES_IN_STUDY:
        return _modality(wanted, path, value)
    if vr == "UI":
        return _uids(wanted, path, value)
    if vr == "PN":
        return _name(wanted, path, value, fuzzy=fuzzy)
    if vr in moments.VRS:
        return moments.predicate(wanted, path, value)
    if vr in _INTEGERS or vr in _FLOATS:
        return _number(wanted, path, value)
    return _text(path, terms.folded_text(value), wild=vr in _WILDCARD_VRS)


def _modality(wanted: Filter, path: Path, value: str) -> Where:
    if "*" in value or "?" in value:
        raise MalformedQuery(f"Invalid query: {wanted.name} takes no wildcards.")
    return Member(path, terms.folded_text(value))


def _uids(wanted: Filter, path: Path, value: str) -> Where:
    uids = [normalised(uid.strip()) for uid in _LIST.split(value)]
    uids = [uid for uid in uids if uid]
    if not uids or len(uids) > MOST_UIDS:
        raise MalformedQuery(f"Invalid query: {wanted.name} takes a list of 1 to {MOST_UIDS} UIDs.")
    return Eq(path, uids[0]) if len(uids) == 1 else In(path, tuple(dict.fromkeys(uids)))


def _text(path: Path, folded: str, *, wild: bool = True) -> Where:
    return Like(path, folded) if wild and ("*" in folded or "?" in folded) else Eq(path, folded)


def _name(wanted: Filter, path: Path, value: str, *, fuzzy: bool) -> Where:
    if fuzzy:
        return _words(wanted, (*path, "words"), value)
    full = (*path, "full")
    folded = terms.name_term(value)["full"]
    if "=" in folded:
        return _text(full, folded)
    # the value is for one component group, wherever in the name that is; each of these is a range
    # of the index of names, so none of them reads other documents
    patterns = (f"{folded}=*", f"*={folded}", f"*={folded}=*")
    return Or((_text(full, folded), *(Like(full, pattern) for pattern in patterns)))


def _words(wanted: Filter, path: Path, value: str) -> Where:
    """Each word of the value begins a word of the name, in any order and any group."""
    if '"' in value:
        raise MalformedQuery(f"Invalid query: {wanted.name} must not have a quotation mark.")
    found = dict.fromkeys(terms.name_words(re.sub("[*?]", " ", value)))
    if len(found) > MOST_WORDS:
        raise MalformedQuery(f"Invalid query: {wanted.name} has more than {MOST_WORDS} words.")
    return And(tuple(Contains(path, f" {word}") for word in found))


def _number(wanted: Filter, path: Path, value: str) -> Where:
    form = _INTEGER if wanted.key.vr in _INTEGERS else _FLOAT
    number = None
    if form.fullmatch(value):
        number = terms.term(int(value) if form is _INTEGER else float(value), wanted.key.vr)
    if not isinstance(number, int | float):
        raise MalformedQuery(f"Invalid query: {wanted.name} must be a number.")
    return Eq(path, number)

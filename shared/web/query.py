"""Search parameters: which keys, which fields, which page (PS3.18 8.3.4, 10.6.1; spec §4).

Only the form is judged here; what a value means is for ``shared.search.matching``.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from shared.dicom import attributes as dicom
from shared.dicom import tags
from shared.errors import MalformedQuery

DEFAULT_LIMIT = 100
MOST_FIELDS = 500
"""Largest number of attributes that ``includefield`` may name."""

_DEEPEST = 16
_T = TypeVar("_T")
_HEX_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_POSITION = re.compile(r"(\d{19}) ([!-~]{1,200})")
_ANGLE = re.compile(r"<|%3c", re.IGNORECASE)
_NOT_QUERYABLE = (
    "Invalid query: AttributeId {name} is not queryable.  If the parameter is an attribute "
    "keyword, check the casing as they are case-sensitive. The conformance statement has a list "
    "of supported query parameters, attributes and the levels."
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a search resource matches and returns (spec §4.1).

    Parameters
    ----------
    level : str
        What each result is: ``study``, ``series`` or ``instance``.
    levels : tuple of str
        Levels whose attributes may be matched and are returned.
    path : frozenset of int
        UIDs that the path gives.
    keys : Mapping
        Attributes that can be matched, by path.
    """

    level: dicom.Level
    levels: tuple[dicom.Level, ...]
    path: frozenset[int] = frozenset()
    keys: Mapping[tuple[int, ...], dicom.SearchKey] = field(
        default_factory=lambda: dicom.SEARCH_KEYS, hash=False
    )


_STUDY_UID, _SERIES_UID = tags.STUDY_INSTANCE_UID, tags.SERIES_INSTANCE_UID
STUDIES = Scope("study", ("study",))
SERIES = Scope("series", ("study", "series"))
INSTANCES = Scope("instance", ("study", "series", "instance"))
SERIES_OF_STUDY = Scope("series", ("series",), frozenset({_STUDY_UID}))
INSTANCES_OF_STUDY = Scope("instance", ("series", "instance"), frozenset({_STUDY_UID}))
INSTANCES_OF_SERIES = Scope("instance", ("instance",), frozenset({_STUDY_UID, _SERIES_UID}))


@dataclass(frozen=True, slots=True)
class Filter:
    """One attribute to match. ``name`` is as the client spelled it."""

    name: str
    key: dicom.SearchKey
    value: str


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search.

    Parameters
    ----------
    filters : tuple of Filter
        All of them have to match.
    fields : frozenset of int
        Top-level attributes asked for by ``includefield``.
    all_fields : bool
        ``includefield=all``.
    limit, offset : int
        Most results, and how many to leave out before them.
    fuzzy : bool
        Person names match by the beginnings of their words.
    after : tuple of str, optional
        Version and id of the last result of the page before (``continuation``).
    empty_values : bool
        ``""`` matches what has no value (PS3.4 C.2.2.2.7).
    multiple_values : bool
        Values with a backslash between them match any of them (PS3.4 C.2.2.2.8).
    combined : bool
        A range of dates and one of times are one interval (PS3.4 C.2.2.2.5).
    extended : tuple of SearchKey
        Extended query tags whose values are returned: those matched, and those asked for.
    """

    filters: tuple[Filter, ...] = ()
    fields: frozenset[int] = frozenset()
    all_fields: bool = False
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    fuzzy: bool = False
    after: tuple[str, str] | None = None
    empty_values: bool = False
    multiple_values: bool = False
    combined: bool = False
    extended: tuple[dicom.SearchKey, ...] = ()


def continuation(version: str, document_id: str) -> str:
    """An opaque text for a place in the order of results, for ``continuation``."""
    return base64.urlsafe_b64encode(f"{version} {document_id}".encode()).decode().rstrip("=")


def require_harmless(raw_query: str) -> None:
    """Refuse a query string with ``<`` or ``%3c`` anywhere (spec §4.5).

    Raises
    ------
    MalformedQuery
        There is one.
    """
    if _ANGLE.search(raw_query):
        raise MalformedQuery("Invalid query: the character '<' is not allowed.")


@dataclass(frozen=True, slots=True)
class ExtendedKeys:
    """The extended query tags of a tenant, by tag: those to search by, and why not by others."""

    usable: Mapping[int, dicom.SearchKey] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)


def names_unknown_attribute(items: Iterable[tuple[str, str]]) -> bool:
    """Whether a parameter, or a field that is asked for, may be an extended query tag."""
    for name, value in items:
        words = [name] if name.lower() not in _PARAMETERS else []
        words += value.split(",") if name.lower() == "includefield" else []
        if any(word.strip() and not _is_built_in(word.strip()) for word in words):
            return True
    return False


def _is_built_in(word: str) -> bool:
    tag = _tag(word)
    return tag is not None and (tag,) in dicom.SEARCH_KEYS


def parse_search_query(
    items: Iterable[tuple[str, str]],
    scope: Scope,
    *,
    most: int,
    extended: ExtendedKeys | None = None,
) -> SearchQuery:
    """The search that a query string asks for.

    Parameters
    ----------
    items : Iterable of (name, value)
        Decoded, in their order, repeated names included. Nameless ones are passed over.
    scope : Scope
        Of the resource.
    most : int
        Largest ``limit``.
    extended : ExtendedKeys, optional
        Further attributes that can be searched.

    Raises
    ------
    MalformedQuery
        A parameter is unknown, malformed or given twice; the message names it.

    References
    ----------
    PS3.18 8.3.4, 10.6.1.2.
    """
    collected = _Collected(scope, most, extended or ExtendedKeys())
    for name, value in items:
        if name:
            collected.take(name, value)
    if collected.after is not None and collected.offset is not None:
        raise MalformedQuery("Invalid query: offset cannot be given with continuation.")
    return SearchQuery(
        tuple(collected.filters.values()),
        frozenset(collected.fields),
        collected.all_fields,
        collected.limit if collected.limit is not None else min(DEFAULT_LIMIT, most),
        collected.offset or 0,
        extended=collected.extended_fields(),
        after=collected.after,
        **{name: bool(value) for name, value in collected.switches.items()},
    )


_SWITCHES = {
    "fuzzymatching": "fuzzy",
    "emptyvaluematching": "empty_values",
    "multiplevaluematching": "multiple_values",
    "combineddatetime": "combined",  # ours: PS3.18 has no parameter for it
}


_PARAMETERS = frozenset({"includefield", "limit", "offset", "continuation", *_SWITCHES})


@dataclass(slots=True)
class _Collected:
    scope: Scope
    most: int
    extended: ExtendedKeys
    filters: dict[tuple[int, ...], Filter] = field(default_factory=dict)
    fields: set[int] = field(default_factory=set)
    all_fields: bool = False
    limit: int | None = None
    offset: int | None = None
    after: tuple[str, str] | None = None
    switches: dict[str, bool | None] = field(default_factory=dict)

    def take(self, name: str, value: str) -> None:
        match name.lower():
            case "includefield":
                self._take_fields(value)
            case "limit":
                self.limit = _once(name, self.limit, _number(name, value, 1, self.most))
            case "offset":
                self.offset = _once(name, self.offset, _number(name, value, 0, 2**31 - 1))
            case "continuation":
                self.after = _once(name, self.after, _position(name, value))
            case word if word in _SWITCHES:
                switch = _SWITCHES[word]
                self.switches[switch] = _once(name, self.switches.get(switch), _truth(name, value))
            case _:
                self._take_filter(name, value)

    def _take_fields(self, value: str) -> None:
        for element in value.split(","):
            word = element.strip()
            if word.lower() == "all":
                self.all_fields = True
            elif word:
                self.fields.add(_path("includefield", word)[0])
        if len(self.fields) > MOST_FIELDS:
            raise MalformedQuery(
                f"Invalid query: includefield names more than {MOST_FIELDS} attributes."
            )

    def extended_fields(self) -> tuple[dicom.SearchKey, ...]:
        """The extended query tags that results show, as far as the index has them there."""
        reachable = dicom.LEVELS[: dicom.LEVELS.index(self.scope.level) + 1]
        wanted = self.fields | {each.key.path[0] for each in self.filters.values()}
        found = (self.extended.usable.get(tag) for tag in sorted(wanted))
        return tuple(key for key in found if key is not None and key.level in reachable)

    def _extended_key(self, name: str, tag: int) -> dicom.SearchKey | None:
        if tag in self.extended.refused:
            why = self.extended.refused[tag]
            raise MalformedQuery(
                f"Invalid query: AttributeId {_shown(name)} is not queryable: {why}"
            )
        return self.extended.usable.get(tag)

    def _take_filter(self, name: str, value: str) -> None:
        path = _path(name, name)
        key = self.scope.keys.get(path)
        if key is None and len(path) == 1:
            key = self._extended_key(name, path[0])
        # a UID of the path may be given once more: some clients do (dicomtrolley)
        if key is None or (key.level not in self.scope.levels and path[0] not in self.scope.path):
            raise MalformedQuery(_NOT_QUERYABLE.format(name=_shown(name)))
        if path in self.filters:
            raise MalformedQuery(f"Invalid query: {_shown(name)} is given more than once.")
        self.filters[path] = Filter(name, key, value)


def _once(name: str, before: _T | None, now: _T) -> _T:
    if before is not None:
        raise MalformedQuery(f"Invalid query: {name} is given more than once.")
    return now


def _path(parameter: str, text: str) -> tuple[int, ...]:
    """The tags of an attribute identifier: keywords or hexadecimal tags, joined by dots."""
    found = [_tag(word) for word in text.split(".", _DEEPEST)]
    known = [tag for tag in found if tag is not None]
    if len(known) != len(found):
        where = "" if parameter == text else f" in {parameter}"
        raise MalformedQuery(
            f"Invalid query: {_shown(text)}{where} is no attribute that is known. Keywords are "
            "case-sensitive; tags have eight hexadecimal digits."
        )
    return tuple(known)


def _tag(word: str) -> int | None:
    if _HEX_TAG.fullmatch(word):
        tag = int(word, 16)
        return tag if tags.is_private(tag) or tags.entry(tag) is not None else None
    return tags.tag_of(word)


def _number(name: str, value: str, least: int, most: int) -> int:
    text = value.strip()
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise MalformedQuery(f"Invalid query: {name} must be a whole number.")
    if not least <= int(text) <= most:
        raise MalformedQuery(f"Invalid query: {name} must be from {least} to {most}.")
    return int(text)


def _position(name: str, value: str) -> tuple[str, str]:
    try:
        text = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise MalformedQuery(f"Invalid query: {name} is not one that this service gave out.")
    return found[1], found[2]


def _truth(name: str, value: str) -> bool:
    words: Sequence[str] = ("false", "true")
    if value.strip().lower() not in words:
        raise MalformedQuery(f"Invalid query: {name} must be true or false.")
    return value.strip().lower() == "true"


def _shown(name: str) -> str:
    """What a client sent, short and harmless enough to repeat to it."""
    return "".join(letter for letter in name[:100] if letter.isprintable())

"""Typed predicates over JSON documents, the one query language of the ``Documents`` port.

A path is a tuple of member names, e.g. ``("q", "00100020")``. Comparison of text is by code
point and case-sensitive: what is to be matched without case is stored folded. A document that
lacks the path matches none of the comparisons (and so matches their ``Not``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Path: TypeAlias = tuple[str, ...]
Scalar: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Eq:
    """The value at ``path`` equals ``value``, in type as well."""

    path: Path
    value: Scalar


@dataclass(frozen=True, slots=True)
class Range:
    """``low <= value <= high``; an end that is ``None`` is open. Both ends have one type."""

    path: Path
    low: str | int | float | None = None
    high: str | int | float | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """The text at ``path`` starts with ``text``."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Like:
    """The whole text matches a DICOM wildcard pattern: ``*`` any run, ``?`` one character.

    Every other character, ``%``, ``_``, ``[`` and the backslash included, stands for itself.
    """

    path: Path
    pattern: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The text at ``path`` holds ``text`` somewhere."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class In:
    """The value at ``path`` is one of ``values`` (at least one)."""

    path: Path
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """The array at ``path`` has an element that equals ``value``."""

    path: Path
    value: Scalar


@dataclass(frozen=True, slots=True)
class Exists:
    """The path is there and not ``null``."""

    path: Path


@dataclass(frozen=True, slots=True)
class And:
    """All of ``terms``; of none: every document."""

    terms: tuple[Where, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of ``terms``; of none: no document."""

    terms: tuple[Where, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not ``term``."""

    term: Where


Where: TypeAlias = Eq | Range | Prefix | Like | Contains | In | Member | Exists | And | Or | Not


@dataclass(frozen=True, slots=True)
class Order:
    """Sort by the scalar at ``path``. Documents that lack it come last, in either direction."""

    path: Path
    descending: bool = False

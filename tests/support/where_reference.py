"""The meaning of ``Where`` and of a page in Python: what each body must agree with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cmp_to_key
from typing import Any

from shared.ports import Json, JsonObject
from shared.where import (
    And,
    Contains,
    Eq,
    Exists,
    In,
    Like,
    Member,
    Not,
    Or,
    Order,
    Path,
    Prefix,
    Range,
    Scalar,
    Where,
)


def value_at(body: Json, path: Path) -> Json:
    """The value at a path, or ``None``."""
    for name in path:
        if not isinstance(body, dict) or name not in body:
            return None
        body = body[name]
    return body


def _kind(value: Json) -> str | None:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else None


def _equal(one: Json, other: Json) -> bool:
    return _kind(one) is not None and _kind(one) == _kind(other) and bool(one == other)


def _in_range(value: Json, low: Json, high: Json) -> bool:
    kind = _kind(value)
    if kind not in {"text", "number"} or any(
        bound is not None and _kind(bound) != kind for bound in (low, high)
    ):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def _like(value: Json, pattern: str) -> bool:
    wild = {"*": ".*", "?": "."}
    expression = "".join(wild.get(character) or re.escape(character) for character in pattern)
    return isinstance(value, str) and re.fullmatch(expression, value, re.DOTALL) is not None


_SIMPLE: dict[type, Callable[[Any, Json], bool]] = {
    Eq: lambda where, value: _equal(value, where.value),
    In: lambda where, value: any(_equal(value, one) for one in where.values),
    Range: lambda where, value: _in_range(value, where.low, where.high),
    Prefix: lambda where, value: isinstance(value, str) and value.startswith(where.text),
    Contains: lambda where, value: isinstance(value, str) and where.text in value,
    Like: lambda where, value: _like(value, where.pattern),
    Member: lambda where, value: (
        isinstance(value, list) and any(_equal(one, where.value) for one in value)
    ),
    Exists: lambda where, value: value is not None,
}


def matches(where: Where, body: JsonObject) -> bool:
    """Whether a document matches."""
    if isinstance(where, And):
        return all(matches(term, body) for term in where.terms)
    if isinstance(where, Or):
        return any(matches(term, body) for term in where.terms)
    if isinstance(where, Not):
        return not matches(where.term, body)
    return _SIMPLE[type(where)](where, value_at(body, where.path))


def _compare(order: Sequence[Order], one: Sequence[Json], other: Sequence[Json]) -> int:
    for key, left, right in zip(order, one, other, strict=True):
        if left is None or right is None:
            if (left is None) != (right is None):
                return 1 if left is None else -1
        elif left != right:
            return (1 if left > right else -1) * (-1 if key.descending else 1)
    return 0


def page(
    documents: Sequence[JsonObject],
    where: Where,
    order: Sequence[Order],
    *,
    limit: int,
    after: Sequence[Scalar] | None = None,
    skip: int = 0,
) -> list[JsonObject]:
    """The page that ``Documents.query`` gives."""

    def keys(body: JsonObject) -> list[Json]:
        return [value_at(body, key.path) for key in order]

    found = [body for body in documents if matches(where, body)]
    found.sort(key=cmp_to_key(lambda one, other: _compare(order, keys(one), keys(other))))
    if after is not None:
        found = [body for body in found if _compare(order, keys(body), list(after)) > 0]
    return found[skip : skip + limit]

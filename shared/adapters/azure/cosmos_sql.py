"""Typed predicates as Cosmos DB SQL, and the indexing policies that serve them. Pure.

Every value of a query is a parameter. A patch condition takes no parameters: there, values are
literals, written as JSON, which is what the dialect's literals are.

A comparison with an absent member is *undefined*, also under ``NOT``. So a negated term is first
made false where it is undefined.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.index.schema import ContainerSchema
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

_ALWAYS_THERE = frozenset({("id",), ("type",), ("partition",), ("version",), ("sequence",)})
"""Sort keys that every document has which is ever sorted by them: one query finds all."""

_ESCAPE = "!"


@dataclass(slots=True)
class Query:
    """A statement with its parameters, in the form that the SDK takes."""

    text: str = ""
    values: list[Json] = field(default_factory=list)

    def parameter(self, value: Json) -> str:
        """The name of a parameter that holds a value."""
        self.values.append(value)
        return f"@p{len(self.values) - 1}"

    @property
    def parameters(self) -> list[dict[str, Json]]:
        """Names and values."""
        return [{"name": f"@p{number}", "value": value} for number, value in enumerate(self.values)]


def member_path(path: Path) -> str:
    """A path as an expression, e.g. ``c["q"]["00100020"]``."""
    return "c" + "".join(f"[{json.dumps(name)}]" for name in path)


# Predicates -------------------------------------------------------------------------------


def condition(query: Query, where: Where) -> str:
    """An expression that is true for the documents that match, else false or undefined."""
    return _COMPILERS[type(where)](query, where)


def _eq(query: Query, where: Eq) -> str:
    return f"{member_path(where.path)} = {query.parameter(where.value)}"


def _in(query: Query, where: In) -> str:
    values = ", ".join(query.parameter(value) for value in where.values)
    return f"{member_path(where.path)} IN ({values})"


def _range(query: Query, where: Range) -> str:
    path = member_path(where.path)
    bounds = []
    if where.low is not None:
        bounds.append(f"{path} >= {query.parameter(where.low)}")
    if where.high is not None:
        bounds.append(f"{path} <= {query.parameter(where.high)}")
    return f"({' AND '.join(bounds) or f'IS_STRING({path}) OR IS_NUMBER({path})'})"


def _prefix(query: Query, where: Prefix) -> str:
    return f"STARTSWITH({member_path(where.path)}, {query.parameter(where.text)})"


def _contains(query: Query, where: Contains) -> str:
    return f"CONTAINS({member_path(where.path)}, {query.parameter(where.text)})"


def _like(query: Query, where: Like) -> str:
    """The cheapest function that does it: a prefix is an index seek, the rest are scans."""
    path, pattern = member_path(where.path), where.pattern
    inner = pattern.strip("*")
    if "*" not in inner and "?" not in inner:
        function = _FUNCTIONS.get((pattern.startswith("*"), pattern.endswith("*")))
        if function is None:
            return f"{path} = {query.parameter(pattern)}"
        return f"{function}({path}, {query.parameter(inner)})"
    return f"{path} LIKE {query.parameter(_like_pattern(pattern))} ESCAPE '{_ESCAPE}'"


_FUNCTIONS = {(True, True): "CONTAINS", (True, False): "ENDSWITH", (False, True): "STARTSWITH"}
"""Which function matches a text between stars, by: a star before it, a star behind it."""


def _like_pattern(pattern: str) -> str:
    wildcards = {"*": "%", "?": "_"}
    special = set("%_[]^-" + _ESCAPE)
    return "".join(
        wildcards.get(character) or (_ESCAPE + character if character in special else character)
        for character in pattern
    )


def _member(query: Query, where: Member) -> str:
    return f"ARRAY_CONTAINS({member_path(where.path)}, {query.parameter(where.value)})"


def _exists(_: Query, where: Exists) -> str:
    path = member_path(where.path)
    return f"(IS_DEFINED({path}) AND NOT IS_NULL({path}))"


def _and(query: Query, where: And) -> str:
    return _joined(query, where.terms, " AND ") or "true"


def _or(query: Query, where: Or) -> str:
    return _joined(query, where.terms, " OR ") or "false"


def _joined(query: Query, terms: Sequence[Where], operator: str) -> str:
    return f"({operator.join(condition(query, term) for term in terms)})" if terms else ""


def _not(query: Query, where: Not) -> str:
    return f"NOT (({condition(query, where.term)}) ?? false)"


_COMPILERS: dict[type, Callable[[Query, Any], str]] = {
    Eq: _eq,
    Range: _range,
    Prefix: _prefix,
    Like: _like,
    Contains: _contains,
    In: _in,
    Member: _member,
    Exists: _exists,
    And: _and,
    Or: _or,
    Not: _not,
}


# Pages ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What ``Documents.query`` asks for, without the container's client."""

    schema: ContainerSchema
    where: Where
    order: tuple[Order, ...] = ()
    after: tuple[Scalar, ...] | None = None
    partition: str | None = None
    members: tuple[str, ...] | None = None


def page_query(request: PageRequest, limit: int, skip: int = 0) -> Query:
    """The statement for the documents that have all sort keys.

    ``TOP`` and not ``LIMIT``, unless documents are to be skipped: an offset costs what it skips.
    """
    query = Query()
    terms = _terms(query, request)
    terms += [f"IS_DEFINED({member_path(path)})" for path in _doubtful(request)]
    if request.after is not None:
        terms.append(_behind(query, request.order, request.after))
    query.text = _select(request, terms, request.order, limit, skip)
    return query


def lacking_query(request: PageRequest, limit: int, skip: int = 0) -> Query | None:
    """The statement for the documents that lack a sort key and so come last.

    ``None`` where there can be none. They are sorted by the other keys.
    """
    doubtful = _doubtful(request)
    if not doubtful:
        return None
    query = Query()
    defined = " AND ".join(f"IS_DEFINED({member_path(path)})" for path in doubtful)
    terms = [*_terms(query, request), f"NOT ({defined})"]
    order = tuple(key for key in request.order if key.path not in doubtful)
    query.text = _select(request, terms, order, limit, skip)
    return query


def count_query(request: PageRequest) -> Query:
    """The statement that counts the documents of ``page_query``, on all pages."""
    query = Query()
    terms = _terms(query, request)
    terms += [f"IS_DEFINED({member_path(path)})" for path in _doubtful(request)]
    query.text = f"SELECT VALUE COUNT(1) FROM c WHERE {_all_of(terms)}"  # noqa: S608 - parameters
    return query


def _terms(query: Query, request: PageRequest) -> list[str]:
    terms = []
    if request.partition is not None:
        key = member_path((request.schema.partition_key,))
        terms.append(f"{key} = {query.parameter(request.partition)}")
    return [*terms, condition(query, request.where)]


def _doubtful(request: PageRequest) -> list[Path]:
    present = _present_paths(request.where) | _ALWAYS_THERE | {(request.schema.partition_key,)}
    return [key.path for key in request.order if key.path not in present]


def _present_paths(where: Where) -> frozenset[Path]:
    if isinstance(where, And):
        return frozenset().union(*(_present_paths(term) for term in where.terms))
    return frozenset() if isinstance(where, Or | Not) else frozenset({where.path})


def _select(
    request: PageRequest, terms: list[str], order: Sequence[Order], limit: int, skip: int
) -> str:
    top = "" if skip else f"TOP {limit} "
    members = "*"
    if request.members is not None:
        members = ", ".join(member_path((name,)) for name in request.members or ("id",))
    text = f"SELECT {top}{members} FROM c WHERE {_all_of(terms)}"  # noqa: S608 - parameters
    if order:
        keys = (f"{member_path(key.path)} {'DESC' if key.descending else 'ASC'}" for key in order)
        text += f" ORDER BY {', '.join(keys)}"
    if skip:
        text += f" OFFSET {skip} LIMIT {limit}"
    return text


def _all_of(terms: Sequence[str]) -> str:
    return " AND ".join(terms)


def _behind(query: Query, order: Sequence[Order], after: Sequence[Scalar]) -> str:
    if len(order) != len(after):
        raise ValueError("after has as many values as order has keys")
    ways, equal = [], ""
    for key, last in zip(order, after, strict=True):
        path, value = member_path(key.path), query.parameter(last)
        ways.append(f"({equal}{path} {'<' if key.descending else '>'} {value})")
        equal += f"{path} = {value} AND "
    return f"({' OR '.join(ways)})"


# Patches ----------------------------------------------------------------------------------


def patch_condition(when: Mapping[Path, Scalar]) -> str | None:
    """The filter predicate of a patch, or ``None`` if it has no condition."""
    if not when:
        return None
    terms = (f"{member_path(path)} = {json.dumps(value)}" for path, value in when.items())
    return f"from c where {' AND '.join(terms)}"


def patch_pointer(path: Path) -> str:
    """A path as a JSON pointer.

    References
    ----------
    RFC 6901 3
    """
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


# Containers -------------------------------------------------------------------------------


def indexing_policy(schema: ContainerSchema) -> JsonObject:
    """The indexing policy of a container, as Cosmos DB and Bicep spell it."""
    return {
        "indexingMode": "consistent",
        "automatic": True,
        "includedPaths": [{"path": f"{_index_path(path)}/*"} for path in schema.indexed],
        "excludedPaths": [{"path": "/*"}],
        "compositeIndexes": [
            [
                {
                    "path": _index_path(key.path),
                    "order": "descending" if key.descending else "ascending",
                }
                for key in keys
            ]
            for keys in schema.composite
        ],
    }


def _index_path(path: Path) -> str:
    return "".join(f"/{name}" for name in path)

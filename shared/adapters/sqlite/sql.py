"""Typed predicates as SQLite expressions. Every value is a parameter; so is every JSON path."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from shared.adapters.sqlite.layout import (
    ARRAY,
    SqlValue,
    Table,
    element_bytes,
    sql_scalar,
    sql_text,
    sql_value,
    value_at,
)
from shared.ports import Json
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

_LONGEST_GLOB = 10_000
_LAST_CHARACTER = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)
_LEAST_TEXT = "''"
_LEAST_BLOB = "x''"


class Statement:
    """The expressions of one statement over one table, and its parameters."""

    def __init__(self, table: Table, present: frozenset[Path] = frozenset()) -> None:
        self.table = table
        self.present = present | {("id",), (table.schema.partition_key,)}
        self.parameters: dict[str, SqlValue] = {}
        self._names: dict[tuple[type, SqlValue], str] = {}

    def parameter(self, value: SqlValue) -> str:
        """A placeholder for a value; the same one for the same value."""
        key = (type(value), value)
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"p{len(self._names)}"
            self.parameters[name] = value
        return f":{name}"

    def where(self, where: Where) -> str:
        """An expression that is true for the documents that match, else false or null."""
        return _COMPILERS[type(where)](self, where)

    def value(self, path: Path) -> str:
        """The value at a path as ``layout.sql_value`` gives it; null if there is none."""
        column = self.table.columns.get(path)
        if column is not None:
            return column
        exact = f'scalar_at("body", {self.parameter(json.dumps(path))})'
        source, json_path = self._json(path)
        if json_path is None:
            return exact
        kind, extract = f"json_type({source}, {json_path})", f"json_extract({source}, {json_path})"
        return (
            f'CASE WHEN "odd" THEN {exact} ELSE CASE {kind} '
            f"WHEN 'text' THEN {extract} WHEN 'integer' THEN {extract} WHEN 'real' THEN {extract} "
            "WHEN 'true' THEN x'01' WHEN 'false' THEN x'00' "
            "WHEN 'array' THEN x'02' WHEN 'object' THEN x'03' END END"
        )

    def member(self, path: Path, value: Scalar) -> str:
        """Whether the array at a path holds a value."""
        element = self.parameter(element_bytes(value))
        column = self.table.columns.get(path)
        if column is not None:
            return f"(substr({column}, 1, 1) = x'02' AND instr({column}, {element}) > 0)"
        exact = f'has_member("body", {self.parameter(json.dumps(path))}, {element})'
        source, json_path = self._json(path)
        if json_path is None:
            return exact
        found = (
            f"json_type({source}, {json_path}) = 'array' AND EXISTS "
            f"(SELECT 1 FROM json_each({source}, {json_path}) AS e WHERE {self._equals(value)})"
        )
        return f'(CASE WHEN "odd" THEN {exact} ELSE {found} END)'

    def _equals(self, value: Scalar) -> str:
        if isinstance(value, bool):
            return f"e.type = '{'true' if value else 'false'}'"
        kinds = "('text')" if isinstance(value, str) else "('integer', 'real')"
        return f"e.type IN {kinds} AND e.value = {self.parameter(sql_scalar(value))}"

    def _json(self, path: Path) -> tuple[str, str | None]:
        """Which JSON column to search, and a placeholder of the path in SQLite's own syntax.

        That syntax cannot escape, so a name that JSON would escape has no such path.
        """
        source = '"body"'
        if self.table.has_terms and path[0] == "q" and len(path) > 1:
            source, path = '"terms"', path[1:]
        json_path = plain_json_path(path)
        return source, None if json_path is None else self.parameter(json_path)


def plain_json_path(path: Path) -> str | None:
    """A path in SQLite's syntax, or ``None`` if that syntax cannot name it."""
    if any(not name or re.search(r'["\\\x00-\x1f\ud800-\udfff]', name) for name in path):
        return None
    return "$" + "".join(f'."{name}"' for name in path)


# Predicates -------------------------------------------------------------------------------


def _eq(statement: Statement, where: Eq) -> str:
    return f"{statement.value(where.path)} = {statement.parameter(sql_scalar(where.value))}"


def _in(statement: Statement, where: In) -> str:
    values = ", ".join(statement.parameter(sql_scalar(value)) for value in where.values)
    return f"{statement.value(where.path)} IN ({values})"


def _range(statement: Statement, where: Range) -> str:
    # SQLite sorts numbers before texts before blobs, so an open end needs a bound of its own
    value = statement.value(where.path)
    bounds = []
    is_text = isinstance(where.high if where.low is None else where.low, str)
    if where.low is None and where.high is None:
        return f"{value} < {_LEAST_BLOB}"
    if where.low is not None:
        bounds.append(f"{value} >= {statement.parameter(sql_scalar(where.low))}")
    elif is_text:
        bounds.append(f"{value} >= {_LEAST_TEXT}")
    if where.high is not None:
        bounds.append(f"{value} <= {statement.parameter(sql_scalar(where.high))}")
    else:
        bounds.append(f"{value} < {_LEAST_BLOB if is_text else _LEAST_TEXT}")
    return f"({' AND '.join(bounds)})"


def _prefix(statement: Statement, where: Prefix) -> str:
    return _starts_with(statement, statement.value(where.path), sql_text(where.text))


def _starts_with(statement: Statement, value: str, text: str) -> str:
    behind = _after_all_with(text)
    end = _LEAST_BLOB if behind is None else statement.parameter(behind)
    return f"({value} >= {statement.parameter(text)} AND {value} < {end})"


def _after_all_with(prefix: str) -> str | None:
    """The least text after all that start with ``prefix``, or ``None`` if there is none."""
    kept = prefix.rstrip(chr(_LAST_CHARACTER))
    if not kept:
        return None
    following = ord(kept[-1]) + 1
    if following in _SURROGATES:
        following = _SURROGATES.stop
    return kept[:-1] + chr(following)


def _like(statement: Statement, where: Like) -> str:
    value, pattern = statement.value(where.path), sql_text(where.pattern)
    literal = re.split(r"[*?]", pattern, maxsplit=1)[0]
    start = _starts_with(statement, value, literal)  # also true of texts only
    exact = f"matches({value}, {statement.parameter(pattern)})"
    if len(pattern) > _LONGEST_GLOB or "\0" in pattern:
        return f"({start} AND {exact})"
    glob = statement.parameter(pattern.replace("[", "[[]"))
    # GLOB ends a text at NUL
    whole = f"CASE instr({value}, char(0)) WHEN 0 THEN {value} GLOB {glob} ELSE {exact} END"
    return f"({start} AND {whole})"


def _contains(statement: Statement, where: Contains) -> str:
    value, text = statement.value(where.path), statement.parameter(sql_text(where.text))
    return f"(typeof({value}) = 'text' AND instr({value}, {text}) > 0)"


def _member(statement: Statement, where: Member) -> str:
    return statement.member(where.path, where.value)


def _exists(statement: Statement, where: Exists) -> str:
    return f"{statement.value(where.path)} IS NOT NULL"


def _and(statement: Statement, where: And) -> str:
    return _joined(statement, where.terms, " AND ", nothing="1")


def _or(statement: Statement, where: Or) -> str:
    return _joined(statement, where.terms, " OR ", nothing="0")


def _joined(statement: Statement, terms: Sequence[Where], operator: str, *, nothing: str) -> str:
    if not terms:
        return nothing
    return f"({operator.join(statement.where(term) for term in terms)})"


def _not(statement: Statement, where: Not) -> str:
    return f"({statement.where(where.term)}) IS NOT TRUE"


_COMPILERS: dict[type, Callable[[Statement, Any], str]] = {
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


def page_statement(
    table: Table,
    where: Where,
    *,
    order: Sequence[Order] = (),
    limit: int,
    after: Sequence[Scalar] | None = None,
    skip: int = 0,
    partition: str | None = None,
) -> tuple[str, dict[str, SqlValue]]:
    """A statement that gives the ``row`` of each document of one page, in order."""
    statement = Statement(table, present_paths(where))
    terms = _terms(statement, where, partition)
    if after is not None:
        terms.append(_behind(statement, order, after))
    sql = f'SELECT "row" FROM {table.name} WHERE {" AND ".join(terms)}'
    if order:
        sql += f" ORDER BY {', '.join(_sort_key(statement, key) for key in order)}"
    sql += f" LIMIT {statement.parameter(limit)}"
    if skip:
        sql += f" OFFSET {statement.parameter(skip)}"
    return sql, statement.parameters


def count_statement(
    table: Table, where: Where, *, partition: str | None = None
) -> tuple[str, dict[str, SqlValue]]:
    """A statement that counts the documents that match."""
    statement = Statement(table, present_paths(where))
    terms = _terms(statement, where, partition)
    return f"SELECT count(*) FROM {table.name} WHERE {' AND '.join(terms)}", statement.parameters


def _terms(statement: Statement, where: Where, partition: str | None) -> list[str]:
    terms = [statement.where(where)]
    if partition is not None:
        terms.insert(0, f'"pk" = {statement.parameter(sql_text(partition))}')
    return terms


def present_paths(where: Where) -> frozenset[Path]:
    """Paths that every matching document has."""
    if isinstance(where, And):
        return frozenset().union(*(present_paths(term) for term in where.terms))
    return frozenset() if isinstance(where, Or | Not) else frozenset({where.path})


def _sort_key(statement: Statement, key: Order) -> str:
    value = statement.value(key.path)
    if key.descending:
        return f"{value} DESC"  # null, the least value, is last
    return value if key.path in statement.present else f"{value} ASC NULLS LAST"


def _behind(statement: Statement, order: Sequence[Order], after: Sequence[Scalar]) -> str:
    if len(order) != len(after):
        raise ValueError("after has as many values as order has keys")
    condition = "0"
    for key, last in reversed(list(zip(order, after, strict=True))):
        value, bound = statement.value(key.path), statement.parameter(sql_scalar(last))
        further = f"{value} {'<' if key.descending else '>'} {bound}"
        if key.path not in statement.present:
            further = f"{further} OR {value} IS NULL"
        condition = f"({further} OR ({value} = {bound} AND {condition}))"
    return condition


# Functions of our own, for what SQLite's cannot do exactly ----------------------------------


def scalar_at(body: str, path: str) -> SqlValue:
    """The value at a path of a JSON text."""
    return sql_value(value_at(json.loads(body), json.loads(path)))


def has_member(body: str, path: str, element: bytes) -> bool:
    """Whether the array at a path of a JSON text holds an element."""
    value: Json = value_at(json.loads(body), json.loads(path))
    held = sql_value(value)
    return isinstance(held, bytes) and held.startswith(ARRAY) and element in held


def matches(text: SqlValue, pattern: str) -> bool:
    """Whether a whole text matches a pattern of ``*`` and ``?``.

    Each run between two stars is taken at the first place where it fits, which is always right
    and never goes back.
    """
    if not isinstance(text, str):
        return False
    runs = pattern.split("*")
    if len(runs) == 1:
        return len(text) == len(pattern) and _find(text, pattern, 0, 0) == 0
    start, end = len(runs[0]), len(text) - len(runs[-1])
    if start > end or _find(text, runs[0], 0, 0) != 0 or _find(text, runs[-1], end, end) != end:
        return False
    for run in runs[1:-1]:
        found = _find(text, run, start, end - len(run))
        if found < 0:
            return False
        start = found + len(run)
    return True


def _find(text: str, run: str, first: int, last: int) -> int:
    """The first place from ``first`` to ``last`` where ``run`` fits, or -1."""
    if last < first:
        return -1
    expression = "".join("." if character == "?" else re.escape(character) for character in run)
    found = re.compile(expression, re.DOTALL).search(text, first, last + len(run))
    return -1 if found is None else found.start()

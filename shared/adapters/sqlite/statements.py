"""Statements about single documents, written once a table, and the row of a document."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from shared.adapters.sqlite.layout import (
    TABLES,
    SqlValue,
    Table,
    encode_body,
    quoted,
    sql_value,
    value_at,
    value_columns,
)
from shared.ports import JsonObject

_KEY = '"pk" = ? AND "id" = ?'


@dataclass(frozen=True, slots=True)
class Statements:
    """SQL for one table. ``insert`` and ``upsert`` take a ``document_row``.

    ``replace`` takes the columns of a ``document_row`` behind ``pk`` and ``id``, then those two;
    all others take ``pk`` and ``id``. ``if_etag`` is put behind ``replace`` and ``delete``.
    """

    insert: str
    insert_if_absent: str
    upsert: str
    replace: str
    delete: str
    find: str
    read: str
    read_many: str
    read_members: str


def statements(table: Table) -> Statements:
    """The statements of a table."""
    return _statements(table.schema.name)


IF_ETAG = ' AND "etag" = ?'
"""Behind ``replace`` and ``delete``: only if the ETag is still this one."""


@cache
def _statements(container: str) -> Statements:
    table = TABLES[container]
    columns = _columns(table)
    marks = ", ".join("?" * len(columns))
    insert = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"
    excluded = ", ".join(f"{column} = excluded.{column}" for column in columns[2:])
    assignments = ", ".join(f"{column} = ?" for column in columns[2:])
    rows = f'FROM {table.name} WHERE "row" IN (SELECT value FROM json_each(?))'
    return Statements(
        insert=insert,
        insert_if_absent=f"{insert} ON CONFLICT DO NOTHING",
        upsert=f'{insert} ON CONFLICT ("pk", "id") DO UPDATE SET {excluded}',
        replace=f"UPDATE {table.name} SET {assignments} WHERE {_KEY}",
        delete=f"DELETE FROM {table.name} WHERE {_KEY}",
        find=f"SELECT 1 FROM {table.name} WHERE {_KEY}",
        read=f'SELECT "etag", "body" FROM {table.name} WHERE {_KEY}',
        read_many=f'SELECT "row", "body" {rows}',
        read_members=f'SELECT "row", {{members}} {rows}',
    )


def select_all(table_name: str) -> str:
    """Statement that reads every document of a table."""
    return f'SELECT "pk", "etag", "body" FROM {quoted(table_name)}'


def _columns(table: Table) -> list[str]:
    columns = ['"pk"', '"id"', '"etag"', '"odd"', *(name for _, name in value_columns(table))]
    return [*columns, *(['"terms"'] if table.has_terms else []), '"body"']


def document_row(table: Table, pk: str, etag: str, body: JsonObject) -> list[SqlValue]:
    """The columns of a document: ``pk``, ``id``, ``etag`` … and last its JSON text."""
    text, odd = encode_body(body)
    row: list[SqlValue] = [pk, sql_value(body["id"]), etag, int(odd)]
    row += [sql_value(value_at(body, path)) for path, _ in value_columns(table)]
    if table.has_terms:
        terms = body.get("q")
        row.append(None if terms is None else encode_body(terms)[0])
    row.append(text)
    return row

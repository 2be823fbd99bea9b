"""The embedded body of the ``Documents`` port: one SQLite file a tenant."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from shared.adapters.commits import check_commit
from shared.adapters.sqlite.files import open_reader
from shared.adapters.sqlite.layout import TABLES, SqlValue, Table, sql_text
from shared.adapters.sqlite.sql import count_statement, page_statement, plain_json_path
from shared.adapters.sqlite.statements import statements
from shared.adapters.sqlite.writer import Writer
from shared.errors import Unavailable
from shared.ports import Document, JsonObject, Operation
from shared.where import Order, Scalar, Where

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_READERS = min(4, (os.cpu_count() or 1) + 1)


class SqliteDocuments:
    """Documents of one tenant in one file.

    Parameters
    ----------
    path : str | Path
        The file; made if it is not there. Its folder must be.
    """

    def __init__(self, path: str | Path) -> None:
        self._writer = Writer(str(path))
        self._readers = _Readers(str(path), self._writer.wait_until_opened)

    async def get(self, container: str, partition: str, document_id: str) -> Document | None:
        """One document. See ``Documents.get``."""
        table = TABLES[container]
        key = (sql_text(partition), sql_text(document_id))
        return await self._readers.run(lambda connection: _get(connection, table, key))

    async def query(
        self,
        container: str,
        where: Where,
        *,
        order: Sequence[Order] = (),
        limit: int,
        after: Sequence[Scalar] | None = None,
        skip: int = 0,
        partition: str | None = None,
        members: Sequence[str] | None = None,
    ) -> list[JsonObject]:
        """One page of documents. See ``Documents.query``."""
        table = TABLES[container]
        sql, parameters = page_statement(
            table, where, order=order, limit=limit, after=after, skip=skip, partition=partition
        )
        return await self._readers.run(
            lambda connection: _page(connection, table, sql, parameters, members)
        )

    async def count(self, container: str, where: Where, *, partition: str | None = None) -> int:
        """How many documents match. See ``Documents.count``."""
        sql, parameters = count_statement(TABLES[container], where, partition=partition)
        return await self._readers.run(lambda connection: _count(connection, sql, parameters))

    async def commit(self, container: str, partition: str, operations: Sequence[Operation]) -> None:
        """Apply all operations or none. See ``Documents.commit``."""
        table = TABLES[container]
        check_commit(table.schema, partition, operations)
        await self._writer.commit(table, partition, operations)

    async def close(self) -> None:
        """Finish what was committed and close the file."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._readers.close()
        self._writer.close()


class _Readers:
    """A few threads, each with a connection of its own."""

    def __init__(self, path: str, wait_until_opened: Callable[[], None]) -> None:
        self._path = path
        self._wait_until_opened = wait_until_opened
        self._local = threading.local()
        self._all: set[sqlite3.Connection] = set()
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-reader")
        self._closed = False

    async def run(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._closed:
            raise Unavailable
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, read)
        except sqlite3.Error as error:
            logger.exception("sqlite read failed")
            raise Unavailable from error

    def _read(self, read: Callable[[sqlite3.Connection], _T]) -> _T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            self._wait_until_opened()
            connection = self._local.connection = open_reader(self._path)
            self._all.add(connection)
        try:
            return read(connection)
        except sqlite3.DatabaseError:
            self._local.connection = None
            self._all.discard(connection)
            connection.close()
            raise

    def close(self) -> None:
        self._closed = True
        self._pool.shutdown(wait=True)
        while self._all:
            self._all.pop().close()


def _get(connection: sqlite3.Connection, table: Table, key: tuple[str, str]) -> Document | None:
    row = connection.execute(statements(table).read, key).fetchone()
    return None if row is None else Document(json.loads(row[1]), row[0])


def _page(
    connection: sqlite3.Connection,
    table: Table,
    sql: str,
    parameters: dict[str, SqlValue],
    members: Sequence[str] | None,
) -> list[JsonObject]:
    """Find the rows from an index alone where one holds all that is asked, then read them."""
    connection.execute("BEGIN")  # both statements see the same commits
    try:
        rows = [row for (row,) in connection.execute(sql, parameters)]
        bodies = _bodies(connection, table, rows, members)
        return [bodies[row] for row in rows]
    finally:
        connection.execute("ROLLBACK")


def _count(connection: sqlite3.Connection, sql: str, parameters: dict[str, SqlValue]) -> int:
    return int(connection.execute(sql, parameters).fetchone()[0])


def _bodies(
    connection: sqlite3.Connection, table: Table, rows: list[int], members: Sequence[str] | None
) -> dict[int, JsonObject]:
    wanted = json.dumps(rows)
    paths = [plain_json_path((name,)) for name in members or ()]
    if members is None or not paths or None in paths:
        found = connection.execute(statements(table).read_many, (wanted,))
        return {row: _only(json.loads(body), members) for row, body in found}
    # more than one path: SQLite answers with a JSON array, texts just as they are in the body
    extracted = f"json_extract(\"body\", '$.id', {', '.join('?' * len(paths))})"
    kinds = ", ".join('json_type("body", ?)' for _ in paths)
    sql = statements(table).read_members.format(members=f"{extracted}, {kinds}")
    found = connection.execute(sql, (*paths, *paths, wanted))
    return {row: _present(members, json.loads(values)[1:], kinds) for row, values, *kinds in found}


def _only(body: JsonObject, members: Sequence[str] | None) -> JsonObject:
    if members is None:
        return body
    return {name: body[name] for name in members if name in body}


def _present(members: Sequence[str], values: list[object], kinds: list[str | None]) -> JsonObject:
    found = zip(members, values, kinds, strict=True)
    return {name: value for name, value, kind in found if kind is not None}

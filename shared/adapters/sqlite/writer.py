"""The one thread that writes to a database file, with group commit.

Commits that wait together share one transaction and so one ``fsync``. Each has a savepoint: one
that is refused leaves the others alone. A commit is acknowledged after ``COMMIT`` returned.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import secrets
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.adapters.commits import check_size, own_members
from shared.adapters.sqlite.files import open_writer
from shared.adapters.sqlite.layout import SqlValue, Table, sql_scalar, sql_text, sql_value, value_at
from shared.adapters.sqlite.statements import IF_ETAG, document_row, statements
from shared.errors import DicomServiceError, OperationRefused, Refusal, Unavailable
from shared.ports import Create, Delete, JsonObject, Operation, Patch, Replace, Upsert
from shared.where import Path

logger = logging.getLogger(__name__)

_MOST_IN_GROUP = 64

_DEFECTS = (
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
)
"""What a document that cannot be stored raises; it concerns its own commit only."""


@dataclass(slots=True)
class _Commit:
    table: Table
    partition: str
    operations: Sequence[Operation]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]
    error: BaseException | None = field(default=None)


class Writer:
    """Takes commits from any event loop and applies them in the order in which they came."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Commit | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def wait_until_opened(self) -> None:
        """Return when the file was opened, or could not be."""
        self._opened.wait()

    async def commit(self, table: Table, partition: str, operations: Sequence[Operation]) -> None:
        """Apply operations to one partition. See ``Documents.commit``."""
        if self._closed:
            raise Unavailable
        loop = asyncio.get_running_loop()
        commit = _Commit(table, sql_text(partition), operations, loop, loop.create_future())
        self._queue.put(commit)
        await commit.done

    def close(self) -> None:
        """Finish what was given, then close the file. Blocks."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    # on the thread

    def _run(self) -> None:
        try:
            self._open()
        except sqlite3.Error:
            logger.exception("sqlite file cannot be opened")
        self._opened.set()
        while group := self._next_group():
            self._write(group)
            _acknowledge(group)
        self._drop_connection()

    def _next_group(self) -> list[_Commit]:
        first = self._queue.get()
        group = [] if first is None else [first]
        while group and len(group) < _MOST_IN_GROUP:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._queue.put(None)
                break
            group.append(following)
        return group

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_writer(self._path)
        return self._connection

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _write(self, group: list[_Commit]) -> None:
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            for commit in group:
                _apply_commit(connection, commit)
            connection.execute("COMMIT")
        except BaseException as error:
            # full, locked or damaged: closing rolls back whatever is left of the transaction
            logger.exception("sqlite commit failed")
            for commit in group:
                commit.error = Unavailable()
                commit.error.__cause__ = error
            self._drop_connection()


def _acknowledge(group: list[_Commit]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Commit]] = {}
    for commit in group:
        by_loop.setdefault(commit.loop, []).append(commit)
    for loop, commits in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, commits)
        except RuntimeError:  # the loop was closed: nobody waits any more
            continue


def _resolve(commits: list[_Commit]) -> None:
    for commit in commits:
        if commit.done.done():
            continue
        if commit.error is None:
            commit.done.set_result(None)
        else:
            commit.done.set_exception(commit.error)


def _apply_commit(connection: sqlite3.Connection, commit: _Commit) -> None:
    """Apply one commit or nothing of it. What concerns the whole file is raised."""
    connection.execute("SAVEPOINT one")
    try:
        sizes = []
        for number, operation in enumerate(commit.operations):
            try:
                sizes.append(_apply(connection, commit.table, commit.partition, operation))
            except _Refused as error:
                raise OperationRefused(number, error.refusal) from None
        check_size(sizes)
    except (DicomServiceError, *_DEFECTS) as error:
        commit.error = error
        connection.execute("ROLLBACK TO one")
    connection.execute("RELEASE one")


# Operations -------------------------------------------------------------------------------


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def _apply(
    connection: sqlite3.Connection, table: Table, partition: str, operation: Operation
) -> int:
    """Apply one operation; gives how many bytes of JSON it wrote."""
    if isinstance(operation, Patch):
        return _patch(connection, table, partition, operation)
    if isinstance(operation, Delete):
        return _delete(connection, table, partition, operation)
    row = document_row(table, partition, _new_etag(), own_members(operation.body))
    if isinstance(operation, Replace):
        _replace(connection, table, row, operation.etag)
    elif isinstance(operation, Upsert):
        connection.execute(statements(table).upsert, row)
    elif isinstance(operation, Create):
        created = connection.execute(statements(table).insert_if_absent, row)
        if created.rowcount == 0:
            raise _Refused(Refusal.EXISTS)
    return _bytes(row)


def _bytes(row: list[SqlValue]) -> int:
    text = row[-1]
    return len(text.encode()) if isinstance(text, str) else 0


def _new_etag() -> str:
    return secrets.token_hex(8)


def _replace(
    connection: sqlite3.Connection, table: Table, row: list[SqlValue], etag: str | None
) -> None:
    sql = statements(table).replace
    _change(connection, table, sql, row[:2], etag=etag, values=row[2:])


def _delete(connection: sqlite3.Connection, table: Table, partition: str, delete: Delete) -> int:
    key: list[SqlValue] = [partition, sql_text(delete.id)]
    _change(connection, table, statements(table).delete, key, etag=delete.etag)
    return 0


def _change(
    connection: sqlite3.Connection,
    table: Table,
    sql: str,
    key: list[SqlValue],
    *,
    etag: str | None,
    values: Sequence[SqlValue] = (),
) -> None:
    """Change the document of a key, which must be there and have that ETag."""
    parameters = [*values, *key]
    if etag is not None:
        sql += IF_ETAG
        parameters.append(sql_text(etag))
    if connection.execute(sql, parameters).rowcount == 0:
        is_there = connection.execute(statements(table).find, key).fetchone() is not None
        raise _Refused(Refusal.CHANGED if is_there else Refusal.MISSING)


def _patch(connection: sqlite3.Connection, table: Table, partition: str, patch: Patch) -> int:
    key = (partition, sql_text(patch.id))
    found = connection.execute(statements(table).read, key).fetchone()
    if found is None:
        raise _Refused(Refusal.MISSING)
    body: JsonObject = json.loads(found[1])
    for path, wanted in patch.when.items():
        if sql_value(value_at(body, path)) != sql_scalar(wanted):
            raise _Refused(Refusal.CHANGED)
    for path, value in patch.put.items():
        _parent(body, path)[path[-1]] = value
    for path, number in patch.add.items():
        parent = _parent(body, path)
        old = parent.get(path[-1])
        if isinstance(old, bool) or not isinstance(old, int | float):
            raise ValueError("a patch adds to a member that is no number")
        parent[path[-1]] = old + number
    row = document_row(table, partition, _new_etag(), body)
    _replace(connection, table, row, None)
    return sum(len(str(value)) for value in patch.put.values())


def _parent(body: JsonObject, path: Path) -> JsonObject:
    parent = value_at(body, path[:-1])
    if not isinstance(parent, dict):
        raise ValueError("a patch names a member whose parent is not there")
    return parent

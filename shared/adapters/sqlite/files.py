"""Opening a database file: its settings, and its tables where they are missing or of old layout."""

from __future__ import annotations

import json
import logging
import sqlite3

from shared.adapters.sqlite.layout import (
    TABLES,
    Table,
    create_table,
    fingerprint,
    quoted,
    statistics,
)
from shared.adapters.sqlite.sql import has_member, matches, scalar_at
from shared.adapters.sqlite.statements import document_row, select_all, statements

logger = logging.getLogger(__name__)

_LOCK_WAIT_S = 5.0
_CACHE_KIB = 16_384
_CHECKPOINT_PAGES = 4_000
_JOURNAL_BYTES = 64 * 1024 * 1024


def open_writer(path: str) -> sqlite3.Connection:
    """The connection that writes. Makes the file and its tables if needed.

    ``synchronous=FULL``: a commit returns after its log is on the disk, so what was answered
    survives a power cut.
    """
    connection = _connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={_JOURNAL_BYTES}")
        if _layout(connection) != fingerprint():
            _lay_out(connection)
            connection.close()  # so that the planner reads the statistics
            return open_writer(path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: str) -> sqlite3.Connection:
    """A connection that reads what was committed."""
    connection = _connect(path)
    try:
        connection.execute("PRAGMA query_only=1")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    connection.create_function("scalar_at", 2, scalar_at, deterministic=True)
    connection.create_function("has_member", 3, has_member, deterministic=True)
    connection.create_function("matches", 2, matches, deterministic=True)
    return connection


def _layout(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _lay_out(connection: sqlite3.Connection) -> None:
    """Make the tables; fill them from those of another layout."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _layout(connection) != fingerprint():  # another process may have been faster
            for table in TABLES.values():
                _renew(connection, table)
            connection.execute("ANALYZE sqlite_master")  # creates sqlite_stat1
            connection.execute("DELETE FROM sqlite_stat1")
            for table in TABLES.values():
                connection.executemany(
                    "INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", statistics(table)
                )
            connection.execute(f"PRAGMA user_version={fingerprint()}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _renew(connection: sqlite3.Connection, table: Table) -> None:
    name = table.schema.name
    found = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)
    ).fetchone()
    old = f"{name} old"
    if found:
        logger.info("sqlite table is rebuilt", extra={"table": name})
        indexes = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = ?", (name,)
        ).fetchall()
        for (index,) in indexes:
            connection.execute(f"DROP INDEX {quoted(index)}")
        connection.execute(f"ALTER TABLE {table.name} RENAME TO {quoted(old)}")
    for statement in create_table(table):
        connection.execute(statement)
    if found:
        insert = statements(table).insert
        for pk, etag, body in connection.execute(select_all(old)):
            connection.execute(insert, document_row(table, pk, etag, json.loads(body)))
        connection.execute(f"DROP TABLE {quoted(old)}")

"""What blob triggers have dealt with, kept over restarts."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

Receipt = int


def receipt(name: str, etag: str) -> Receipt:
    """Identity of one version of a blob: 63 bits, so that a big container fits in memory."""
    digest = hashlib.blake2b(f"{name}\0{etag}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Receipts:
    """Receipts of all functions in one SQLite file.

    Losing the last ones in a crash is no harm: the blob is delivered again.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS receipt (source TEXT, id INTEGER, "
            "PRIMARY KEY (source, id)) WITHOUT ROWID"
        )

    def load(self, source: str) -> set[Receipt]:
        """All receipts of one source (function and container)."""
        rows = self._database.execute("SELECT id FROM receipt WHERE source = ?", (source,))
        return {row[0] for row in rows}

    def add(self, source: str, done: Receipt) -> None:
        """Remember one."""
        self._database.execute("INSERT OR IGNORE INTO receipt VALUES (?, ?)", (source, done))

    def forget(self, source: str, gone: Iterable[Receipt]) -> None:
        """Drop those whose blobs are no longer there."""
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany(
                "DELETE FROM receipt WHERE source = ? AND id = ?", ((source, one) for one in gone)
            )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

"""Ports in memory, for use cases that are to meet trouble: each can be told to fail."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.adapters.sqlite.documents import SqliteDocuments
from shared.cast.failures import Failure
from shared.errors import (
    AlreadyStored,
    BlobNotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
)
from shared.ports import (
    BlobInfo,
    BlobPage,
    ByteSpan,
    JsonObject,
    Operation,
    SameBytes,
    StoredBlob,
)

_PIECE = 64 * 1024


class FixedClock:
    """A clock that moves only when told to."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """The time that was set."""
        return self._now

    def pass_by(self, **duration: float) -> None:
        """Let time pass, as ``timedelta(**duration)``."""
        self._now += timedelta(**duration)


class MemoryBlobs:
    """Blobs in a dictionary. ``failing`` is asked before each call and may raise."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.failing: Callable[[str, str], None] = lambda _call, _key: None
        self.created = datetime(2026, 1, 1, tzinfo=UTC)
        self.marks: dict[str, dict[str, str]] = {}
        self.blobs_in_page = 5000
        self.listed = 0

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        marks: Mapping[str, str] | None = None,
        same: SameBytes | None = None,
    ) -> StoredBlob:
        """See ``Blobs.put``."""
        data = b"".join([chunk async for chunk in chunks])
        if same is not None and same.start is not None:
            assert data[same.start :] == self.content[same.key][same.source :]
        self.failing("put", key)
        if key in self.content:
            raise AlreadyStored(key)
        self.content[key] = data
        if marks:
            self.marks[key] = dict(marks)
        return StoredBlob(len(data), hashlib.sha256(data).digest())

    async def read(self, key: str, span: ByteSpan | None = None) -> AsyncIterator[bytes]:
        """See ``Blobs.read``."""
        self.failing("read", key)
        if key not in self.content:
            raise BlobNotFound(key)
        data = self.content[key]
        if span is not None:
            if span.offset >= len(data):
                raise RangeNotSatisfiable(len(data))
            data = data[span.offset : span.end]
        return _pieces(data)

    async def info(self, key: str) -> BlobInfo | None:
        """See ``Blobs.info``."""
        self.failing("info", key)
        if key not in self.content:
            return None
        return replace(self._info(key), marks=self.marks.get(key, {}))

    def _info(self, key: str) -> BlobInfo:
        data = self.content[key]
        return BlobInfo(key, len(data), self.created, hashlib.sha256(data).hexdigest())

    async def delete(self, key: str, etag: str | None = None) -> bool:
        """See ``Blobs.delete``."""
        self.failing("delete", key)
        if etag is not None and key in self.content and self._info(key).etag != etag:
            raise PreconditionFailed(key)
        return self.content.pop(key, None) is not None

    async def pages(self, prefix: str, marker: str = "") -> AsyncIterator[BlobPage]:
        """See ``Blobs.pages``."""
        found = [key for key in sorted(self.content) if key.startswith(prefix) and key > marker]
        self.listed += len(found)
        for at in range(0, len(found), self.blobs_in_page):
            keys = found[at : at + self.blobs_in_page]
            yield BlobPage(marker, [self._info(key) for key in keys])
            marker = keys[-1]

    async def close(self) -> None:
        """Nothing to release."""


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]


class MemoryQueue:
    """Messages in a list of (queue, message, delay)."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, JsonObject, float]] = []
        self.failing: Callable[[], None] = lambda: None

    async def send(self, queue: str, message: JsonObject, *, delay_s: float = 0) -> None:
        """See ``Queue.send``."""
        self.failing()
        self.sent.append((queue, message, delay_s))

    async def close(self) -> None:
        """Nothing to release."""


class TroubledDocuments(SqliteDocuments):
    """The embedded index; ``failing`` is asked before each commit and may raise.

    Deriving from the real body keeps its promises real.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.failing: Callable[[Sequence[Operation]], None] = lambda _operations: None
        self.commits = 0

    async def commit(self, container: str, partition: str, operations: Sequence[Operation]) -> None:
        """See ``Documents.commit``."""
        self.commits += 1
        self.failing(operations)
        await super().commit(container, partition, operations)


class MemoryFailures:
    """Rows in a dictionary, by partition and study. ``failing`` is asked first and may raise."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[Failure]] = {}
        self.failing: Callable[[], None] = lambda: None

    async def put(self, partition: str, study: str, rows: Sequence[Failure]) -> None:
        """See ``Failures.put``."""
        self.failing()
        self.rows[partition, study] = list(rows)

    async def page(self, *, limit: int, after: str | None = None) -> tuple[list[Failure], str]:
        """See ``Failures.page``."""
        rows = [row for key in sorted(self.rows) for row in self.rows[key]]
        start = int(after or 0)
        following = str(start + limit) if len(rows) > start + limit else ""
        return rows[start : start + limit], following

    async def of_study(self, partition: str, study: str) -> list[Failure]:
        """See ``Failures.of_study``."""
        return self.rows.get((partition, study), [])

    async def close(self) -> None:
        """Nothing to release."""

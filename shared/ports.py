"""The ports: what the use cases ask of the world, in their own words.

Each port has one contract suite in ``tests/contract``; a body is right when it passes it. All
objects of one tenant are bound to that tenant before a use case sees them: no method takes a
tenant, so none can name another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeAlias

from shared.where import Order, Scalar, Where

Json: TypeAlias = Any
"""A JSON value. The one place where the shape is not known to the type checker."""

JsonObject: TypeAlias = dict[str, Any]


# Blobs ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ByteSpan:
    """``length`` bytes from ``offset``; both in bytes, ``length`` ≥ 1."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """First byte after the span."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob that was written: ``size`` in bytes, ``sha256`` of the content (32 bytes)."""

    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A blob that is there: ``size`` in bytes, ``created`` in UTC, ``etag`` of its content.

    ``marks`` are those it was put with; a listing leaves them out.
    """

    key: str
    size: int
    created: datetime
    etag: str
    marks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlobPage:
    """Some blobs of a listing. ``marker`` is opaque and leads to this page again, for good."""

    marker: str
    blobs: list[BlobInfo]


@dataclass(slots=True)
class SameBytes:
    """What a new blob has in common with one that is there: everything from some byte on.

    Parameters
    ----------
    key : str
        The blob that is there.
    start : int or None
        The first such byte of the new one. ``None`` until it is known; it is set before that byte
        is given.
    source : int
        Where that byte is in the other one.
    """

    key: str
    start: int | None = None
    source: int = 0

    def offset(self, at: int) -> int | None:
        """Where the byte ``at`` of the new blob is in the other one; ``None`` if it is not."""
        return None if self.start is None or at < self.start else self.source + at - self.start


class Blobs(Protocol):
    """Bytes under a key. A key is written once; its content never changes."""

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        marks: Mapping[str, str] | None = None,
        same: SameBytes | None = None,
    ) -> StoredBlob:
        """Write a new blob by streaming; it appears whole or not at all.

        Parameters
        ----------
        key : str
            Path of the blob, ``/`` between its parts.
        chunks : AsyncIterator[bytes]
            The content in order, in pieces of any size from 1 byte. Read exactly once. Held in
            memory are at most two blocks of 4 MiB. What the iterator raises passes through, and
            then no blob appears.
        marks : Mapping[str, str], optional
            Kept with the blob: names of letters and digits, values in ASCII.
        same : SameBytes, optional
            Bytes that the store may take from another blob itself, instead of having them sent.
            ``chunks`` has them all the same.

        Returns
        -------
        StoredBlob
            Size and SHA-256.

        Raises
        ------
        AlreadyStored
            The key exists; nothing was changed.
        Throttled, Unavailable
            The store does not take it.
        """
        ...

    async def read(self, key: str, span: ByteSpan | None = None) -> AsyncIterator[bytes]:
        """Begin to read a blob, or a span of it.

        Returns when the store has answered, so an absent blob is known before the first byte.

        Parameters
        ----------
        key : str
            The blob.
        span : ByteSpan, optional
            Which bytes; all if absent. A span that begins past the end raises; one that only
            ends past it gives what is there.

        Returns
        -------
        AsyncIterator[bytes]
            The bytes in order, in pieces of at most 4 MiB; at most two pieces are in memory.

        Raises
        ------
        BlobNotFound
            No such blob.
        RangeNotSatisfiable
            ``span.offset`` is at or past the end.
        Throttled, Unavailable
            The store does not answer.
        """
        ...

    async def info(self, key: str) -> BlobInfo | None:
        """Size and creation time of a blob, or ``None`` where there is none."""
        ...

    async def delete(self, key: str, etag: str | None = None) -> bool:
        """Remove a blob. ``False`` if it was not there: deleting twice is no error.

        Raises
        ------
        PreconditionFailed
            ``etag`` is given, and others have written the blob anew since.
        """
        ...

    def pages(self, prefix: str, marker: str = "") -> AsyncIterator[BlobPage]:
        """All blobs whose key starts with ``prefix``, in order of the key, page by page.

        Parameters
        ----------
        prefix : str
            What keys start with.
        marker : str
            Of the page to begin with, as an earlier listing of the same prefix gave it.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


# Documents --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    """A stored JSON document. ``etag`` is opaque and changes with each write."""

    body: JsonObject
    etag: str


@dataclass(frozen=True, slots=True)
class Create:
    """Write a new document. ``body["id"]`` names it."""

    body: JsonObject


@dataclass(frozen=True, slots=True)
class Replace:
    """Write over an existing document, if ``etag`` (where given) is still its ETag."""

    body: JsonObject
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Upsert:
    """Write a document whether or not it is there."""

    body: JsonObject


@dataclass(frozen=True, slots=True)
class Patch:
    """Change members of an existing document without reading it.

    Parameters
    ----------
    id : str
        The document.
    put : Mapping[tuple[str, ...], Json]
        Path → new value. The parent of each path must exist. A path is not a prefix of another.
    add : Mapping[tuple[str, ...], int]
        Path → number to add. The member must exist and be a number.
    when : Mapping[tuple[str, ...], Scalar]
        All these members must have these values, or the operation is refused as ``CHANGED``.
    """

    id: str
    put: Mapping[tuple[str, ...], Json] = field(default_factory=dict)
    add: Mapping[tuple[str, ...], int] = field(default_factory=dict)
    when: Mapping[tuple[str, ...], Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document, if ``etag`` (where given) is still its ETag."""

    id: str
    etag: str | None = None


Operation: TypeAlias = Create | Replace | Upsert | Patch | Delete

MAX_OPERATIONS = 100
"""Most operations in one commit (the limit of a Cosmos transactional batch).

One :class:`Patch` counts as one operation for each ten of its changed members, rounded up.
"""

MAX_COMMIT_BYTES = 1_900_000
"""Most bytes of JSON in one commit; Cosmos takes 2 MB with its own framing."""


class Documents(Protocol):
    """JSON documents in containers, each with an id unique in its partition.

    Containers and their partition key member are those of ``shared.index.schema``. A document's
    body carries its ``id`` and its partition key; members whose names begin with ``_`` belong to
    the store and are not in ``Document.body``.
    """

    async def get(self, container: str, partition: str, document_id: str) -> Document | None:
        """One document by its id, or ``None``. Sees every commit that was acknowledged."""
        ...

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
        """Documents that match, as one page.

        Parameters
        ----------
        container : str
            Where to look.
        where : Where
            Which documents.
        order : Sequence[Order]
            Sort keys. For a total order the caller ends them with a unique one.
        limit : int
            Most documents to return, ≥ 1.
        after : Sequence[Scalar], optional
            Values of the sort keys of the last document of the page before: the page begins
            behind it. As many values as ``order`` has keys; all must be present in it.
        skip : int
            Documents to leave out at the beginning.
        partition : str, optional
            Look in this partition only.
        members : Sequence[str], optional
            Top-level members to return; all if absent. An absent member is left out.

        Returns
        -------
        list[JsonObject]
            Bodies. Sees every commit that was acknowledged.
        """
        ...

    async def count(self, container: str, where: Where, *, partition: str | None = None) -> int:
        """How many documents match, in one partition or in all. Costs a look at each of them."""
        ...

    async def commit(self, container: str, partition: str, operations: Sequence[Operation]) -> None:
        """Apply all operations within one partition, or none.

        Parameters
        ----------
        container : str
            Where.
        partition : str
            Partition key value; equals the partition key member of each written body.
        operations : Sequence[Operation]
            1 to ``MAX_OPERATIONS``, at most ``MAX_COMMIT_BYTES`` of JSON. Applied in order. No
            id may occur twice, except in several :class:`Patch` of one document.

        Raises
        ------
        OperationRefused
            One of them could not be applied; nothing was changed.
        Throttled, Unavailable
            The store does not take it. After ``Unavailable`` the outcome may be unknown.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


# Queues, clock, ids -----------------------------------------------------------------------


class Queue(Protocol):
    """At-least-once messages to the service's own queue-triggered functions.

    A message is a small JSON object, at most 48 KiB encoded: pointers, never data.
    """

    async def send(self, queue: str, message: JsonObject, *, delay_s: float = 0) -> None:
        """Put a message on a queue, visible after ``delay_s`` seconds (at most 7 days)."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Clock(Protocol):
    """Now."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""
        ...


VERSION_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
VERSION_LOW_BITS = 22


def time_of(version: str) -> datetime:
    """When a version was made, in UTC, to the millisecond."""
    return VERSION_EPOCH + timedelta(milliseconds=int(version) >> VERSION_LOW_BITS)


class Ids(Protocol):
    """New identifiers."""

    def version(self) -> str:
        """A new instance version: 19 decimal digits, unique, later ones sort higher.

        Made without coordination: milliseconds since 2020 above 22 bits that keep versions of
        one millisecond apart. Text, since a 63-bit integer does not survive a JSON number.
        """
        ...

    def unique(self) -> str:
        """A new random identifier (32 hexadecimal digits)."""
        ...

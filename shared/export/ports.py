"""What an export asks of the world beside the ports of all (``shared.ports``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from enum import Enum, auto
from typing import Protocol

from shared.export.models import Target
from shared.ports import StoredBlob


class Copied(Enum):
    """What became of a copy that the destination was asked to make from our store."""

    DONE = auto()
    NOT_THIS = auto()
    """Not of this file; of others perhaps."""
    NEVER = auto()
    """The destination does not reach our store, or does not make such copies."""


class Destination(Protocol):
    """A container that files are exported to. No file is ever written over.

    Each method may raise ``DestinationUnusable``: the container is gone, or may not be written to
    (any more); and ``DestinationTrouble``: this call failed, another may not.
    """

    async def tenants(self) -> frozenset[str]:
        """Names that the container's owner has written on it: whose exports it takes."""
        ...

    async def create_log(self, name: str) -> None:
        """Make a text that only grows; if it is there, nothing happens."""
        ...

    async def log_after(self, name: str, position: int) -> bytes:
        """What a log holds from a position on."""
        ...

    async def append(self, name: str, position: int, lines: bytes) -> None:
        """Add to a log that has ``position`` bytes, whole and once.

        Raises
        ------
        DestinationTrouble
            Others have added something meanwhile.
        """
        ...

    async def put(
        self, name: str, chunks: AsyncIterator[bytes], marks: Mapping[str, str]
    ) -> StoredBlob:
        """Write a new file by streaming, with marks. See ``Blobs.put``.

        Raises
        ------
        AlreadyStored
            It is there.
        """
        ...

    async def copy(self, name: str, link: str, marks: Mapping[str, str]) -> Copied:
        """Have the destination itself fetch a new file from a link.

        Raises
        ------
        AlreadyStored
            It is there.
        """
        ...

    async def marks(self, name: str) -> Mapping[str, str] | None:
        """The marks of a file that is there."""
        ...


class Destinations(Protocol):
    """Ways into containers."""

    def open(self, target: Target) -> AbstractAsyncContextManager[Destination]:
        """A container, for the length of a block. Nothing is sent yet."""
        ...


class Links(Protocol):
    """Links by which another store can fetch a file of ours, and that file only, for an hour."""

    async def link(self, key: str) -> str | None:
        """A link; ``None`` where no store but ours could use it."""
        ...

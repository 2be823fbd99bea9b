"""A destination in memory that can be told to fail, and that minds each file being written once."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.errors import AlreadyStored, DestinationTrouble
from shared.export.models import Target
from shared.export.ports import Copied, Destination
from shared.ports import StoredBlob
from tests.support.fakes import MemoryBlobs


@dataclass
class MemoryDestination:
    """See ``Destination``.

    ``meets`` is called before and after each call that writes, with its name and the file's; it may
    raise. ``copies`` says whether it fetches from links; ``trusted`` is where these lead.
    """

    meets: Callable[[str, str], None] = lambda _call, _name: None
    copies: Copied = Copied.DONE
    trusted: MemoryBlobs = field(default_factory=MemoryBlobs)
    content: dict[str, bytes] = field(default_factory=dict)
    marked: dict[str, dict[str, str]] = field(default_factory=dict)
    writes: dict[str, int] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    names: frozenset[str] = frozenset()

    async def tenants(self) -> frozenset[str]:
        """See ``Destination.tenants``."""
        return self.names

    async def create_log(self, name: str) -> None:
        """See ``Destination.create_log``."""
        self.meets("before", name)
        self.content.setdefault(name, b"")
        self.meets("after", name)

    async def log_after(self, name: str, position: int) -> bytes:
        """See ``Destination.log_after``."""
        await asyncio.sleep(0)
        return self.content[name][position:]

    async def append(self, name: str, position: int, lines: bytes) -> None:
        """See ``Destination.append``."""
        self.meets("before", name)
        await asyncio.sleep(0)
        if len(self.content[name]) != position:
            raise DestinationTrouble("Another has written to the log.")
        self.content[name] += lines
        self.meets("after", name)

    async def put(
        self, name: str, chunks: AsyncIterator[bytes], marks: Mapping[str, str]
    ) -> StoredBlob:
        """See ``Destination.put``."""
        self.calls.append(("put", name))
        self.meets("before", name)
        data = b"".join([chunk async for chunk in chunks])
        self._write(name, data, marks)
        self.meets("after", name)
        return StoredBlob(len(data), hashlib.sha256(data).digest())

    async def copy(self, name: str, link: str, marks: Mapping[str, str]) -> Copied:
        """See ``Destination.copy``."""
        self.calls.append(("copy", name))
        if self.copies is not Copied.DONE:
            return self.copies
        self.meets("before", name)
        await asyncio.sleep(0)
        key = link.removeprefix("link:")
        if key not in self.trusted.content:
            return Copied.NOT_THIS
        self._write(name, self.trusted.content[key], marks)
        self.meets("after", name)
        return Copied.DONE

    async def marks(self, name: str) -> Mapping[str, str] | None:
        """See ``Destination.marks``."""
        await asyncio.sleep(0)
        return self.marked.get(name)

    def _write(self, name: str, data: bytes, marks: Mapping[str, str]) -> None:
        if name in self.content:
            raise AlreadyStored(name)
        self.content[name] = data
        self.marked[name] = {**marks, "writer": secrets.token_hex(4)}
        self.writes[name] = self.writes.get(name, 0) + 1

    # Destinations and Links -----------------------------------------------------------------

    @asynccontextmanager
    async def open(self, target: Target) -> AsyncIterator[Destination]:
        """See ``Destinations.open``: whatever the target, it is this one."""
        assert target.container
        yield self

    async def link(self, key: str) -> str | None:
        """See ``Links.link``."""
        return f"link:{key}"

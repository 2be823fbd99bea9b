"""Issuers in memory, and a registry in memory, for tests of sign-in without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from shared.auth.ports import TenantRow
from shared.errors import AlreadyStored, Unavailable


class MemoryPublished:
    """Documents by address. ``away`` makes it fail; ``calls`` are the addresses that were read."""

    def __init__(self, documents: dict[str, Any]) -> None:
        self.documents = documents
        self.away = False
        self.calls: list[str] = []

    async def get(self, url: str) -> dict[str, Any]:
        """The document."""
        self.calls.append(url)
        if self.away or url not in self.documents:
            raise Unavailable
        found: dict[str, Any] = self.documents[url]
        return found


class MemoryRegistry:
    """Rows in a dictionary. ``away`` makes it fail; ``reads`` counts the lists."""

    def __init__(self, *rows: TenantRow) -> None:
        self.content = {row.tenant: row for row in rows}
        self.away = False
        self.reads = 0

    async def get(self, tenant: str) -> TenantRow | None:
        """One row."""
        return self.content.get(tenant)

    async def list(self) -> AsyncIterator[TenantRow]:
        """All rows."""
        self.reads += 1
        if self.away:
            raise Unavailable
        for name in sorted(self.content):
            yield self.content[name]

    async def add(self, row: TenantRow) -> None:
        """Write a new row."""
        if row.tenant in self.content:
            raise AlreadyStored("it is there")
        self.content[row.tenant] = row

    async def put(self, row: TenantRow) -> None:
        """Write a row."""
        self.content[row.tenant] = row

    async def delete(self, tenant: str) -> None:
        """Delete a row."""
        self.content.pop(tenant, None)

    async def close(self) -> None:
        """Nothing is open."""

"""What sign-in needs from outside: the registry of tenants, and what issuers publish."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.ports import JsonObject


@dataclass(frozen=True, slots=True)
class TenantRow:
    """One tenant as the registry knows it. ``created`` in UTC.

    ``issuers`` and ``audiences`` say whose tokens for whom it takes; none: the settings say it.
    """

    tenant: str
    state: str
    blob_container: str
    database: str
    created: datetime
    issuers: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()


class Registry(Protocol):
    """The tenants. Small, read often, written rarely."""

    async def get(self, tenant: str) -> TenantRow | None:
        """One tenant's row, or ``None``."""
        ...

    def list(self) -> AsyncIterator[TenantRow]:
        """All tenants, in order of their names."""
        ...

    async def add(self, row: TenantRow) -> None:
        """Write the row of a new tenant.

        Raises
        ------
        AlreadyStored
            It has one; nothing was changed.
        """
        ...

    async def put(self, row: TenantRow) -> None:
        """Write a row over what was there."""
        ...

    async def delete(self, tenant: str) -> None:
        """Delete a row, if it is there."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


class Published(Protocol):
    """What issuers of tokens publish."""

    async def get(self, url: str) -> JsonObject:
        """A small JSON object.

        Raises
        ------
        Unavailable
            There is none, or no answer in time.
        """
        ...

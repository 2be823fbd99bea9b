"""The tenants as the registry has them, and whose tokens each trusts.

What it says is at most a minute old. A name that it does not have is looked for again after two
seconds, so that a new tenant is there at once, and unknown names cost no call each. While the
registry is away, what was read last is used for ten minutes.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from shared.auth.issuers import Issuer, parse_issuer
from shared.auth.ports import Registry, TenantRow
from shared.auth.settings import TENANT, SignIn
from shared.auth.tokens import VerifiedToken
from shared.errors import AlreadyStored, ServiceTrouble, Unavailable
from shared.ports import Clock

_log = logging.getLogger("dicom.auth")

LASTS_S = 60.0
MISSING_LASTS_S = 2.0
OUTAGE_S = 600.0
_AFTER_FAILURE_S = 5.0
_PATIENCE_S = 5.0  # all callers wait while it is read, and there is a picture to go on with

ACTIVE, SUSPENDED, DELETING = "active", "suspended", "deleting"
STATES = (ACTIVE, SUSPENDED, DELETING)

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_MOST_NAME = 50  # dicom-{tenant} names a container of at most 63 characters
_RESERVED = frozenset({"admin", "health", "runtime", "tenants", "v1", "v2"})


def is_tenant_name(text: str) -> bool:
    """Whether a tenant may have this name: it names containers, databases and addresses."""
    return len(text) <= _MOST_NAME and _NAME.fullmatch(text) is not None and text not in _RESERVED


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose tokens a tenant takes.

    Parameters
    ----------
    issuers : Mapping
        By what tokens say in ``iss``.
    audiences : frozenset of str
        Without trailing slashes.
    """

    issuers: Mapping[str, Issuer]
    audiences: frozenset[str]

    def accepts(self, token: VerifiedToken) -> bool:
        """Whether a valid token is for this tenant."""
        issuer = self.issuers.get(token.claims["iss"])
        return issuer == token.issuer and bool(self.audiences & token.audiences)


@dataclass(frozen=True, slots=True)
class _Picture:
    """The registry as it was read; ``owners`` by their blob containers, ``read_at`` its begin."""

    rows: Mapping[str, TenantRow]
    owners: Mapping[str, TenantRow]
    trust: Mapping[str, Trust]
    issuers: Mapping[str, Issuer]
    read_at: float


class Directory:
    """The tenants of the service.

    Parameters
    ----------
    registry : Registry
        Where they are kept.
    sign_in : SignIn
        What holds for those whose row says nothing.
    names : tuple of str
        Tenants that the settings name: they get a row if they have none.
    clock : Clock
        When a row was made.
    now : Callable
        Seconds of a clock that only runs forward.
    """

    def __init__(
        self,
        registry: Registry,
        sign_in: SignIn,
        names: tuple[str, ...],
        clock: Clock,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._sign_in = sign_in
        self._names = names
        self._clock = clock
        self._now = now
        self._picture: _Picture | None = None
        self._next_read = 0.0
        self._lock = asyncio.Lock()

    async def row(self, tenant: str) -> TenantRow | None:
        """A tenant's row, whatever its state; ``None`` if there is none."""
        return (await self._seen(tenant)).rows.get(tenant)

    async def owner(self, container: str) -> TenantRow | None:
        """The row of the tenant that has a blob container, whatever its state.

        What nobody has is looked for in a picture that was begun after this call: a tenant may be
        so new that what was known a moment ago does not have it.

        Raises
        ------
        Unavailable
            That picture cannot be had now.
        """
        asked = self._now()
        picture = await self._seen(None)
        while container not in picture.owners and picture.read_at < asked:
            picture = await self._newer(picture)
        return picture.owners.get(container)

    async def trust(self, tenant: str) -> Trust | None:
        """Whose tokens a tenant takes; ``None`` if there is no such tenant."""
        return (await self._seen(tenant)).trust.get(tenant)

    async def issuers(self) -> Mapping[str, Issuer]:
        """All who are trusted by some tenant or by the service, by ``iss``."""
        return (await self._seen(None)).issuers

    async def knows(self, token: VerifiedToken) -> bool:
        """Whether a valid token is for some tenant."""
        return any(trust.accepts(token) for trust in (await self._seen(None)).trust.values())

    async def rows(self) -> list[TenantRow]:
        """All rows, in order of their names."""
        return list((await self._seen(None)).rows.values())

    def is_of_the_settings(self, tenant: str) -> bool:
        """Whether the settings name the tenant, so that it has a row whatever happens."""
        return tenant in self._names

    def forget(self) -> None:
        """Read the registry anew at the next call: this process has changed it."""
        if self._picture is not None:
            self._picture = replace(self._picture, read_at=self._now() - LASTS_S - 1)

    async def _seen(self, tenant: str | None) -> _Picture:
        picture = self._picture
        if picture is not None and not self._is_old(picture, tenant):
            return picture
        async with self._lock:
            current = self._picture
            if current is not None and (
                current is not picture or not self._is_old(current, tenant)
            ):  # read, or found not to answer, while this call waited
                return current
            if self._now() < self._next_read:
                raise Unavailable
            return await self._read(current)

    def _is_old(self, picture: _Picture, tenant: str | None) -> bool:
        age = self._now() - picture.read_at
        missing = tenant is not None and tenant not in picture.rows
        if self._now() < self._next_read and age <= OUTAGE_S:
            return False  # the registry has just failed to answer
        return age > (MISSING_LASTS_S if missing else LASTS_S)

    async def _newer(self, picture: _Picture) -> _Picture:
        """Another picture than this one."""
        async with self._lock:
            current = self._picture
            if current is None or current is picture:
                if self._now() < self._next_read:
                    raise Unavailable
                current = await self._read(current)
        if current is picture:
            raise Unavailable  # the registry does not answer
        return current

    async def _read(self, old: _Picture | None) -> _Picture:
        began = self._now()
        try:
            async with asyncio.timeout(None if old is None else _PATIENCE_S):
                rows = {row.tenant: row async for row in self._registry.list()}
                for name in self._names:
                    if name not in rows:
                        rows[name] = await self._add(name)
        except (ServiceTrouble, TimeoutError) as error:
            self._next_read = self._now() + _AFTER_FAILURE_S
            if old is None or self._now() - old.read_at > OUTAGE_S:
                self._picture = None
                raise Unavailable from error
            _log.warning("the registry does not answer; its last picture is used")
            return old
        trust = {name: self.trust_of(row) for name, row in rows.items()}
        issuers = {name: one for one in self._sign_in.issuers for name in one.names}
        for found in trust.values():
            issuers |= found.issuers
        owners = {row.blob_container: row for row in rows.values()}
        self._picture = _Picture(rows, owners, trust, issuers, began)
        return self._picture

    async def _add(self, name: str) -> TenantRow:
        stores = f"dicom-{name}"
        row = TenantRow(name, ACTIVE, stores, stores, self._clock.now())
        try:
            await self._registry.add(row)
        except AlreadyStored:
            return await self._registry.get(name) or row
        return row

    def trust_of(self, row: TenantRow) -> Trust:
        """Whose tokens a tenant takes, by its row or else by the settings."""
        issuers = self._sign_in.issuers if not row.issuers else tuple(_parsed(row))
        audiences = frozenset(one.rstrip("/") for one in row.audiences)
        if not audiences and (row.tenant in self._names or self._audiences_differ()):
            audiences = self._sign_in.audiences_of(row.tenant)
        return Trust({name: one for one in issuers for name in one.names}, audiences)

    def _audiences_differ(self) -> bool:
        return all(TENANT in one for one in self._sign_in.audiences)


def _parsed(row: TenantRow) -> list[Issuer]:
    """The issuers of a row; one that is none is trusted by nobody."""
    found = []
    for text in row.issuers:
        try:
            found.append(parse_issuer(text))
        except ValueError:
            _log.error("an issuer of the registry is none", extra={"tenant": row.tenant})
    return found

"""Administration of tenants: the registry's rows, and what must hold among them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from shared.auth.directory import ACTIVE, DELETING, STATES, Directory, is_tenant_name
from shared.auth.issuers import parse_issuer
from shared.auth.ports import Registry, TenantRow
from shared.errors import AlreadyStored, MalformedRequest, StateConflict, TenantNotFound
from shared.ports import Clock, JsonObject

_STORE = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
"""Names of blob containers; of databases too, so that each also names a file."""

_MEMBERS = frozenset({"state", "blobContainer", "database", "issuers", "audiences"})
_MOST_TEXTS = 20
_TEXT = re.compile(r"[!#-\[\]-~]{1,512}")
_NO_SUCH = "There is no such tenant."


class Tenants:
    """What an administrator of the service may do with tenants.

    Parameters
    ----------
    registry : Registry
        Where they are kept.
    directory : Directory
        The tenants as this process sees them; told of each change.
    clock : Clock
        When a row was made.
    prepare : Callable
        Makes the blob container of a new tenant, if it is not there.
    """

    def __init__(
        self,
        registry: Registry,
        directory: Directory,
        clock: Clock,
        prepare: Callable[[TenantRow], Awaitable[None]],
    ) -> None:
        self._registry = registry
        self._directory = directory
        self._clock = clock
        self._prepare = prepare

    async def list(self) -> list[JsonObject]:
        """All tenants, in order of their names."""
        return [shown(row) async for row in self._registry.list()]

    async def get(self, tenant: str) -> JsonObject:
        """One tenant.

        Raises
        ------
        TenantNotFound
            There is none of that name.
        """
        return shown(await self._row(tenant))

    async def put(self, tenant: str, body: JsonObject) -> tuple[JsonObject, bool]:
        """Make a tenant, or change what ``body`` names of one that is there.

        Parameters
        ----------
        tenant : str
            Its name.
        body : JsonObject
            ``state``, ``blobContainer``, ``database``, ``issuers``, ``audiences``, or some of them.

        Returns
        -------
        tuple
            The tenant, and whether it is new.

        Raises
        ------
        MalformedRequest
            The name or a member breaks its rules; the message names it.
        StateConflict
            It would share a store, or tokens, with another tenant; or its stores would change.
        """
        if not is_tenant_name(tenant):
            raise MalformedRequest(
                "A tenant's name has at most 50 lower-case letters, digits and single hyphens "
                "between them, and is none that addresses of the service begin with."
            )
        old = await self._registry.get(tenant)
        stores = f"dicom-{tenant}"
        default = TenantRow(tenant, ACTIVE, stores, stores, self._clock.now())
        row = _changed(old or default, body)
        if old is not None and _stores(row) != _stores(old):
            raise StateConflict("The stores of a tenant cannot be changed.")
        await self._check_others(row)
        await self._prepare(row)
        if old is None:
            await self._registry.add(row)
        else:
            await self._registry.put(row)
        self._directory.forget()
        return shown(row), old is None

    async def remove(self, tenant: str) -> JsonObject | None:
        """Begin to delete a tenant: its callers find nothing from now on. Its data stay.

        A second call takes its row out of the registry, once an operator has dealt with the data.

        Returns
        -------
        JsonObject or None
            The tenant, now in the state ``deleting``; ``None`` if its row is gone.

        Raises
        ------
        TenantNotFound
            There is none of that name.
        StateConflict
            The settings name it, so that its row would come back.
        """
        row = await self._row(tenant)
        if row.state != DELETING:
            row = replace(row, state=DELETING)
            await self._registry.put(row)
            self._directory.forget()
            return shown(row)
        if self._directory.is_of_the_settings(tenant):
            raise StateConflict("DICOM_TENANTS names this tenant; take it out there first.")
        await self._registry.delete(tenant)
        self._directory.forget()
        return None

    async def _row(self, tenant: str) -> TenantRow:
        row = await self._registry.get(tenant) if is_tenant_name(tenant) else None
        if row is None:
            raise TenantNotFound(_NO_SUCH)
        return row

    async def _check_others(self, row: TenantRow) -> None:
        trust = self._directory.trust_of(row)
        async for other in self._registry.list():
            if other.tenant == row.tenant:
                continue
            if row.blob_container == other.blob_container or row.database == other.database:
                raise AlreadyStored("Another tenant has that container or database.")
            theirs = self._directory.trust_of(other)
            shared = trust.issuers.keys() & theirs.issuers.keys()
            if shared and trust.audiences & theirs.audiences:
                raise StateConflict(
                    "Another tenant takes tokens of the same issuer for the same audience."
                )


def shown(row: TenantRow) -> JsonObject:
    """A tenant as administrators see it."""
    return {
        "tenant": row.tenant,
        "state": row.state,
        "blobContainer": row.blob_container,
        "database": row.database,
        "issuers": list(row.issuers),
        "audiences": list(row.audiences),
        "createdDate": row.created.isoformat(),
    }


def _stores(row: TenantRow) -> tuple[str, str]:
    return row.blob_container, row.database


def _changed(row: TenantRow, body: JsonObject) -> TenantRow:
    if body.keys() - _MEMBERS:
        raise MalformedRequest(f"The body may have the members {', '.join(sorted(_MEMBERS))}.")
    state = body.get("state", row.state)
    if state not in STATES:
        raise MalformedRequest(f"'state' must be one of {', '.join(STATES)}.")
    issuers = _texts(body, "issuers", row.issuers)
    for text in issuers:
        try:
            parse_issuer(text)
        except ValueError as error:
            raise MalformedRequest(f"'issuers': {error}.") from None
    return replace(
        row,
        state=state,
        blob_container=_store(body, "blobContainer", row.blob_container),
        database=_store(body, "database", row.database),
        issuers=issuers,
        audiences=_texts(body, "audiences", row.audiences),
    )


def _store(body: JsonObject, member: str, before: str) -> str:
    text: Any = body.get(member, before)
    if not isinstance(text, str) or _STORE.fullmatch(text) is None:
        raise MalformedRequest(f"'{member}' must have 3 to 63 lower-case letters and digits.")
    return text


def _texts(body: JsonObject, member: str, before: tuple[str, ...]) -> tuple[str, ...]:
    found: Any = body.get(member, list(before))
    if (
        not isinstance(found, list)
        or len(found) > _MOST_TEXTS
        or not all(isinstance(one, str) and _TEXT.fullmatch(one) for one in found)
    ):
        raise MalformedRequest(f"'{member}' must be a list of at most {_MOST_TEXTS} addresses.")
    return tuple(found)

"""The ``Registry`` port on Azure Table Storage."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.failures import translated
from shared.auth.ports import TenantRow
from shared.errors import AlreadyStored

if TYPE_CHECKING:
    from azure.data.tables.aio import TableServiceClient

TABLE = "tenants"
_PARTITION = "tenant"
_NOT_IN_KEY = re.compile(r"[/\\#?'\x00-\x1f\x7f-\x9f]")


class TableRegistry:
    """The tenants, one entity each; the row key is the tenant's name.

    Parameters
    ----------
    service : TableServiceClient
        The client; ``close`` closes it.
    """

    def __init__(self, service: TableServiceClient) -> None:
        self._service = service
        self._table = service.get_table_client(TABLE)

    async def get(self, tenant: str) -> TenantRow | None:
        """One tenant's row, or ``None``. A name that no key can have is nobody's."""
        from azure.core.exceptions import ResourceNotFoundError

        if not tenant or _NOT_IN_KEY.search(tenant):
            return None
        try:
            with translated():
                return _row(await self._table.get_entity(_PARTITION, tenant))
        except ResourceNotFoundError:
            return None

    async def list(self) -> AsyncIterator[TenantRow]:
        """All tenants, in order of their names."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            with translated():
                async for entity in self._table.query_entities(f"PartitionKey eq '{_PARTITION}'"):
                    yield _row(entity)
        except ResourceNotFoundError:
            return  # no table yet

    async def add(self, row: TenantRow) -> None:
        """Write the row of a new tenant."""
        from azure.core.exceptions import ResourceExistsError

        try:
            await self._write(row, self._table.create_entity)
        except ResourceExistsError as error:
            raise AlreadyStored("There is a tenant of that name.") from error

    async def put(self, row: TenantRow) -> None:
        """Write a row over what was there."""
        from azure.data.tables import UpdateMode

        await self._write(row, partial(self._table.upsert_entity, mode=UpdateMode.REPLACE))

    async def delete(self, tenant: str) -> None:
        """Delete a row, if it is there."""
        from azure.core.exceptions import ResourceNotFoundError

        if not tenant or _NOT_IN_KEY.search(tenant):
            return
        with contextlib.suppress(ResourceNotFoundError), translated():
            await self._table.delete_entity(_PARTITION, tenant)

    async def close(self) -> None:
        """Close the client."""
        await self._service.close()

    async def _write(self, row: TenantRow, write: Callable[..., Awaitable[object]]) -> None:
        """Write a row, and make the table if there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        if not row.tenant or _NOT_IN_KEY.search(row.tenant):
            raise ValueError("the tenant's name cannot be a key")
        entity: dict[str, Any] = {
            "PartitionKey": _PARTITION,
            "RowKey": row.tenant,
            "state": row.state,
            "blobContainer": row.blob_container,
            "database": row.database,
            "created": row.created.isoformat(),
            "issuers": json.dumps(row.issuers),
            "audiences": json.dumps(row.audiences),
        }
        try:
            with translated():
                await write(entity)
        except ResourceNotFoundError:
            with translated():
                await self._service.create_table_if_not_exists(TABLE)
                await write(entity)


def _row(entity: Mapping[str, Any]) -> TenantRow:
    return TenantRow(
        tenant=entity["RowKey"],
        state=entity["state"],
        blob_container=entity["blobContainer"],
        database=entity["database"],
        created=datetime.fromisoformat(entity["created"]),
        issuers=tuple(json.loads(entity.get("issuers") or "[]")),
        audiences=tuple(json.loads(entity.get("audiences") or "[]")),
    )

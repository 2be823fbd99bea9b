"""The ``Registry`` port on Azure Table Storage."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.failures import translated
from shared.ports import TenantRow

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

    async def put(self, row: TenantRow) -> None:
        """Write a row over what was there."""
        from azure.core.exceptions import ResourceNotFoundError

        if not row.tenant or _NOT_IN_KEY.search(row.tenant):
            raise ValueError("the tenant's name cannot be a key")
        try:
            await self._upsert(row)
        except ResourceNotFoundError:
            with translated():
                await self._service.create_table_if_not_exists(TABLE)
            await self._upsert(row)

    async def close(self) -> None:
        """Close the client."""
        await self._service.close()

    async def _upsert(self, row: TenantRow) -> None:
        from azure.data.tables import UpdateMode

        entity: dict[str, Any] = {
            "PartitionKey": _PARTITION,
            "RowKey": row.tenant,
            "state": row.state,
            "blobContainer": row.blob_container,
            "database": row.database,
            "created": row.created.isoformat(),
        }
        with translated():
            await self._table.upsert_entity(entity, mode=UpdateMode.REPLACE)


def _row(entity: Mapping[str, Any]) -> TenantRow:
    return TenantRow(
        tenant=entity["RowKey"],
        state=entity["state"],
        blob_container=entity["blobContainer"],
        database=entity["database"],
        created=datetime.fromisoformat(entity["created"]),
    )

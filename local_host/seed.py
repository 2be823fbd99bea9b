"""``python -m local_host.seed``: what a fresh storage account needs before the app can answer.

Does what Bicep does in Azure: the tenants' rows in the registry, and their blob containers.
Running it again changes nothing.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from shared.adapters.azure.blobs import ensure_container
from shared.adapters.azure.clients import blob_service, table_service
from shared.adapters.azure.tables import TableRegistry
from shared.auth.ports import TenantRow
from shared.config import Settings, load_settings


async def seed(settings: Settings) -> None:
    """Write each tenant's row, unless it has one, and make its container."""
    async with blob_service(settings.storage) as blobs, table_service(settings.storage) as tables:
        registry = TableRegistry(tables)
        for tenant in settings.tenants:
            row = await registry.get(tenant)
            if row is None:
                name = f"dicom-{tenant}"
                row = TenantRow(tenant, "active", name, name, datetime.now(UTC))
                await registry.put(row)
            await ensure_container(blobs, row.blob_container)


if __name__ == "__main__":
    asyncio.run(seed(load_settings()))

"""The ``Registry`` port on Azurite."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.adapters.azure.tables import TABLE, TableRegistry
from shared.auth.ports import TenantRow
from shared.errors import AlreadyStored

CREATED = datetime(2024, 2, 29, 23, 59, 59, 123_456, tzinfo=UTC)


def _row(tenant: str, state: str = "active") -> TenantRow:
    return TenantRow(tenant, state, f"dicom-{tenant}", f"dicom-{tenant}", CREATED)


@pytest.fixture
async def registry(table_client) -> TableRegistry:
    await table_client.delete_table(TABLE)
    return TableRegistry(table_client)


async def test_registry_without_a_table_is_empty(registry):
    assert await registry.get("main") is None
    assert [row async for row in registry.list()] == []


async def test_what_was_put_is_found(registry):
    await registry.put(_row("main"))
    assert await registry.get("main") == _row("main")
    assert await registry.get("Main") is None
    assert await registry.get("other") is None


async def test_put_writes_over_what_was_there(registry):
    await registry.put(_row("main"))
    await registry.put(_row("main", state="closed"))
    assert await registry.get("main") == _row("main", state="closed")
    assert len([row async for row in registry.list()]) == 1


async def test_list_is_in_order_of_the_names(registry):
    for tenant in ("b", "a10", "main", "a2", "B"):
        await registry.put(_row(tenant))
    assert [row.tenant async for row in registry.list()] == ["B", "a10", "a2", "b", "main"]


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "a#b", "a?b", "a'b", "a\x00b", "ä b", "%41"])
async def test_strange_name_is_nobodys(registry, name):
    await registry.put(_row("A"))
    assert await registry.get(name) is None


async def test_a_new_tenant_is_added_once(registry):
    row = replace(_row("main"), issuers=("https://issuer.example",), audiences=("a", "b"))
    await registry.add(row)
    assert await registry.get("main") == row
    with pytest.raises(AlreadyStored):
        await registry.add(_row("main"))
    assert await registry.get("main") == row


async def test_what_was_deleted_is_gone(registry):
    await registry.delete("main")
    await registry.put(_row("main"))
    await registry.delete("main")
    await registry.delete("a/b")
    assert await registry.get("main") is None
    await registry.add(_row("main"))

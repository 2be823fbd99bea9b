"""The rows of the tenants as ``azd provision`` leaves them, in the table of a storage account."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.hooks.postprovision import work
from infra.hooks.rest import Rest
from shared.adapters.azure.clients import table_service
from shared.adapters.azure.tables import TableRegistry
from shared.auth.ports import TenantRow
from shared.config import StorageConnection
from tests.support.cloud import TOKEN, Cloud, cloud_running

ENVIRONMENT = {
    "AZURE_TENANT_ID": "11111111-2222-3333-4444-555555555555",
    "AZURE_SUBSCRIPTION_ID": "s-1",
    "AZURE_RESOURCE_GROUP": "rg-dicom",
    "DICOM_KEY_VAULT": "kv-1",
    "DICOM_TENANTS": "main,clinic,bare",
    "DICOM_API_CLIENT_ID": "app-main",
    "DICOM_API_CLIENT_IDS": "clinic=app-clinic",
}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_running() as running:
        yield running


@pytest.fixture
def provision(cloud: Cloud, account: str) -> Callable[..., None]:
    def run(connection: str = account, **changes: str) -> None:
        rest = Rest(cloud.url, lambda: TOKEN, pause=lambda _: None)
        storage = StorageConnection(connection)
        work({**ENVIRONMENT, **changes}, rest, lambda: table_service(storage))

    return run


async def rows(account: str) -> dict[str, TenantRow]:
    async with table_service(StorageConnection(account)) as tables:
        return {row.tenant: row async for row in TableRegistry(tables).list()}


def test_each_tenant_has_a_row_with_its_audiences(
    cloud: Cloud, account: str, provision: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    provision()
    found = asyncio.run(rows(account))
    assert {name: row.audiences for name, row in found.items()} == {
        "main": ("app-main", "api://app-main"),
        "clinic": ("app-clinic", "api://app-clinic"),
        "bare": (),
    }
    assert found["clinic"].blob_container == found["clinic"].database == "dicom-clinic"
    assert cloud.secrets["dicom-secrets-key"] not in capsys.readouterr().out

    provision()  # a second time nothing changes
    assert asyncio.run(rows(account)) == found


def test_what_an_administrator_has_set_stays(account: str, provision: Any) -> None:
    async def set_own() -> None:
        async with table_service(StorageConnection(account)) as tables:
            registry = TableRegistry(tables)
            row = await registry.get("clinic")
            assert row is not None
            await registry.put(replace(row, audiences=("api://own",), state="suspended"))

    provision()
    asyncio.run(set_own())
    provision()
    row = asyncio.run(rows(account))["clinic"]
    assert (row.audiences, row.state) == (("api://own",), "suspended")


def test_a_row_that_the_app_made_first_gets_its_audiences(account: str, provision: Any) -> None:
    created = datetime(2026, 1, 1, tzinfo=UTC)

    async def start_app() -> None:
        async with table_service(StorageConnection(account)) as tables:
            name = "dicom-clinic"
            row = TenantRow("clinic", "active", name, name, created)
            await TableRegistry(tables).add(row)

    asyncio.run(start_app())
    provision()
    row = asyncio.run(rows(account))["clinic"]
    assert row.audiences == ("app-clinic", "api://app-clinic")
    assert row.created == created


def test_a_table_that_cannot_be_reached_does_not_stop_it(
    account: str, provision: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", account)
    provision(closed)
    out = capsys.readouterr().out
    assert "Storage Table Data Contributor" in out
    assert "$SERVICE_API_URI/tenants/clinic" in out

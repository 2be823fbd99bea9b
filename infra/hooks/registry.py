"""The rows of the tenants in the registry, by the code that the app uses.

The app makes the rows itself when it starts; what it cannot know is which registration of Entra ID
is whose. So a row gets its tenant's audiences here, unless an administrator has given it some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from infra.hooks import entra
from infra.hooks.azd import HookStopped
from shared.adapters.azure.tables import TableRegistry
from shared.adapters.system import SystemClock
from shared.auth.directory import Directory
from shared.auth.issuers import parse_issuer
from shared.auth.ports import TenantRow
from shared.auth.settings import SignIn
from shared.auth.tenants import Tenants
from shared.errors import DicomServiceError

if TYPE_CHECKING:
    from azure.data.tables.aio import TableServiceClient

_RETRIES = 3


def table_client(account: str, directory: str) -> TableServiceClient:
    """A client of a storage account's tables, as who is signed in to azd or the Azure CLI."""
    from azure.data.tables.aio import TableServiceClient
    from azure.identity.aio import (
        AzureCliCredential,
        AzureDeveloperCliCredential,
        ChainedTokenCredential,
    )

    who = ChainedTokenCredential(
        AzureDeveloperCliCredential(tenant_id=directory), AzureCliCredential(tenant_id=directory)
    )
    endpoint = f"https://{account}.table.core.windows.net"
    return TableServiceClient(endpoint, credential=who, retry_total=_RETRIES)


async def write_rows(
    open_tables: Callable[[], TableServiceClient],
    directory: str,
    client_ids: Mapping[str, str | None],
) -> list[str]:
    """Make the rows that are not there, and give audiences to those without.

    Parameters
    ----------
    open_tables : Callable
        Makes a client of the storage account with the table.
    directory : str
        Id of the directory of Entra ID.
    client_ids : Mapping
        The application id of each tenant; ``None``: it has none of its own.

    Returns
    -------
    list of str
        What was done, a line for each tenant.

    Raises
    ------
    HookStopped
        The table cannot be reached, or not be written; the message says how to go on.
    """
    from azure.core.exceptions import AzureError

    issuer = parse_issuer(f"https://login.microsoftonline.com/{directory}")
    try:
        async with open_tables() as tables:
            registry = TableRegistry(tables)
            rows = Directory(registry, SignIn(issuers=(issuer,)), (), SystemClock())
            tenants = Tenants(registry, rows, SystemClock(), _nothing_to_prepare)
            return [
                await _write(registry, tenants, tenant, client_id)
                for tenant, client_id in client_ids.items()
            ]
    except (AzureError, DicomServiceError) as error:
        raise HookStopped(_by_hand(client_ids, error)) from None


async def _write(
    registry: TableRegistry, tenants: Tenants, tenant: str, client_id: str | None
) -> str:
    row = await registry.get(tenant)
    if row is not None and (row.audiences or client_id is None):
        return f"{tenant}: its row is there"
    named = entra.audiences(client_id) if client_id is not None else []
    await tenants.put(tenant, {"audiences": named} if named else {})
    return f"{tenant}: its row takes tokens for {' or '.join(named) or 'DICOM_AUDIENCE'}"


async def _nothing_to_prepare(_: TenantRow) -> None:
    """Bicep has made the containers."""


def _by_hand(client_ids: Mapping[str, str | None], error: Exception) -> str:
    lines = [
        f"The table of tenants could not be written ({_reason(error)}). That takes the role "
        "Storage Table Data Contributor on the storage account, and a network that reaches it.",
        "The service makes the rows itself when it starts. Tenants that are not the first one "
        "then take no tokens yet; an administrator of the service lets them:",
        "",
    ]
    for tenant, client_id in client_ids.items():
        if client_id is not None:
            body = '{"audiences": ["' + '", "'.join(entra.audiences(client_id)) + '"]}'
            lines.append(
                'curl -X PUT -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json"'
                f" -d '{body}' $SERVICE_API_URI/tenants/{tenant}"
            )
    return "\n".join(lines)


def _reason(error: Exception) -> str:
    """The kind of an error, and its code. The SDK's text repeats addresses."""
    code = getattr(error, "error_code", None) or getattr(error, "status_code", None)
    return f"{type(error).__name__} {code or ''}".rstrip()

"""After Azure's resources are made: the rows of the tenants, and the key of what is sealed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.hooks import azd, registry, vault
from infra.hooks.rest import MANAGEMENT, Rest

if TYPE_CHECKING:
    from azure.data.tables.aio import TableServiceClient


def work(
    environment: Mapping[str, str],
    management: Rest,
    open_tables: Callable[[], TableServiceClient],
) -> None:
    """Make what is not there.

    Parameters
    ----------
    environment : Mapping
        Variables of ``azd``.
    management : Rest
        Resource Manager.
    open_tables : Callable
        Makes a client of the storage account's tables.

    Raises
    ------
    HookStopped
        The key cannot be made, without which the service does not start.
    """
    deployment = azd.Deployment(environment)
    group = azd.group_path(deployment)
    name = deployment.get("DICOM_KEY_VAULT")
    if not name:
        print("no vault: exports by signature are refused")
    elif vault.ensure_key(management, group, name):
        print(f"{vault.SECRET}: made")
    else:
        print(f"{vault.SECRET}: is there")
    ids = deployment.client_ids
    clients = {tenant: ids.get(tenant) for tenant in deployment.tenants}
    try:
        lines = asyncio.run(
            registry.write_rows(open_tables, deployment["AZURE_TENANT_ID"], clients)
        )
    except azd.HookStopped as stopped:
        lines = [str(stopped)]  # the service makes the rows itself
    print("\n".join(lines))


def main() -> None:
    """The hook."""
    deployment = azd.Deployment(os.environ)
    directory, account = deployment["AZURE_TENANT_ID"], deployment["DICOM_STORAGE_ACCOUNT"]
    token = azd.token_source(azd.credential(directory), f"{MANAGEMENT}/.default")
    work(os.environ, Rest(MANAGEMENT, token), lambda: registry.table_client(account, directory))


if __name__ == "__main__":
    sys.exit(azd.run(main))

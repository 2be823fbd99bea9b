"""After Azure's resources are made: the rows of the tenants, and the key of what is sealed."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.hooks import azd, registry, vault
from infra.hooks.rest import MANAGEMENT, Rest
from shared.config import StorageConnection


def work(
    environment: Mapping[str, str], management: Rest, storage: StorageConnection | None = None
) -> None:
    """Make what is not there.

    Parameters
    ----------
    environment : Mapping
        Variables of ``azd``.
    management : Rest
        Resource Manager.
    storage : StorageConnection, optional
        The storage account; absent: the one that the environment names.

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
            registry.write_rows(
                storage or _storage(deployment), deployment["AZURE_TENANT_ID"], clients
            )
        )
    except azd.HookStopped as stopped:
        lines = [str(stopped)]  # the service makes the rows itself
    print("\n".join(lines))


def _storage(deployment: azd.Deployment) -> StorageConnection:
    account = deployment["DICOM_STORAGE_ACCOUNT"]
    blob, queue, table = (
        f"https://{account}.{service}.core.windows.net" for service in ("blob", "queue", "table")
    )
    return StorageConnection(blob_uri=blob, queue_uri=queue, table_uri=table)


def main() -> None:
    """The hook."""
    deployment = azd.Deployment(os.environ)
    token = azd.token_source(
        azd.credential(deployment["AZURE_TENANT_ID"]), f"{MANAGEMENT}/.default"
    )
    work(os.environ, Rest(MANAGEMENT, token))


if __name__ == "__main__":
    sys.exit(azd.run(main))

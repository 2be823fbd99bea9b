"""Azurite on free loopback ports: blob, queue and table service of some accounts.

An account is a deployment: two services with different indexes on one account would take each
other's messages.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import free_ports, node_script, running

ACCOUNT = "tests"
_MOST_ACCOUNTS = 500


@contextlib.contextmanager
def azurite_running(folder: Path, *, in_memory: bool = True) -> Iterator[str]:
    """Run Azurite with fresh accounts until the end of the block.

    Parameters
    ----------
    folder : Path
        Where its log goes, and its files unless it keeps them in memory.
    in_memory : bool
        Keep nothing on disk: quicker.

    Yields
    ------
    str
        The connection string of the first account; see ``account_of``.
    """
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    blob, queue, table = ports = free_ports(3)
    command = [
        *node_script("azurite", "dist", "src", "azurite.js"),
        *("--blobHost", "127.0.0.1", "--blobPort", str(blob)),
        *("--queueHost", "127.0.0.1", "--queuePort", str(queue)),
        *("--tableHost", "127.0.0.1", "--tablePort", str(table)),
        *("--silent", "--skipApiVersionCheck", "--disableTelemetry"),
        *(["--inMemoryPersistence"] if in_memory else ["--location", str(folder / "azurite")]),
    ]
    names = [ACCOUNT, *(f"{ACCOUNT}{number}" for number in range(1, _MOST_ACCOUNTS))]
    accounts = {"AZURITE_ACCOUNTS": ";".join(f"{name}:{key}" for name in names)}
    with running(command, ports, folder / "azurite.log", accounts):
        yield (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
            f"BlobEndpoint=http://127.0.0.1:{blob}/{ACCOUNT};"
            f"QueueEndpoint=http://127.0.0.1:{queue}/{ACCOUNT};"
            f"TableEndpoint=http://127.0.0.1:{table}/{ACCOUNT};"
        )


def account_of(connection: str, number: int) -> str:
    """The connection string of another account of the same Azurite; ``number`` from 1 to 499."""
    name = f"{ACCOUNT}{number}"
    return connection.replace(f"AccountName={ACCOUNT};", f"AccountName={name};").replace(
        f"/{ACCOUNT};", f"/{name};"
    )

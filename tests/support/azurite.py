"""Azurite on free loopback ports: blob, queue and table service of one account."""

from __future__ import annotations

import base64
import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import free_ports, node_script, running

ACCOUNT = "tests"


@contextlib.contextmanager
def azurite_running(folder: Path, *, in_memory: bool = True) -> Iterator[str]:
    """Run Azurite with a fresh account until the end of the block.

    Parameters
    ----------
    folder : Path
        Where its log goes, and its files unless it keeps them in memory.
    in_memory : bool
        Keep nothing on disk: quicker.

    Yields
    ------
    str
        The connection string.
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
    with running(command, ports, folder / "azurite.log", {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{key}"}):
        yield (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};"
            f"BlobEndpoint=http://127.0.0.1:{blob}/{ACCOUNT};"
            f"QueueEndpoint=http://127.0.0.1:{queue}/{ACCOUNT};"
            f"TableEndpoint=http://127.0.0.1:{table}/{ACCOUNT};"
        )

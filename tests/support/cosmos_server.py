"""The Cosmos DB stand-in from npm on a free loopback port."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import free_ports, node_script, running

KEY = "bm8ga2V5IGlzIGNoZWNrZWQ="
"""A key of the right form; the server checks none."""


@contextlib.contextmanager
def cosmos_server_running(folder: Path) -> Iterator[str]:
    """Run the server until the end of the block; gives its endpoint."""
    (port,) = ports = free_ports(1)
    command = [
        *node_script("@vercel/cosmosdb-server", "lib", "cli.js"),
        *("--no-ssl", "--host", "127.0.0.1", "--port", str(port)),
    ]
    with running(command, ports, folder / "cosmos.log", {}):
        yield f"http://127.0.0.1:{port}"

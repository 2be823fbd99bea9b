"""``python -m local_host``: host a function app on this machine."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path

from local_host.server import run_host
from local_host.settings import HostError


def main() -> int:
    """Exit status: 0 after SIGINT or SIGTERM, 2 where the app cannot be hosted."""
    parser = argparse.ArgumentParser(prog="local_host", description=__doc__)
    parser.add_argument("--app", type=Path, default=Path(), help="folder of function_app.py")
    parser.add_argument("--port", type=int, default=7071, help="port on 127.0.0.1; 0: a free one")
    parser.add_argument(
        "--state", type=Path, help="folder for what outlives a restart (APP/.local/host)"
    )
    arguments = parser.parse_args()
    app = arguments.app.resolve()
    try:
        _run(run_host(app, arguments.port, arguments.state or app / ".local" / "host"))
    except HostError as error:
        print(f"local_host: {error}", file=sys.stderr)
        return 2
    return 0


def _run(host: Coroutine[None, None, None]) -> None:
    """Run on the quicker event loop where there is one: not on Windows."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(host)
    else:
        uvloop.run(host)


if __name__ == "__main__":
    exit_status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # not sys.exit: it would wait for threads of functions that were given up, without a bound
    os._exit(exit_status)

"""``tenant``: the tenants of the service that ``serve`` runs, or of a data folder that it ran."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from devtools.environment import PYTHON, ensure_venv, one_at_a_time
from devtools.process import Stop, run
from devtools.serve import app_environment, azurite_answers, azurite_connection


def tenant(words: Sequence[str], data: Path) -> int:
    """Run a verb of ``local_host.tenants``. Its exit status.

    Parameters
    ----------
    words : sequence of str
        The verb and its arguments.
    data : Path
        The data folder of a ``serve`` that runs.

    Raises
    ------
    Stop
        No service runs on that folder.
    """
    with one_at_a_time():
        ensure_venv()
    try:
        ports: dict[str, int] = json.loads((data / "ports.json").read_text("ascii"))
    except (OSError, ValueError):
        ports = {}
    if not ports or not all(azurite_answers(port) for port in ports.values()):
        raise Stop(f"dev.py: no service runs on {data}; start one: dev.py serve --data {data}")
    environment = app_environment(os.environ, azurite_connection(ports), data, 0)
    return run([PYTHON, "-m", "local_host.tenants", *words], environment=environment)

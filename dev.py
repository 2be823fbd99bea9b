#!/usr/bin/env python3
"""The one command: ``serve``, ``tenant``, ``test``, ``check``, ``bench``, ``smoke``, ``setup``.

Needs nothing but a Python: it finds one that the project runs on, and then makes the rest
(``.venv``, ``node_modules``) by itself. This file must be readable by an old Python, so that
it can say that the Python is too old; everything else is in ``devtools/``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 13)


def fits(version: tuple[int, ...]) -> bool:
    """Whether the project runs on this version of Python."""
    return OLDEST <= tuple(version[:2]) <= NEWEST


def version_of(python: str) -> tuple[int, ...] | None:
    """The version of an interpreter, or ``None`` where it does not run (a shim, a broken link)."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [python, "-I", "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=20,
            check=False,
        )
        return tuple(int(number) for number in answer.stdout.split()) or None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def candidates() -> Iterator[str]:
    """Interpreters that may fit: on ``PATH``, then pyenv's; the newest first."""
    versions = [f"3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    for version in versions:
        found = shutil.which("python" + version)
        if found:
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for version in versions:
        for folder in sorted(pyenv.glob(version + ".*"), reverse=True):
            yield str(folder / "bin" / "python")


def find_python() -> str | None:
    """An interpreter that the project runs on: this one, if it fits."""
    if fits(sys.version_info[:2]):
        return sys.executable
    for python in candidates():
        version = version_of(python)
        if version and fits(version):
            return python
    return None


def main() -> int:
    """Run the verb on the command line, in a Python that fits."""
    if fits(sys.version_info[:2]):
        from devtools.cli import run

        return run(sys.argv[1:])
    python = find_python()
    if python is not None:
        os.execv(python, [python, str(Path(__file__).resolve()), *sys.argv[1:]])  # noqa: S606
    print(
        f"dev.py needs Python 3.11, 3.12 or 3.13. This is {sys.version.split()[0]} "
        f"({sys.executable}), and none of them is on PATH or under ~/.pyenv/versions. "
        "Install one, and run: python3.13 dev.py",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())

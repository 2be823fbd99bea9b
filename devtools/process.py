"""Programs that dev.py runs: to their end, or in the background under a guard."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder."""

_GUARD = Path(__file__).with_name("guard.py")


class Stop(Exception):
    """dev.py cannot go on; the message says why and what to do."""


def run(command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None) -> int:
    """Run a program in the project's folder, its output as it comes. The exit status."""
    words = [str(word) for word in command]
    # nothing may wait for input: CI has none
    return subprocess.run(  # noqa: S603
        words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode


def run_quietly(
    command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a program as ``run`` does, and keep its output. The exit status, and the output."""
    done = subprocess.run(  # noqa: S603
        [str(word) for word in command],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def output_of(command: Sequence[str | Path]) -> str | None:
    """What a program prints, or ``None`` where it fails or is not there."""
    try:
        done = subprocess.run(  # noqa: S603
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


class Guarded:
    """A program in the background that ends when this process ends, however that happens.

    Its parent is ``guard.py``, which holds the read end of a pipe whose only write end is here:
    even ``kill -9`` closes it, and then the guard stops the program. Both run in a session of
    their own, so that Ctrl-C reaches this process alone, which stops them in order.

    Parameters
    ----------
    command : Sequence[str | Path]
        The program and its arguments.
    environment : Mapping[str, str] | None
        Its environment; this process's own if absent.
    log : IO[bytes] | None
        Where its output goes; to this process's own if absent.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        log: IO[bytes] | None = None,
    ) -> None:
        words = [sys.executable, "-I", "-S", str(_GUARD), *(str(word) for word in command)]
        self._process = subprocess.Popen(  # noqa: S603
            words,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=True,
        )

    @property
    def status(self) -> int | None:
        """Exit status of the program, ``None`` while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Let the program end in good order; returns when it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

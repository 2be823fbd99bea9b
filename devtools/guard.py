"""Run a program for as long as standard input stays open; then stop it.

The parent keeps the other end of the pipe. When the parent ends, even by ``kill -9``, the pipe
closes, and the program gets SIGTERM, and SIGKILL after a grace period.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

GRACE_S = 13.0
"""Seconds from SIGTERM to SIGKILL: longer than local_host lets invocations finish."""


def _stop_at_end_of_input(program: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    program.terminate()
    try:
        program.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        program.kill()


def main() -> int:
    """The program's exit status; 128 + n where signal n ended it."""
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: program.terminate())
    threading.Thread(target=_stop_at_end_of_input, args=(program,), daemon=True).start()
    status = program.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())

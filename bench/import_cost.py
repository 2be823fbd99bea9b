"""What it costs to import the app: the part of a cold start that is ours."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

BUDGET_S = 1.0
BUDGET_MB = 120

_PROGRAM = """
import time, resource
began = time.perf_counter()
import function_app
seconds = time.perf_counter() - began
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure(arguments: argparse.Namespace) -> None:
    """Import the app in fresh processes; print medians beside the budget."""
    rows = []
    for _ in range(max(5, arguments.rounds)):
        outcome = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            cwd=Path(__file__).resolve().parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, megabytes = map(float, outcome.stdout.split())
        rows.append((seconds, megabytes))
    seconds = statistics.median(row[0] for row in rows)
    megabytes = statistics.median(row[1] for row in rows)
    print(f"import function_app: {seconds:.2f} s (budget {BUDGET_S} s), ", end="")
    print(f"{megabytes:.0f} MB of process (budget {BUDGET_MB} MB)")

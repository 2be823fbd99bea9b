"""Measurements, each against its yardstick in the same run. ``python3 dev.py bench --help``.

import     what importing ``function_app`` costs: seconds and megabytes, median of several processes
store      instances stored and retrieved per second, beside the bare SDK with the same files
           on the same Azurite: one client and eight

Every answer is checked. Figures are medians; run on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import import_cost, store_and_retrieve

MEASUREMENTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "import": import_cost.measure,
    "store": store_and_retrieve.measure,
}


def main() -> int:
    """Run the measurements that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="default: all")
    parser.add_argument("--instances", type=int, default=200, help="CT instances of 512 KiB")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; medians are shown")
    arguments = parser.parse_args()
    for name in arguments.what or MEASUREMENTS:
        MEASUREMENTS[name](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measurements, each against its yardstick in the same run. ``python3 dev.py bench --help``.

import     what importing ``function_app`` costs: seconds and megabytes, median of several processes
store      instances stored and retrieved per second, beside the bare SDK with the same files
           on the same Azurite: one client and eight
changes    entries of the feed a second, appended and read; instances indexed by a new tag; export
           beside the SDK's copy of --instances CT; --files small files, stored and imported
cast       DICOMcast: studies a second (--instances of them), beside the FHIR server's own rate
           with the same transactions; one worker and eight
cast-churn only if named: --instances studies stored, changed and deleted by eight clients, the
           service killed --kills times, FHIR failing one call in ten; then FHIR equals the archive

claims     only if named: 50 claimants on 20 work items, --rounds of them; each item is claimed once
cost       only if named: request units, latency and money of a deployment, as tables; --prices FILE
           in place of bench/prices.json, --write: into docs/cost.md (bench/cost_model.py)

Every answer is checked. Figures are medians; run on an idle machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import changes, claims, cost_model, dicomcast, import_cost, store_and_retrieve

MEASUREMENTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "import": import_cost.measure,
    "store": store_and_retrieve.measure,
    "changes": changes.measure,
    "cast": dicomcast.measure,
}
ONLY_IF_NAMED: dict[str, Callable[[argparse.Namespace], None]] = {
    "cast-churn": dicomcast.churn,
    "claims": claims.measure,
    "cost": cost_model.report,
}


def main() -> int:
    """Run the measurements that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="dev.py bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="default: all")
    parser.add_argument("--instances", type=int, default=200, help="CT instances of 512 KiB")
    parser.add_argument("--files", type=int, default=10_000, help="small ones, of changes")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; medians are shown")
    parser.add_argument("--kills", type=int, default=20, help="of cast-churn")
    parser.add_argument("--prices", help="of cost: a file as bench/prices.json")
    parser.add_argument("--write", action="store_true", help="of cost: into docs/cost.md")
    arguments = parser.parse_args()
    for name in arguments.what or MEASUREMENTS:
        (MEASUREMENTS | ONLY_IF_NAMED)[name](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())

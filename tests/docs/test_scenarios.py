"""Every numbered scenario of the specifications and every public bug report is a test, or argued.

The specifications lie beside the project, so their numbers are repeated here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
_BUG_REPORTS = (
    1, 2, 4, 5, 7, 8, 10, 11, 13, 14, 16, 17, 19, 20, 22, 23, 25, 26, 28, 29, 31, 32, 34, 35, 37,
    38, 40, 41, 43, 44, 46, 47, 49, 50, 52, 53, 55, 56, 58, 59, 61, 62,
)  # fmt: skip
NUMBERS = {
    "dicomweb": set(range(1, 191)),
    "change-feed": set(range(1, 33)),
    "partitions-and-security": set(range(1, 43)),
    "operations": set(range(1, 45)),
    "dicomcast": set(range(1, 45)),
    "extended-query-tags": set(range(1, 49)),
    "worklist": set(range(1, 75)),
    "bug_report": set(_BUG_REPORTS),
}
_STORAGE = "no storage apart: the service's own account is the customer's"
_ALWAYS = "partitions are always on"
ARGUED: dict[str, dict[int, str]] = {
    "dicomweb": {
        20: "partitions are always on",
        39: "1.7 GB takes CI too long: tests/e2e/test_memory.py sends 1 GiB",
        40: "likewise; by hand 1.78 GB went in as multipart and came out",
        69: "there is no state in between: the second one gets 45070",
    },
    "change-feed": {},
    "operations": {},
    "worklist": {71: "the index document holds the whole item: there is no other to vanish"},
    "extended-query-tags": {29: "operations are always on"},
    "dicomcast": {
        6: "FHIR is asked whether it has the study, for then it has to go; nothing is written: "
        "tests/unit/cast/test_sync.py::test_deletion_of_what_fhir_does_not_know",
        42: "nothing ends: the study waits, and a row says why: "
        "tests/unit/cast/test_worker.py::test_no_entry_and_no_time_are_waited_for",
        43: "the host stops; a message that is not finished comes again: "
        "tests/unit/cast/test_churn.py",
        44: "there is one table, whose partitions are the tenants",
    },
    "partitions-and-security": {
        9: _ALWAYS,
        10: _ALWAYS,
        14: _ALWAYS,
        15: _ALWAYS,
        35: "there is no setting for credentials: the browser's own are never asked for",
        36: _STORAGE,
        37: _STORAGE,
        38: _STORAGE,
        39: _STORAGE,
        40: "tests/unit/store/test_delete.py and test_restore.py, by the clock of the test",
        41: "files have names of their own: docs/architecture.md",
        42: "keys are Azure's: to be checked on a subscription",
    },
    "bug_report": {},
}


def _marks(path: Path) -> Iterator[tuple[str, list[object]]]:
    """The markers of a module: name and arguments."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("spec", "bug_report")
        ):
            yield node.func.attr, [ast.literal_eval(argument) for argument in node.args]


def covered() -> dict[str, set[int]]:
    """The numbers that some test carries, by specification and for the bug reports."""
    found: dict[str, set[int]] = {}
    for path in sorted(_TESTS.rglob("test_*.py")):
        for kind, arguments in _marks(path):
            name = str(arguments.pop(0)) if kind == "spec" else kind
            found.setdefault(name, set()).update(int(str(number)) for number in arguments)
    return found


@pytest.mark.parametrize("name", NUMBERS)
def test_each_number_is_a_test_or_argued(name: str) -> None:
    tested, argued = covered()[name], ARGUED[name].keys()
    assert NUMBERS[name] - tested - argued == set(), "neither tested nor argued"
    assert argued & tested == set(), "tested, so no more to be argued"
    assert tested <= NUMBERS[name], "no such number"

"""``setup``, ``test``, ``check``, ``bench`` and ``smoke``: what CI runs, and measurements."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from devtools.environment import (
    LOCK_FILE,
    PYTHON,
    VENV,
    Node,
    ensure_environment,
    ensure_node,
    ensure_venv,
    one_at_a_time,
)
from devtools.process import ROOT, Stop, run, run_quietly

_BIN = VENV / "bin"
_AUDIT = ROOT / ".venv-audit"
_AUDITOR = "pip-audit>=2.10,<3"


def lock_file_addresses(path: Path) -> list[str]:
    """The packages of a lock file that name the address they came from: there must be none."""
    packages = json.loads(path.read_text("utf-8"))["packages"]
    return sorted(name for name, package in packages.items() if "resolved" in package)


def _check_lock_file() -> int:
    found = lock_file_addresses(LOCK_FILE)
    for name in found:
        print(f"{LOCK_FILE.name}: {name} has a download address; remove its 'resolved'")
    return 1 if found else 0


def _program(*command: str | Path) -> Callable[[], int]:
    return lambda: run(command)


_CHECKS: tuple[tuple[str, Callable[[], int]], ...] = (
    ("ruff check", _program(_BIN / "ruff", "check", "--quiet")),
    ("ruff format", _program(_BIN / "ruff", "format", "--check")),
    ("mypy", _program(_BIN / "mypy")),
    ("lint-imports", _program(_BIN / "lint-imports")),
    ("lock file", _check_lock_file),
    ("azure", _program(PYTHON, "-m", "pytest", "-qq", "--no-header", "tests/infra/test_infra.py")),
)


def _linters() -> int:
    """Run all linters, even if one fails. 0 if all are content."""
    failed = []
    for name, step in _CHECKS:
        began = time.perf_counter()
        status = step()
        outcome = "ok" if status == 0 else "FAILED"
        print(f"{name}: {outcome} ({time.perf_counter() - began:.1f} s)", flush=True)
        if status != 0:
            failed.append(name)
    if failed:
        print(f"dev.py: failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def setup() -> int:
    """Install all that the other verbs need, and run nothing."""
    _install()
    return 0


def _install() -> Node:
    with one_at_a_time():
        ensure_venv()
        return ensure_node(for_tests=True)


def check(*, with_audit: bool = False) -> int:
    """Linters, the lock file, Azure's files; on demand, known holes in what is deployed."""
    with one_at_a_time():
        ensure_venv()
    linted = _linters()
    if with_audit:
        return _audit() or linted
    print("audit of dependencies: NOT AUDITED (that is: dev.py check --audit)", flush=True)
    return linted


def _audit() -> int:
    """Ask the vulnerability service of PyPI about the packages that the app runs on.

    What it tells nothing of is a failure, too. In an environment of its own: its packages are not
    the project's. It needs a network, so it is no part of what CI decides by.
    """
    began = time.perf_counter()
    with one_at_a_time():
        ensure_environment(_AUDIT, str(PYTHON), (_AUDITOR,), [])
    report = _AUDIT / "report.json"
    report.unlink(missing_ok=True)
    command = (_AUDIT / "bin" / "pip-audit", "--requirement", "requirements.txt")
    options = ("--format", "json", "--output", report, "--progress-spinner", "off")
    status = run([*command, *options])
    found = json.loads(report.read_text("utf-8"))["dependencies"] if report.exists() else []
    outcome, audited = audit_outcome(found)
    print(f"audit of dependencies: {outcome} ({time.perf_counter() - began:.1f} s)", flush=True)
    return status or (0 if audited else 1)


def audit_outcome(dependencies: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
    """What pip-audit's report comes to, and whether all was looked at and nothing was found.

    Its own exit status says nothing of packages that the vulnerability service does not answer for.
    """
    holes = [
        f"{one['name']} {one['version']}: {hole['id']}"
        for one in dependencies
        for hole in one.get("vulns", ())
    ]
    skipped = [str(one["name"]) for one in dependencies if "skip_reason" in one]
    if holes:
        return f"FAILED: {'; '.join(holes)}", False
    if skipped or not dependencies:
        count = f"{len(skipped)} of {len(dependencies)}" if dependencies else "all"
        return f"NOT AUDITED: the service tells nothing of {count} packages", False
    return f"ok: {len(dependencies)} packages", True


_UNIT = ["-n", "2", "tests/unit", "tests/docs", "tests/infra"]
_PATIENT = [
    f"tests/e2e/test_{name}.py"
    for name in (
        "crashes", "dicomcast", "export_crash", "faults", "isolation", "rebuild", "sign_in",
        "subscriptions", "tags_being_added", "update_crash", "worklist_events",
    )
]  # fmt: skip
"""Tests with services of their own, which they kill and then wait for more than they work."""
_SERVICES = [
    "tests/contract",
    "tests/integration",
    "tests/e2e",
    *(f"--ignore={path}" for path in _PATIENT),
]


def test(arguments: Sequence[str]) -> int:
    """All that CI runs; with pytest arguments, pytest alone.

    Unit tests run in two processes. Tests that start services come after them: those that mostly
    wait beside the others, their output at the end. Whatever fails makes
    the exit status, and "no tests" (5) is a failure.
    """
    began = time.perf_counter()
    node = _install()
    print(f"installed: ok ({time.perf_counter() - began:.1f} s)", flush=True)
    linted = 0 if arguments else _linters()
    path = os.pathsep.join([str(Path(node.node).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}

    def pytest(*words: str) -> int:
        return run([PYTHON, "-m", "pytest", *words], environment=environment)

    if arguments:
        return pytest(*arguments)
    statuses = [pytest(*_UNIT)]
    with ThreadPoolExecutor(1) as beside:
        command: list[str | Path] = [PYTHON, "-m", "pytest", *_PATIENT]
        waiting = beside.submit(run_quietly, command, environment=environment)
        statuses.append(pytest(*_SERVICES))
        status, output = waiting.result()
    print(output, flush=True)
    statuses.append(status)
    return next((one for one in statuses if one), linted)


def bench(arguments: Sequence[str]) -> int:
    """Run ``bench/run.py`` with its own arguments."""
    program = ROOT / "bench" / "run.py"
    if not program.exists():
        raise Stop("dev.py: there is no bench/run.py")
    with one_at_a_time():
        ensure_venv()
        ensure_node(for_tests=False)
    return run([PYTHON, program, *arguments])


def smoke(arguments: Sequence[str]) -> int:
    """Run ``infra/hooks/smoke.py`` with its own arguments."""
    with one_at_a_time():
        ensure_venv()
    return run([PYTHON, "-m", "infra.hooks.smoke", *arguments])

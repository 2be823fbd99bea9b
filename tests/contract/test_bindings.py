"""The bindings of every function, against a reviewed snapshot (``UPDATE_GOLDEN=1`` writes it)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_GOLDEN = Path(__file__).with_name("golden") / "bindings.json"
_PROGRAM = """
import json, function_app
found = {}
for function in function_app.app.get_functions():
    found[function.get_function_name()] = function.get_bindings_dict()["bindings"]
print(json.dumps(dict(sorted(found.items())), indent=1, default=lambda value: value.value))
"""


def _bindings(**settings: str) -> str:
    environment = {**os.environ, "DICOM_TENANTS": "main", **settings}
    environment.pop("DICOM_SWEEP_SCHEDULE", None)
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_the_bindings_are_those_that_were_reviewed() -> None:
    bindings = _bindings()
    if os.environ.get("UPDATE_GOLDEN") == "1":
        _GOLDEN.write_text(bindings, "utf-8")
    assert json.loads(bindings) == json.loads(_GOLDEN.read_text("utf-8"))


def test_blob_triggers_can_be_left_out() -> None:
    found = json.loads(_bindings(DICOM_BLOB_EVENTS="queue"))
    reviewed = json.loads(_GOLDEN.read_text("utf-8"))
    assert reviewed.keys() - found.keys() == {"index_blob_main", "import_blob_main"}
    assert "blobTrigger" not in {one["type"] for bindings in found.values() for one in bindings}

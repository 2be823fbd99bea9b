"""``docs/operations.md`` speaks of what there is: queues, hooks, variables, its own headings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from infra.hooks import vault
from infra.hooks.smoke import parser
from tests.support.infra.project import OF_AZD, outputs
from tests.support.infra.source import the_infra

ROOT = Path(__file__).resolve().parents[2]
_TEXT = (ROOT / "docs" / "operations.md").read_text("utf-8")
_BINDINGS = ROOT / "tests" / "contract" / "golden" / "bindings.json"
_OUTPUTS = outputs(the_infra()) | OF_AZD
"""What ``main.bicep`` gives out, and what the hooks set."""


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda one: one.name)
def test_links_to_headings_lead_to_headings(document: Path) -> None:
    for file, anchor in re.findall(r"\]\(([\w./-]*\.md)?#([\w-]+)\)", document.read_text("utf-8")):
        target = document.parent / file if file else document
        headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
        assert anchor in map(_anchor, headings), f"{document.name}: {file}#{anchor}"


def test_each_queue_has_a_row_for_its_poison_queue() -> None:
    triggers = [
        one for bindings in json.loads(_BINDINGS.read_text("utf-8")).values() for one in bindings
    ]
    queues = {one["queueName"] for one in triggers if one["type"] == "queueTrigger"}
    rows = set(re.findall(r"`([\w-]+)-poison`", _TEXT))
    assert {name for name in queues if not name.endswith("-poison")} <= rows


def test_variables_in_commands_are_outputs_of_the_deployment() -> None:
    used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)\b", _TEXT))
    own = set(re.findall(r"^ +([A-Z]+)=", _TEXT, re.MULTILINE))
    assert used <= _OUTPUTS | own


def test_the_secret_and_the_smoke_test_are_named_as_they_are() -> None:
    assert set(re.findall(r"--name (dicom-[\w-]*key)\b", _TEXT)) == {vault.SECRET}
    options = set(re.findall(r"dev\.py smoke (.*)", _TEXT))
    assert options
    for line in options:
        parser().parse_args(re.findall(r"--[\w-]+|\"[^\"]*\"|\w+", line))


def test_each_script_that_azd_calls_is_there() -> None:
    for name in ("preprovision", "postprovision", "postdeploy"):
        assert (ROOT / "infra" / "hooks" / f"{name}.py").is_file()
    assert "azd hooks run postdeploy" in _TEXT

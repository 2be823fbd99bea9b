"""Azure's files as far as they can be checked without a subscription."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.infra.checks import CHECKS
from tests.support.infra.source import ROOT, Infra, the_infra
from tests.support.infra.syntax import azd_variables
from tests.support.infra.work import bindings


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.__name__)
def test_nothing_is_found(check: Callable[[Infra], list[str]]) -> None:
    assert check(the_infra()) == []


def test_settings_md_has_each_variable_of_azd_with_its_default() -> None:
    document = (ROOT / "docs/settings.md").read_text("utf-8").partition("## The deployment")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| `?([\w,]+)[^|]*\|$", document, re.MULTILINE))
    for variable, default in azd_variables(the_infra()).items():
        if variable.startswith("DICOM_"):
            assert rows[variable] in ({default} if default else {"none", "made", "B"}), variable


def test_operations_md_has_each_alert() -> None:
    bicep = the_infra().texts["infra/app/alerts.bicep"]
    names = set(re.findall(r"name: '([\w-]+)',?\s+description:", bicep))
    names |= set(re.findall(r"'\$\{names\.alert\}([\w-]+)-\$\{prefix\}'", bicep))
    document = (ROOT / "docs/operations.md").read_text("utf-8").partition("## Alerts")[2]
    table = document.partition("| poison queue |")[0]
    assert set(re.findall(r"^\| `([\w-]+)`", table, re.MULTILINE)) == names


def test_functions_that_an_alert_names_are_there() -> None:
    bicep = the_infra().texts["infra/app/alerts.bicep"]
    named = re.findall(r"OperationName in \(([^)]+)\)", bicep)
    assert named
    for names in named:
        assert set(re.findall(r'"(\w+)"', names)) <= bindings().keys()

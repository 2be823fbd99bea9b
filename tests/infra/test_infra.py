"""Azure's files as far as they can be checked without a subscription."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.infra.checks import CHECKS
from tests.support.infra.source import ROOT, Infra, the_infra
from tests.support.infra.syntax import azd_variables


@pytest.mark.parametrize("check", CHECKS, ids=lambda one: one.__name__)
def test_nothing_is_found(check: Callable[[Infra], list[str]]) -> None:
    assert check(the_infra()) == []


def test_settings_md_has_each_variable_of_azd_with_its_default() -> None:
    document = (ROOT / "docs/settings.md").read_text("utf-8").partition("## The deployment")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| `?([\w,]+)[^|]*\|$", document, re.MULTILINE))
    for variable, default in azd_variables(the_infra()).items():
        if variable.startswith("DICOM_"):
            assert rows[variable] in ({default} if default else {"none", "made", "B"}), variable

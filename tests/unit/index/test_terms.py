"""Search terms: values and queries meet in the same form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom import attributes as dicom
from shared.index import terms


@pytest.mark.parametrize(
    ("value", "vr", "expected"),
    [
        ("  Chest CT ", "LO", "chest ct"),
        ("ÄRZTE", "LO", "ärzte"),
        ("X\0", "CS", "x"),
        ("20240229", "DA", "2024-02-29"),
        ("20230229", "DA", None),
        ("2024", "DA", None),
        ("101112.5", "TM", (10 * 3600 + 11 * 60 + 12) * 1_000_000 + 500_000),
        ("10", "TM", 10 * 3600 * 1_000_000),
        ("2460", "TM", None),
        ("1.2.3\0", "UI", "1.2.3"),
        ("1.2.3 ", "UI", "1.2.3"),
        (7, "IS", 7),
        ("7", "IS", 7),
        ("x", "IS", None),
        (None, "LO", None),
        ("", "LO", None),
    ],
)
def test_a_value_becomes_its_term(value: Any, vr: str, expected: Any) -> None:
    assert terms.term(value, vr) == expected


def test_154_names_lose_case_and_accents() -> None:
    found = terms.term({"Alphabetic": "Müller^Jörg"}, "PN")
    assert found == {"full": "muller^jorg", "words": " muller jorg"}
    assert terms.name_term("MULLER^Jorg") == found


def test_55_all_groups_of_a_name_are_searchable() -> None:
    name = {"Alphabetic": "Wang^Xiao", "Ideographic": "王^小", "Phonetic": "Wang^X"}
    assert terms.term(name, "PN") == {
        "full": "wang^xiao=王^小=wang^x",
        "words": " wang xiao 王 小 wang x",
    }
    assert terms.term({"Ideographic": "王^小"}, "PN") == {"full": "=王^小", "words": " 王 小"}


def test_terms_of_a_sequence_leaf_have_its_path() -> None:
    attributes = {
        "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["Step-1"]}}]},
        "00080060": {"vr": "CS", "Value": ["CT", "MR"]},
        "00200011": {"vr": "IS"},
    }
    assert terms.level_terms(attributes, dicom.SERIES) == {
        "00400275.00400009": "step-1",
        "00080060": "ct",
    }


@pytest.mark.parametrize("broken", [{}, {"vr": "SQ"}, {"vr": "SQ", "Value": ["text"]}, None])
def test_a_sequence_without_the_leaf_has_no_term(broken: Any) -> None:
    assert terms.level_terms({"00400275": broken}, dicom.SERIES) == {}


def test_063_an_empty_value_never_erases_one() -> None:
    old = {"00100020": {"vr": "LO", "Value": ["123"]}, "00081030": {"vr": "LO"}}
    new = {"00100020": {"vr": "LO"}, "00081030": {"vr": "LO", "Value": ["x"]}}
    assert terms.merge_attributes(old, new) == {
        "00100020": {"vr": "LO", "Value": ["123"]},
        "00081030": {"vr": "LO", "Value": ["x"]},
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(_JSON, st.sampled_from(["PN", "DA", "TM", "DT", "IS", "DS", "FD", "UI", "LO", "SQ"]))
def test_no_value_breaks_it(value: Any, vr: str) -> None:
    found = terms.term(value, vr)
    assert found is None or isinstance(found, str | int | float | dict)

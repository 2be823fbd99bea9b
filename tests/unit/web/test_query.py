"""Search parameters (spec dicomweb.md §4.3, §4.5)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MalformedQuery
from shared.web import query as scopes
from shared.web.query import SearchQuery, parse_search_query, require_harmless

_NOT_QUERYABLE = (
    "Invalid query: AttributeId {} is not queryable.  If the parameter is an attribute keyword, "
    "check the casing as they are case-sensitive. The conformance statement has a list of "
    "supported query parameters, attributes and the levels."
)


def _parse(*items: tuple[str, str], scope: scopes.Scope = scopes.STUDIES) -> SearchQuery:
    return parse_search_query(items, scope, most=200)


@pytest.mark.parametrize("name", ["PatientID", "00100020"], ids=["keyword", "hexadecimal"])
def test_an_attribute_is_named_by_keyword_or_tag(name: str) -> None:
    [found] = _parse((name, "x")).filters
    assert found.key.keyword == "PatientID"
    assert (found.name, found.value) == (name, "x")


@pytest.mark.parametrize(
    "name",
    [
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "00400275.00400009",
        "00400275.ScheduledProcedureStepID",
    ],
)
def test_43_a_key_within_a_sequence_is_a_dotted_path(name: str) -> None:
    [found] = _parse((name, "x"), scope=scopes.SERIES).filters
    assert found.key.path == (0x00400275, 0x00400009)


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        (scopes.STUDIES, "Modality"),  # 149
        (scopes.STUDIES, "SOPInstanceUID"),
        (scopes.SERIES, "SOPInstanceUID"),  # 165
        (scopes.SERIES_OF_STUDY, "PatientName"),  # 165
        (scopes.SERIES_OF_STUDY, "PatientID"),
        (scopes.STUDIES, "PatientSex"),
        (scopes.STUDIES, "00280011"),
        (scopes.INSTANCES, "ImageType"),  # bug report 44
        (scopes.STUDIES, "12050010"),
    ],
)
def test_149_165_170_an_attribute_of_another_level_is_not_queryable(
    scope: scopes.Scope, name: str
) -> None:
    with pytest.raises(MalformedQuery) as refused:
        _parse((name, "x"), scope=scope)
    assert str(refused.value) == _NOT_QUERYABLE.format(name)


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        (scopes.SERIES_OF_STUDY, "StudyInstanceUID"),
        (scopes.INSTANCES_OF_STUDY, "StudyInstanceUID"),
        (scopes.INSTANCES_OF_SERIES, "StudyInstanceUID"),
        (scopes.INSTANCES_OF_SERIES, "0020000E"),
    ],
)
def test_a_uid_of_the_path_may_be_given_once_more(scope: scopes.Scope, name: str) -> None:
    [found] = _parse((name, "1.2"), scope=scope).filters
    assert (found.name, found.value) == (name, "1.2")


@pytest.mark.parametrize(
    "items",
    [
        [("patientid", "x")],  # 170: keywords are case-sensitive
        [("NoSuchKeyword", "x")],
        [("12345678", "x")],
        [("PatientID", "x"), ("PatientID", "y")],
        [("PatientID", "x"), ("00100020", "y")],
        [("limit", "0")],
        [("limit", "201")],
        [("limit", "x")],
        [("limit", "1"), ("limit", "2")],
        [("offset", "-1")],
        [("fuzzymatching", "x")],
        [("includefield", "12345678")],  # 168
        [("includefield", "NoSuchKeyword")],
    ],
)
def test_168_169_170_a_malformed_parameter_is_named(items: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedQuery) as refused:
        _parse(*items)
    name, value = items[-1]
    assert name in str(refused.value) or value in str(refused.value)


def test_168_fields_come_in_lists_and_repeatedly() -> None:
    found = _parse(
        ("includefield", "00081030,PatientSex"), ("IncludeField", "12050010"), ("LIMIT", "5")
    )
    assert found.fields == {0x00081030, 0x00100040, 0x12050010}
    assert found.limit == 5


def test_all_fields_win_over_others() -> None:
    found = _parse(("includefield", "PatientSex"), ("includefield", "ALL"))
    assert found.all_fields


def test_49_nameless_parameters_count_as_absent() -> None:
    assert _parse(("", ""), ("", "x")) == SearchQuery()


@pytest.mark.parametrize("raw", ["q=%3c", "q=%3C", "a=<"])
def test_170_an_angle_bracket_is_refused_anywhere(raw: str) -> None:
    with pytest.raises(MalformedQuery):
        require_harmless(raw)
    require_harmless("PatientID=a%3e")


_NAMES = st.sampled_from(
    [
        "PatientID",
        "StudyDate",
        "00100010",
        "limit",
        "offset",
        "includefield",
        "fuzzymatching",
        "a.b",
    ]
)


@given(st.lists(st.tuples(_NAMES | st.text(max_size=12), st.text(max_size=20)), max_size=6))
def test_any_query_string_is_a_query_or_malformed(items: list[tuple[str, str]]) -> None:
    for scope in (scopes.STUDIES, scopes.INSTANCES, scopes.SERIES_OF_STUDY):
        with contextlib.suppress(MalformedQuery):
            assert 1 <= parse_search_query(items, scope, most=200).limit <= 200

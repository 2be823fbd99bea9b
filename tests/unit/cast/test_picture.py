"""DICOM values as FHIR has them, and a study from its instances (spec dicomcast.md §4, §6, §7)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.cast import values
from shared.cast.picture import MOST_PROBLEMS, Painter, Picture
from shared.cast.resources import patient
from shared.cast.values import InvalidTag
from shared.cast_settings import CastSettings, CastSettingWrong, parse_cast
from tests.support import dicom


def _element(value: Any) -> dict[str, Any]:
    return {"vr": "LO"} if value is None else {"vr": "LO", "Value": [value]}


def _name(text: str | None) -> dict[str, Any]:
    return {values.PATIENT_NAME: _element(None if text is None else {"Alphabetic": text})}


@pytest.mark.spec("dicomcast", 14)
def test_a_name_in_its_parts() -> None:
    assert values.person_name(_name("Doe^Jane Ann^Mid^Dr Prof^MD")) == {
        "family": "Doe",
        "given": ["Jane", "Ann", "Mid"],
        "prefix": ["Dr", "Prof"],
        "suffix": ["MD"],
    }


@pytest.mark.spec("dicomcast", 15)
def test_blanks_and_absent_names() -> None:
    assert values.person_name(_name("  Doe ^ Jane ")) == {"family": "Doe", "given": ["Jane"]}
    assert values.person_name(_name("Doe\0")) == {"family": "Doe", "given": None}
    for nothing in ({}, _name(None), _name(" "), _name("^^^^"), _name("=ヤマダ")):
        assert values.person_name(nothing) is None
    ideographic = {values.PATIENT_NAME: _element({"Ideographic": "山田^太郎"})}
    assert values.person_name(ideographic) is None


def test_only_the_alphabetic_group_counts() -> None:
    assert values.person_name(_name("Yamada^Tarou=山田^太郎=やまだ^たろう")) == {
        "family": "Yamada",
        "given": ["Tarou"],
    }


@pytest.mark.spec("dicomcast", 15)
def test_the_usual_name_is_written_over_and_others_stay() -> None:
    existing = {
        "resourceType": "Patient",
        "name": [
            {"use": "official", "family": "Off"},
            {"use": "usual", "family": "Old", "given": ["Given"], "prefix": ["Dr"]},
        ],
    }
    picture = _paint(_body(**_name("New")))
    assert picture.person
    assert patient(existing, picture.person)["name"] == [
        existing["name"][0],
        {"use": "usual", "family": "New", "prefix": ["Dr"]},
    ]
    picture.person.name = None
    assert patient(existing, picture.person)["name"] == existing["name"]


@pytest.mark.spec("dicomcast", 16)
@pytest.mark.parametrize(
    ("sex", "gender"), [("M", "male"), ("F", "female"), ("O", "other"), (None, None)]
)
def test_sex(sex: str | None, gender: str | None) -> None:
    picture = _paint(_body(**{values.PATIENT_SEX: _element(sex)}))
    assert picture.person
    existing = {"resourceType": "Patient", "gender": "unknown"}
    assert patient(existing, picture.person).get("gender") == gender
    assert patient(None, picture.person).get("gender") == gender


@pytest.mark.spec("dicomcast", 22)
@pytest.mark.parametrize(
    ("day", "clock", "offset", "expected"),
    [
        ("20240102", "101112", "+0130", "2024-01-02T10:11:12+01:30"),
        ("20240102", "10", None, "2024-01-02T10:00:00+00:00"),
        ("20240102", "1011", "-0330", "2024-01-02T10:11:00-03:30"),
        ("20240102", "101112.123456", "+1400", "2024-01-02T10:11:12.123456+14:00"),
        ("20240229", "235959", "", "2024-02-29T23:59:59+00:00"),
        ("20240102", None, "+0130", None),
        (None, "101112", "+0130", None),
    ],
)
def test_moments(day: str | None, clock: str | None, offset: str | None, expected: str) -> None:
    assert _moment(day, clock, offset) == expected


@pytest.mark.spec("dicomcast", 22)
@pytest.mark.parametrize(
    ("day", "clock", "offset", "keyword"),
    [
        ("20240102", "101112", "abc", "TimezoneOffsetFromUTC"),
        ("20240102", "101112", "+1401", "TimezoneOffsetFromUTC"),
        ("20240102", "101112", "0130", "TimezoneOffsetFromUTC"),
        ("20240230", "101112", None, "StudyDate"),
        ("2024.01.02", "101112", None, "StudyDate"),
        ("00000101", "101112", None, "StudyDate"),
        ("20240102", "250000", None, "StudyTime"),
        ("20240102", "235960", None, "StudyTime"),
        ("20240102", "1:1", None, "StudyTime"),
    ],
)
def test_moments_out_of_range(day: str, clock: str, offset: str | None, keyword: str) -> None:
    with pytest.raises(InvalidTag, match=keyword) as raised:
        _moment(day, clock, offset)
    assert day not in str(raised.value)


def _moment(day: str | None, clock: str | None, offset: str | None) -> str | None:
    given = {values.STUDY_DATE: day, values.STUDY_TIME: clock, values.TIMEZONE_OFFSET: offset}
    attributes = {tag: _element(value) for tag, value in given.items() if value is not None}
    return values.moment(attributes, values.STUDY_DATE, values.STUDY_TIME)


# A study ----------------------------------------------------------------------------------


def _body(number: int = 1, series: str = "1.1", **attributes: Any) -> dict[str, Any]:
    usual = {
        values.PATIENT_ID: _element("P"),
        values.SOP_CLASS_UID: _element(dicom.CT_STORAGE),
        values.MODALITY: _element("CT"),
    }
    return {
        "study": "1", "series": series, "instance": f"1.1.{number}", "version": f"{number:019d}",
        "d": usual | attributes,
    }  # fmt: skip


def _paint(*bodies: dict[str, Any], strict: bool = False) -> Picture:
    """From the oldest to the newest."""
    painter = Painter("1", CastSettings("http://fhir", strict=strict))
    for body in reversed(bodies):
        painter.add(body)
    return painter.finished()


@pytest.mark.spec("dicomcast", 13)
def test_without_a_patient_id_the_instance_is_refused() -> None:
    body = _body()
    del body["d"][values.PATIENT_ID]
    picture = _paint(body, _body(2, **{values.PATIENT_ID: _element(" ")}))
    assert picture.person is None
    assert [one.kind for one in picture.problems] == ["refused", "refused"]


@pytest.mark.parametrize("modality", ["ct", "C*", "A" * 17, "CT\n", 5])
def test_an_invalid_modality_refuses_the_instance_in_both_modes(modality: Any) -> None:
    for strict in (False, True):
        picture = _paint(_body(1), _body(2, **{values.MODALITY: _element(modality)}), strict=strict)
        assert [(one.kind, one.instance) for one in picture.problems] == [("refused", "1.1.2")]
        assert [one.uid for one in picture.series["1.1"].instances] == ["1.1.1"]


@pytest.mark.spec("dicomcast", 16)
def test_an_invalid_optional_value_in_both_modes() -> None:
    bad = _body(2, **{values.PATIENT_SEX: _element("X"), values.STUDY_DESCRIPTION: _element("D")})
    lax, strict = _paint(_body(1), bad), _paint(_body(1), bad, strict=True)
    assert [one.kind for one in lax.problems] == ["skipped"]
    assert [one.kind for one in strict.problems] == ["refused"]
    assert (lax.descriptions, strict.descriptions) == (["D"], [])


def test_the_newest_value_wins_and_an_absent_one_wins_nothing() -> None:
    picture = _paint(
        _body(1, **_name("Old"), **{values.SERIES_DESCRIPTION: _element("old")}),
        _body(2, **_name("New"), **{values.SERIES_DESCRIPTION: _element("new")}),
        _body(3, **{values.SERIES_NUMBER: _element(4)}),
    )
    assert picture.person
    assert picture.person.name == {"family": "New", "given": None}
    series = picture.series["1.1"]
    assert (series.description, series.number) == ("new", 4)
    assert [one.uid for one in series.instances] == ["1.1.1", "1.1.2", "1.1.3"]


def test_a_thousand_bad_instances_are_a_hundred_problems() -> None:
    bodies = [_body(n, **{values.PATIENT_SEX: _element("X")}) for n in range(1000)]
    assert len(_paint(*bodies).problems) == MOST_PROBLEMS


@pytest.mark.parametrize("text", ["a\x07b", "a\x1b$Bb", "\ud800"])
def test_characters_that_fhir_cannot_hold(text: str) -> None:
    for read in (values.person_name, lambda a: values.text(a, values.PATIENT_NAME)):
        with pytest.raises(InvalidTag):
            read({values.PATIENT_NAME: _element(text)})
    assert values.text({values.PATIENT_NAME: _element("a\r\n\tb")}, values.PATIENT_NAME)


@pytest.mark.parametrize("number", ["-1", "1.5", "x", 2**31, [1], True])
def test_numbers_that_fhir_cannot_hold(number: Any) -> None:
    with pytest.raises(InvalidTag):
        values.integer({values.SERIES_NUMBER: _element(number)}, values.SERIES_NUMBER)


def test_numbers() -> None:
    for written, number in (("7", 7), (" 07 ", 7), (7, 7), (7.0, 7), ("+7", 7), ("", None)):
        found = values.integer({values.SERIES_NUMBER: _element(written)}, values.SERIES_NUMBER)
        assert found == number


# Settings ---------------------------------------------------------------------------------


def test_settings() -> None:
    found = parse_cast(
        '{"main": {"fhirUrl": "https://fhir/R4/", "auth": "managedIdentity", "strict": true,'
        ' "fhirVersion": "R5", "patientSystem": "urn:p"}}'
    )
    assert found == {
        "main": CastSettings(
            "https://fhir/R4", auth="managedIdentity", strict=True, fhir_version="R5",
            patient_system="urn:p",
        )
    }  # fmt: skip
    assert parse_cast("") == {}


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("{", "not JSON"),
        ("[]", "an object"),
        ('{"main": 1}', "main must be"),
        ('{"main": {}}', "main.fhirUrl"),
        ('{"main": {"fhirUrl": "ftp://x"}}', "main.fhirUrl"),
        ('{"main": {"fhirUrl": "http://x", "secret": "s"}}', "unknown member secret"),
        ('{"main": {"fhirUrl": "http://x", "strict": "yes"}}', "main.strict must be bool"),
        ('{"main": {"fhirUrl": "http://x", "auth": "key"}}', "main.auth must be none or"),
    ],
)
def test_settings_that_cannot_be_used_are_named(text: str, culprit: str) -> None:
    with pytest.raises(CastSettingWrong, match=culprit):
        parse_cast(text)

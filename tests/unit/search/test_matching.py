"""Kinds of matching beyond single values, and what a value may cost (PS3.4 C.2.2.2)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.dicom.attributes import SearchKey
from shared.errors import MalformedQuery
from shared.search.matching import predicate
from shared.web.query import Filter
from shared.where import Eq, Range
from tests.support.search import Archive, instance

_TIMES = {
    "1": ("20240101", "070000"),
    "2": ("20240101", "230000"),
    "3": ("20240102", "030000"),
    "4": ("20240102", None),
    "5": ("20240103", "050000"),
    "6": ("20240103", "120000"),
    "7": ("20240103", None),
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("StudyDate=20240101-20240103&StudyTime=0800-1000", ""),
        ("StudyDate=20240101-20240103&StudyTime=0800-1000&combineddatetime=false", ""),
        ("StudyDate=20240101-20240103&StudyTime=0800-1000&combineddatetime=true", "2345"),
        ("StudyDate=20240101-20240103&StudyTime=2200-0600&combineddatetime=true", "2345"),
        ("StudyDate=20240101-20240101&StudyTime=0800-2300&combineddatetime=true", "2"),
        ("StudyDate=20240103-&StudyTime=0600-&combineddatetime=true", "6"),
        ("StudyDate=-20240101&StudyTime=-0700&combineddatetime=true", "1"),
        ("StudyDate=20240102&StudyTime=0300&combineddatetime=true", "3"),
        ("StudyDate=20240102&StudyTime=02-04&combineddatetime=true", "3"),
        ("StudyTime=22-&combineddatetime=true", "2"),
    ],
)
async def test_dates_with_times(archive: Archive, query: str, found: str) -> None:
    for study, (date, time) in _TIMES.items():
        await archive.store(instance(study, f"{study}.1", "9", StudyDate=date, StudyTime=time))
    assert sorted(await archive.studies(query)) == list(found)


@pytest.mark.parametrize(
    "query",
    [
        "StudyDate=20240103-20240101&StudyTime=08-10&combineddatetime=true",
        "StudyDate=20240101-20240101&StudyTime=10-08&combineddatetime=true",
        "StudyDate=20240101-20240102&StudyTime=10-99&combineddatetime=true",
        "StudyDate=20240101-20240102&StudyTime=2200-0600",
    ],
)
async def test_an_interval_must_not_end_before_it_begins(archive: Archive, query: str) -> None:
    with pytest.raises(MalformedQuery, match="Study"):
        await archive.find(query)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('AccessionNumber=""&emptyvaluematching=true', "13"),
        ('AccessionNumber=""', ""),
        ('PatientName=""&emptyvaluematching=true', "23"),
        ("AccessionNumber=&emptyvaluematching=true", "123"),
        ("AccessionNumber=A\\B&multiplevaluematching=true", "24"),
        ("AccessionNumber=A\\B", ""),
        ("AccessionNumber=A\\*&multiplevaluematching=true", "1234"),
        ("AccessionNumber=A\\C*\\&multiplevaluematching=true", "25"),
        ("PatientName=a\\b&multiplevaluematching=true&fuzzymatching=true", "14"),
        ("ModalitiesInStudy=CT\\PT&multiplevaluematching=true", "14"),
        ("StudyDate=2024010\\20240101&multiplevaluematching=true", None),
        ("StudyDate=20240101\\20240105-&multiplevaluematching=true", "15"),
        ("AccessionNumber=\\&multiplevaluematching=true", None),
        ('ModalitiesInStudy=""&emptyvaluematching=true', None),
        ("ModalitiesInStudy=C*", None),
    ],
)
async def test_empty_and_multiple_values(archive: Archive, query: str, found: str | None) -> None:
    stored: dict[str, dict[str, Any]] = {
        "1": {"AccessionNumber": None, "PatientName": "Adam", "Modality": "CT",
              "StudyDate": "20240101"},
        "2": {"AccessionNumber": "A"},
        "3": {},
        "4": {"AccessionNumber": "b", "PatientName": "Bert", "Modality": "PT"},
        "5": {"AccessionNumber": "C5", "PatientName": "Xaver", "StudyDate": "20240107"},
    }  # fmt: skip
    for study, attributes in stored.items():
        await archive.store(instance(study, f"{study}.1", "9", **attributes))
    if found is None:
        with pytest.raises(MalformedQuery, match=query.partition("=")[0]):
            await archive.find(query)
    else:
        everything = "1234" in found or found == "123"
        wanted = list("12345") if everything else list(found)
        assert sorted(await archive.studies(query)) == wanted


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("PatientID=" + "a" * 1025, "PatientID"),
        ("PatientID=" + "*a" * 17, "PatientID"),
        ("StudyInstanceUID=" + ",".join(["1.2"] * 1001), "StudyInstanceUID"),
        ("fuzzymatching=true&PatientName=" + "+".join("abcdefghijklmnopqrstuvw").replace("+", " "),
         "PatientName"),
        ("multiplevaluematching=true&StudyID=" + "\\".join(map(str, range(101))), "StudyID"),
        ("includefield=" + ",".join(f"0011{n:04X}" for n in range(501)), "includefield"),
    ],
    ids=["length", "stars", "uids", "words", "values", "fields"],
)  # fmt: skip
async def test_what_a_value_may_cost(archive: Archive, query: str, name: str) -> None:
    with pytest.raises(MalformedQuery, match=name):
        await archive.find(query)


async def test_the_most_that_is_allowed_runs(archive: Archive) -> None:
    await archive.store(instance("1.2", "2", "3", PatientID="a" * 1000, PatientName="A^B"))
    assert await archive.studies("StudyInstanceUID=" + ",".join(f"1.{n}" for n in range(1000)))
    assert await archive.studies("PatientID=" + "*a" * 16)
    assert await archive.studies("PatientID=" + "*a" * 16 + "b") == []
    values = [f"{n}*" for n in range(16)] + [f"{n}" for n in range(84)]
    many = "multiplevaluematching=true&PatientName=" + "\\".join(values)
    assert await archive.studies(many) == []


def _moment(value: str, vr: str = "DT") -> object:
    key = SearchKey((0x0008002A,), "AcquisitionDateTime", vr, "instance")
    return predicate(Filter("AcquisitionDateTime", key, value), fuzzy=False)


_DAY = 24 * 3600 * 1_000_000


def test_date_times_stand_for_all_moments_that_begin_like_them() -> None:
    day = _moment("20240229")
    assert isinstance(day, Range)
    assert isinstance(day.low, int)
    assert day.high == day.low + _DAY - 1
    for value, days in (("202402", 29), ("2024", 366), ("2023-2024", 365 + 366)):
        found = _moment(value)
        assert isinstance(found, Range)
        assert isinstance(found.low, int)
        assert found.high == found.low + days * _DAY - 1
    assert isinstance(_moment("20240229101112.000001"), Eq)
    second = _moment("2024022910-20240229101112")
    assert isinstance(second, Range)
    assert second.high == day.low + (10 * 3600 + 11 * 60 + 13) * 1_000_000 - 1
    assert _moment("-2024") == Range(("q", "0008002A"), None, _moment("2024").high)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "value",
    ["x", "202413", "20240230", "20240101-2023", "20240101120000+0100", "-", "202", "2024-x"],
)
def test_malformed_date_times(value: str) -> None:
    with pytest.raises(MalformedQuery, match="AcquisitionDateTime"):
        _moment(value)


@pytest.mark.parametrize(
    ("vr", "value", "number"),
    [("IS", "+07", 7), ("SL", "-5", -5), ("FD", "1.5e1", 15.0), ("DS", ".5", 0.5)],
)
def test_numbers(vr: str, value: str, number: float) -> None:
    assert _moment(value, vr) == Eq(("q", "0008002A"), number)


@pytest.mark.parametrize(
    ("vr", "value"),
    [("IS", "1_0"), ("IS", "1.5"), ("IS", "٣"), ("US", "9" * 19), ("FD", "nan"), ("FD", "1e999")],
)
def test_malformed_numbers(vr: str, value: str) -> None:
    with pytest.raises(MalformedQuery):
        _moment(value, vr)

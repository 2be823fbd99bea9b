"""Search over a real index: what matches, what is returned, in which order (spec §4.4–4.8)."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dicom import attributes as dicom
from shared.errors import MalformedQuery
from shared.search.matching import predicate
from shared.web import query as scopes
from shared.web.query import Filter
from tests.support.search import BASE, Archive, instance


@pytest.mark.parametrize(
    ("stored", "query", "hit"),
    [
        ({"PatientID": "Ab"}, "PatientID=aB", True),
        ({"PatientID": "Ab"}, "PatientID=A", False),
        ({"PatientID": "Ab"}, "PatientID= Ab ", True),
        ({"PatientID": "A_b"}, "PatientID=A?b", True),
        ({"PatientID": "A_b"}, "PatientID=A%b", False),
        ({"PatientID": "Ab"}, "PatientID=*B", True),
        ({"PatientID": "Ab"}, "PatientID=*", True),
        ({"PatientID": "Ab"}, "PatientID=", True),  # bug report 49
        ({"PatientID": "[a]"}, "PatientID=[a]", True),
        ({"PatientID": "[a]"}, "PatientID=[a*", True),
        ({"StudyDescription": "Ärzte"}, "StudyDescription=Arzte", False),
        ({"StudyDate": "20240131"}, "StudyDate=20240131", True),  # 167
        ({"StudyDate": "20240131"}, "StudyDate=20240131-", True),
        ({"StudyDate": "20240131"}, "StudyDate=-20240131", True),
        ({"StudyDate": "20240131"}, "StudyDate=20240131-20240131", True),
        ({"StudyDate": "20240131"}, "StudyDate=20240201-", False),
        ({"StudyDate": None}, "StudyDate=19000101-99991231", False),  # bug report 52
        ({"StudyDate": None}, "StudyDate=", True),
        ({"StudyTime": "101112.5"}, "StudyTime=10", True),
        ({"StudyTime": "101112.5"}, "StudyTime=1011-1012", True),
        ({"StudyTime": "101112.5"}, "StudyTime=-1010", False),
        ({"PatientName": "Müller^Jörg"}, "PatientName=muller^jorg", True),  # 154
        ({"PatientName": "Müller^Jörg"}, "PatientName=Muller", False),
        ({"PatientName": "Müller^Jörg"}, "PatientName=mull*", True),
        ({"PatientName": "Wang^Xiao=王^小"}, "PatientName=王^小", True),
        ({"PatientName": "Wang^Xiao=王^小"}, "PatientName=Wang^Xiao", True),
        ({"PatientName": "Wang^Xiao=王^小"}, "PatientName=王*", True),
        ({"PatientName": "Wang^Xiao=王^小"}, "PatientName=Wang^Xiao=王^小", True),
        ({"PatientName": "Wang^Xiao=王^小"}, "PatientName=小", False),
        ({"PatientName": "John^Doe"}, "fuzzymatching=true&PatientName=joh", True),  # 173
        ({"PatientName": "John^Doe"}, "fuzzymatching=true&PatientName=do", True),
        ({"PatientName": "John^Doe"}, "fuzzymatching=true&PatientName=jo do", True),
        ({"PatientName": "John^Doe"}, "fuzzymatching=true&PatientName=John Doe", True),
        ({"PatientName": "John^Doe"}, "fuzzymatching=true&PatientName=ohn", False),
        ({"PatientName": "John^Doe"}, "fuzzymatching=true&PatientID=P", True),
        ({"Modality": "CT"}, "ModalitiesInStudy=ct", True),
        ({"Modality": "CT"}, "ModalitiesInStudy=C", False),
        ({"StudyID": "7"}, "StudyID=7", True),  # bug report 43
    ],
)
async def test_matching(archive: Archive, stored: dict[str, Any], query: str, *, hit: bool) -> None:
    await archive.store(instance("1", "2", "3", **stored))
    assert await archive.studies(query) == (["1"] if hit else [])


@pytest.mark.parametrize(
    "query",
    [
        "StudyDate=2020/02/28", "StudyDate=20200230", "StudyDate=20200228-20200230",
        "StudyDate=20200110-20200109", "StudyDate=-", "StudyDate=baddate",
        "StudyTime=25", "StudyTime=-", 'fuzzymatching=true&PatientName="',
    ],
)  # fmt: skip
async def test_166_a_malformed_value_names_its_attribute(archive: Archive, query: str) -> None:
    with pytest.raises(MalformedQuery, match=r"StudyDate|StudyTime|PatientName"):
        await archive.find(query)


async def test_a_bad_date_has_the_literal_of_the_reference(archive: Archive) -> None:
    with pytest.raises(MalformedQuery) as refused:
        await archive.find("00080020=NotAValidStudyDate")
    assert str(refused.value) == (
        "Invalid query: specified Date value 'NotAValidStudyDate' is invalid for attribute "
        "'StudyDate'. Date should be valid and formatted as yyyyMMdd."
    )


@pytest.mark.parametrize("separator", [",", "\\"])
async def test_38_a_list_of_uids_matches_any(archive: Archive, separator: str) -> None:
    for study in ("1.1", "1.2", "1.3"):
        await archive.store(instance(study, f"{study}.1", f"{study}.1.1"))
    found = await archive.studies(f"StudyInstanceUID=1.1{separator}1.3")
    assert sorted(found) == ["1.1", "1.3"]


async def test_151_the_default_set_of_version_2(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", StudyDate="20190101", PatientSex="F", Modality="CT")
    )
    [row] = await archive.find("StudyDate=20190101")
    assert list(row) == ["00080020", "00100020", "0020000D"]
    [row] = await archive.find("StudyDate=20190101", major=1)
    assert "00100040" in row


async def test_40_152_153_computed_attributes(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", Modality="PT"),
        instance("1", "4", "5", Modality="CT"),
        instance("1", "4", "6", Modality="CT"),
    )
    [row] = await archive.find("ModalitiesInStudy=CT&includefield=NumberOfStudyRelatedInstances")
    assert row["00080061"] == {"vr": "CS", "Value": ["CT", "PT"]}
    assert row["00201208"] == {"vr": "IS", "Value": [3]}
    rows = await archive.find("includefield=NumberOfSeriesRelatedInstances", scopes.SERIES)
    assert sorted(row["00201209"]["Value"][0] for row in rows) == [1, 2]


async def test_155_156_series_show_their_level_and_those_above(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", Modality="MRI", StudyDate="20190101"),
        instance("1", "4", "5", Modality="CT", StudyDate="20190101"),
    )
    [row] = await archive.find("Modality=MRI", scopes.SERIES_OF_STUDY, study="1")
    assert list(row) == ["00080060", "0020000D", "0020000E"]
    [row] = await archive.find("Modality=mri", scopes.SERIES)
    assert list(row) == ["00080020", "00080060", "00100020", "0020000D", "0020000E"]
    assert len(await archive.find("", scopes.SERIES_OF_STUDY, study="1")) == 2


async def test_159_160_161_instances(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", Modality="MRI"), instance("1", "2", "4", Modality="MRI")
    )
    [row] = await archive.find(
        "SOPInstanceUID=4", scopes.INSTANCES_OF_SERIES, study="1", series="2"
    )
    assert list(row) == ["00080018", "0020000D", "0020000E"]
    assert len(await archive.find("Modality=MRI", scopes.INSTANCES_OF_STUDY, study="1")) == 2
    assert len(await archive.find("Modality=MRI", scopes.INSTANCES)) == 2
    assert await archive.find("", scopes.INSTANCES_OF_STUDY, study="9") == []


async def test_41_retrieve_url_is_complete_at_each_level(archive: Archive) -> None:
    await archive.store(instance("1", "2", "3"))
    for scope, path in (
        (scopes.STUDIES, "/studies/1"),
        (scopes.SERIES, "/studies/1/series/2"),
        (scopes.INSTANCES, "/studies/1/series/2/instances/3"),
    ):
        [row] = await archive.find("includefield=RetrieveURL", scope)
        assert row["00081190"] == {"vr": "UR", "Value": [BASE + path]}


async def test_172_newest_first_and_pages_by_offset(archive: Archive) -> None:
    for study in ("1.1", "1.2", "1.3"):
        await archive.store(instance(study, f"{study}.1", f"{study}.1.1"))
    assert await archive.studies("") == ["1.3", "1.2", "1.1"]
    assert await archive.studies("limit=1&offset=1") == ["1.2"]
    assert await archive.studies("offset=3") == []


async def test_174_the_newest_value_of_an_attribute_is_found_at_every_level(
    archive: Archive,
) -> None:
    await archive.store(instance("1", "2", "3", PatientName="Old^Name"))
    await archive.store(instance("1", "4", "5", PatientName="New^Name"))
    for scope, count in ((scopes.STUDIES, 1), (scopes.SERIES, 2), (scopes.INSTANCES, 2)):
        assert len(await archive.find("PatientName=New^Name", scope)) == count
        assert await archive.find("PatientName=Old^Name", scope) == []


async def test_62_an_empty_attribute_comes_back_empty(archive: Archive) -> None:
    await archive.store(instance("1", "2", "3", PatientID=None))
    [row] = await archive.find("")
    assert row["00100020"] == {"vr": "LO"}


async def test_47_pages_cover_250_equal_studies_while_more_come(archive: Archive) -> None:
    await archive.store(
        *(instance(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1", StudyDate="20200101") for n in range(250))
    )
    found: list[str] = []
    while page := await archive.studies(f"StudyDate=20200101&limit=50&offset={len(found)}"):
        found += page
    assert sorted(found) == sorted(f"1.{n}" for n in range(250))


@given(
    path=st.sampled_from(sorted(dicom.SEARCH_KEYS)), value=st.text(max_size=20), fuzzy=st.booleans()
)
@settings(max_examples=300)
def test_any_value_is_a_predicate_or_malformed(
    path: tuple[int, ...], value: str, *, fuzzy: bool
) -> None:
    key = dicom.SEARCH_KEYS[path]
    with contextlib.suppress(MalformedQuery):
        predicate(Filter(key.keyword, key, value), fuzzy=fuzzy)

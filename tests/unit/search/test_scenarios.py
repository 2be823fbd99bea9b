"""The numbered scenarios of search as responses of the trigger (spec dicomweb.md §7.9)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.search import Archive, instance, rows, tags, values

_STUDY_SET = ("StudyDate", "PatientName", "PatientID", "StudyInstanceUID")
_SERIES_SET = ("Modality", "SeriesInstanceUID")


async def _texts(archive: Archive, address: str) -> str:
    """The text of a refusal."""
    response = await archive.get(address)
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("text/plain")
    return bytes(response.body).decode()


@pytest.mark.spec("dicomweb", 149, 165, 170)
@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/studies?Modality=CT", "Modality"),
        ("/series?SOPInstanceUID=1", "SOPInstanceUID"),
        ("/studies/1/series?PatientName=x", "PatientName"),
    ],
)
async def test_a_key_of_another_level_is_refused(archive: Archive, address: str, name: str) -> None:
    assert await _texts(archive, address) == (
        f"Invalid query: AttributeId {name} is not queryable.  If the parameter is an attribute "
        "keyword, check the casing as they are case-sensitive. The conformance statement has a "
        "list of supported query parameters, attributes and the levels."
    )


@pytest.mark.spec("dicomweb", 150, 169)
@pytest.mark.bug_report(50)
@pytest.mark.parametrize("address", ["/studies?StudyDate=20200101", "/studies?offset=1"])
async def test_nothing_found_is_204_without_a_body(archive: Archive, address: str) -> None:
    await archive.store(instance("1", "2", "3", StudyDate="20190101"))
    response = await archive.get(address)
    assert response.status_code == 204
    assert response.body == b""
    assert "content-type" not in response.headers


@pytest.mark.spec("dicomweb", 151)
async def test_the_default_set_of_a_study(archive: Archive) -> None:
    await archive.store(
        instance(
            "1", "2", "3", StudyDate="20190101", PatientName="A^B", PatientSex="F", Modality="CT"
        )
    )
    [row] = rows(await archive.get("/studies?StudyDate=20190101"))
    assert list(row) == tags(*_STUDY_SET)
    [row] = rows(await archive.get("/studies?StudyDate=20190101", major=1))
    assert list(row) == tags(*_STUDY_SET, "PatientSex")


@pytest.mark.spec("dicomweb", 152, 153)
@pytest.mark.bug_report(40)
async def test_modalities_are_several_values_and_counts_are_of_all(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", Modality="MR"),
        instance("1", "4", "5", Modality="CT"),
        instance("1", "4", "6", Modality="CT"),
        instance("7", "8", "9", Modality="MR"),
    )
    [row] = rows(await archive.get("/studies?ModalitiesInStudy=CT"))
    assert row["00080061"] == {"vr": "CS", "Value": ["CT", "MR"]}
    field = "includefield=NumberOfStudyRelatedInstances"
    [row] = rows(await archive.get(f"/studies?ModalitiesInStudy=CT&{field}"))
    assert row["00080061"]["Value"] == ["CT", "MR"]
    assert row["00201208"] == {"vr": "IS", "Value": [3]}


@pytest.mark.spec("dicomweb", 154)
async def test_accents_and_case_of_a_name_do_not_matter(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", PatientName="MÜLLER^Jörg"),
        instance("4", "5", "6", PatientName="Muller^Georg"),
    )
    found = rows(await archive.get("/studies?PatientName=muller%5Ejorg"))
    assert values(found, "PatientName") == [{"Alphabetic": "MÜLLER^Jörg"}]


async def _two_series(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", Modality="MRI", StudyDate="20190101", PatientName="A^B"),
        instance("1", "4", "5", Modality="CT", StudyDate="20190101", PatientName="A^B"),
    )


@pytest.mark.spec("dicomweb", 155, 156, 158)
async def test_series_of_a_study_and_of_all(archive: Archive) -> None:
    await _two_series(archive)
    [row] = rows(await archive.get("/studies/1/series?Modality=MRI"))
    assert list(row) == tags(*_SERIES_SET, "StudyInstanceUID")
    [row] = rows(await archive.get("/series?Modality=MRI"))
    assert list(row) == tags(*_STUDY_SET, *_SERIES_SET)
    found = rows(await archive.get("/studies/1/series"))
    assert values(found, "StudyInstanceUID") == ["1", "1"]
    assert sorted(values(found, "SeriesInstanceUID")) == ["2", "4"]


@pytest.mark.spec("dicomweb", 157)
async def test_instances_of_a_series_are_counted(archive: Archive) -> None:
    await archive.store(*(instance("1", "2", f"2.{n}", Modality="CT") for n in range(2)))
    field = "includefield=NumberOfSeriesRelatedInstances"
    found = rows(await archive.get(f"/series?Modality=CT&{field}"))
    assert values(found, "NumberOfSeriesRelatedInstances") == [2]


@pytest.mark.spec("dicomweb", 159, 160, 161)
async def test_instances_of_a_study_of_a_series_and_of_all(archive: Archive) -> None:
    await _two_series(archive)
    [row] = rows(await archive.get("/studies/1/instances?Modality=MRI"))
    assert list(row) == tags(*_SERIES_SET, "StudyInstanceUID", "SOPInstanceUID")
    [row] = rows(await archive.get("/studies/1/series/2/instances?SOPInstanceUID=3"))
    assert list(row) == tags("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    [row] = rows(await archive.get("/instances?Modality=MRI"))
    assert list(row) == tags(*_STUDY_SET, *_SERIES_SET, "SOPInstanceUID")


@pytest.mark.spec("dicomweb", 162, 163)
async def test_fuzzy_names(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", PatientName="Jon^Zyx^StoneHall"),
        instance("4", "5", "6", PatientName="Jonathan^Zyx^Stone Hall^^"),
        instance("7", "8", "9", ReferringPhysicianName="dr^Zyx^Stone Hall^^"),
    )
    found = rows(await archive.get("/studies?PatientName=Zyx&FuzzyMatching=true"))
    assert sorted(values(found, "StudyInstanceUID")) == ["1", "4"]
    found = rows(await archive.get("/studies?ReferringPhysicianName=Zyx&FuzzyMatching=true"))
    assert values(found, "ReferringPhysicianName") == [{"Alphabetic": "dr^Zyx^Stone Hall^^"}]


@pytest.mark.spec("dicomweb", 164)
async def test_the_query_of_a_viewer(archive: Archive) -> None:
    query = "limit=25&offset=0&includefield=00081030%2C00080060&StudyDate=19521125-20210507"
    assert (await archive.get(f"/studies?{query}")).status_code == 204
    await archive.store(
        instance("1", "2", "3", StudyDate="20190101", StudyDescription="x", Modality="CT")
    )
    [row] = rows(await archive.get(f"/studies?{query}"))
    assert row["00081030"]["Value"] == ["x"]
    assert row["00080060"]["Value"] == ["CT"]  # of the newest instance


@pytest.mark.spec("dicomweb", 166)
@pytest.mark.parametrize(
    "value",
    ["2020/02/28", "20200230", "20200228-20200230", "20200110-20200109", "-", "baddate"],
)
async def test_malformed_dates(archive: Archive, value: str) -> None:
    assert "StudyDate" in await _texts(archive, f"/studies?StudyDate={value}")


@pytest.mark.spec("dicomweb", 167)
@pytest.mark.parametrize("value", ["20200101-", "-20200101", "20200101-20200101"])
async def test_ranges_are_inclusive(archive: Archive, value: str) -> None:
    await archive.store(instance("1", "2", "3", StudyDate="20200101"))
    assert len(rows(await archive.get(f"/studies?StudyDate={value}"))) == 1


@pytest.mark.spec("dicomweb", 168)
async def test_fields_and_keys_given_twice(archive: Archive) -> None:
    await archive.store(instance("1", "2", "3"))
    assert rows(await archive.get("/studies?includefield=12050010"))
    assert "12345678" in await _texts(archive, "/studies?includefield=12345678")
    assert "PatientID" in await _texts(archive, "/studies?PatientID=a&PatientID=b")
    assert "00100020" in await _texts(archive, "/studies?PatientID=a&00100020=a")


@pytest.mark.spec("dicomweb", 169)
@pytest.mark.parametrize(
    "parameter",
    ["limit=0", "limit=201", "limit=x", "offset=-1", "fuzzymatching=x", "continuation=x"],
)
async def test_malformed_parameters_are_named(archive: Archive, parameter: str) -> None:
    assert parameter.partition("=")[0] in await _texts(archive, f"/studies?{parameter}")


@pytest.mark.spec("dicomweb", 170)
@pytest.mark.parametrize("query", ["patientname=x", "q=%3c", "nosuchkey=1"])
async def test_what_no_key_is_called(archive: Archive, query: str) -> None:
    assert await _texts(archive, f"/studies?{query}")


@pytest.mark.spec("dicomweb", 172)
async def test_newest_first(archive: Archive) -> None:
    for study in ("1", "2"):
        await archive.store(instance(study, f"{study}.1", f"{study}.2"))
    assert values(rows(await archive.get("/studies")), "StudyInstanceUID") == ["2", "1"]
    found = rows(await archive.get("/studies?limit=1&offset=1"))
    assert values(found, "StudyInstanceUID") == ["1"]


@pytest.mark.spec("dicomweb", 173)
@pytest.mark.parametrize(
    ("value", "status"),
    [("joh", 200), ("do", 200), ("jo do", 200), ("John Doe", 200), ("doe john", 200), ("ohn", 204)],
)
async def test_fuzzy_words_begin_alike(archive: Archive, value: str, status: int) -> None:
    await archive.store(instance("1", "2", "3", PatientName="John^Doe"))
    query = f"fuzzymatching=true&PatientName={quote(value)}"
    assert (await archive.get(f"/studies?{query}")).status_code == status


@pytest.mark.spec("dicomweb", 174)
async def test_the_newest_name_is_found(archive: Archive) -> None:
    await archive.store(instance("1", "2", "3", PatientName="Old^Name"))
    await archive.store(instance("1", "4", "5", PatientName="New^Name"))
    for path in ("/studies", "/series", "/instances"):
        assert (await archive.get(f"{path}?PatientName=Old%5EName")).status_code == 204
        assert rows(await archive.get(f"{path}?PatientName=New%5EName"))


# Bug reports ------------------------------------------------------------------------------


@pytest.mark.bug_report(38)
async def test_lists_of_uids(archive: Archive) -> None:
    for study in ("2.25.101", "2.25.201", "2.25.301"):
        await archive.store(instance(study, f"{study}.1", f"{study}.2"))
    for separator in (",", "%5C", "%2C"):
        address = f"/studies?StudyInstanceUID=2.25.101{separator}2.25.201"
        found = values(rows(await archive.get(address)), "StudyInstanceUID")
        assert sorted(found) == ["2.25.101", "2.25.201"]
    twice = "/studies?StudyInstanceUID=2.25.101&StudyInstanceUID=2.25.201"
    assert "StudyInstanceUID" in await _texts(archive, twice)


@pytest.mark.bug_report(41)
@pytest.mark.parametrize(
    ("address", "resource"),
    [
        ("/studies", "/studies/1"),
        ("/series", "/studies/1/series/2"),
        ("/studies/1/series", "/studies/1/series/2"),
        ("/instances", "/studies/1/series/2/instances/3"),
        ("/studies/1/series/2/instances", "/studies/1/series/2/instances/3"),
    ],
)
@pytest.mark.parametrize("fields", ["RetrieveURL", "PatientName,RetrieveURL", "all"])
async def test_retrieve_url_is_complete(
    archive: Archive, address: str, resource: str, fields: str
) -> None:
    await archive.store(instance("1", "2", "3", PatientName="A^B"))
    found = rows(await archive.get(f"{address}?includefield={fields}"))
    assert values(found, "RetrieveURL") == [f"https://dicom.example/main/v2{resource}"]


_STEP: dict[str, Any] = {"ScheduledProcedureStepID": "SPS1", "RequestedProcedureID": "RP1"}


@pytest.mark.bug_report(43)
@pytest.mark.parametrize(
    ("path", "key", "hit", "miss"),
    [
        ("/studies", "StudyTime", "1011", "1012"),
        ("/studies", "00080030", "101112", "12"),
        ("/studies", "StudyID", "S7", "S8"),
        ("/studies", "ModalitiesInStudy", "CT", "MR"),
        ("/series", "SeriesNumber", "5", "6"),
        ("/series", "PerformedProcedureStepStartTime", "09-10", "10-"),
        ("/series", "RequestAttributesSequence.ScheduledProcedureStepID", "SPS1", "SPS2"),
        ("/series", "RequestAttributesSequence.RequestedProcedureID", "RP*", "RX*"),
        ("/series", "00400275.00400009", "SPS1", "x"),
        ("/series", "00400275.ScheduledProcedureStepID", "sps1", "x"),
        ("/instances", "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2", "1.2"),
        ("/instances", "InstanceNumber", "11", "1"),
    ],
)
async def test_every_required_key_filters(
    archive: Archive, path: str, key: str, hit: str, miss: str
) -> None:
    await archive.store(
        instance(
            "1", "2", "3",
            StudyTime="101112", StudyID="S7", Modality="CT", SeriesNumber=5, InstanceNumber=11,
            PerformedProcedureStepStartTime="093000", RequestAttributesSequence=_STEP,
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        )
    )  # fmt: skip
    assert len(rows(await archive.get(f"{path}?{key}={hit}"))) == 1
    assert (await archive.get(f"{path}?{key}={miss}")).status_code == 204


@pytest.mark.bug_report(44)
async def test_a_key_that_cannot_be_searched_is_named(archive: Archive) -> None:
    await archive.store(*(instance("1", "2", f"3.{n}") for n in range(3)))
    assert "ImageType" in await _texts(archive, "/instances?ImageType=foo")


@pytest.mark.bug_report(46)
async def test_pages_of_studies_by_a_key_of_their_series(archive: Archive) -> None:
    for study in range(1, 6):
        await archive.store(
            *(instance(f"{study}", f"{study}.{n}", f"{study}.{n}.1", Modality="CT")
              for n in range(4))
        )  # fmt: skip
    found: list[str] = []
    for offset, count in ((0, 2), (2, 2), (4, 1)):
        query = f"ModalitiesInStudy=CT&limit=2&offset={offset}"
        page = values(rows(await archive.get(f"/studies?{query}")), "StudyInstanceUID")
        assert len(page) == count
        found += page
    assert sorted(found) == ["1", "2", "3", "4", "5"]


@pytest.mark.bug_report(49)
@pytest.mark.parametrize("query", ["PatientID=T-001&", "&", "PatientID=", ""])
async def test_empty_parameters(archive: Archive, query: str) -> None:
    await archive.store(instance("1", "2", "3", PatientID="T-001"))
    assert values(rows(await archive.get(f"/studies?{query}")), "PatientID") == ["T-001"]


@pytest.mark.bug_report(52)
async def test_a_study_without_a_date(archive: Archive) -> None:
    await archive.store(instance("1", "2", "3", StudyDate=None))
    [row] = rows(await archive.get("/studies"))
    assert row["00080020"] == {"vr": "DA"}
    assert (await archive.get("/studies?StudyDate=19000101-99991231")).status_code == 204
    [row] = rows(await archive.get("/studies?StudyDate="))
    assert row["00080020"] == {"vr": "DA"}

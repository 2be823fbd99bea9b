"""Pages, counts, and attributes that the index document of a result does not have."""

from __future__ import annotations

import pytest

from shared.errors import BlobNotFound
from shared.search.paging import wants_count
from tests.support.search import BASE, Archive, instance, rows, tags, values


def _next(link: str) -> str:
    address, _, relation = link.partition(">; ")
    assert relation == 'rel="next"'
    return address.removeprefix("<")


@pytest.mark.bug_report(47)
async def test_links_lead_through_all_results_while_others_store(archive: Archive) -> None:
    await archive.store(
        *(instance(f"1.{n}", f"1.{n}.1", f"1.{n}.2", StudyDate="20200101") for n in range(250))
    )
    address = f"{BASE}/studies?StudyDate=20200101&limit=50"
    found: list[str] = []
    for page in range(5):
        response = await archive.get(address)
        found += values(rows(response), "StudyInstanceUID")
        late = [
            instance(f"2.{page}.{n}", f"3.{page}.{n}", "4", StudyDate="20200101") for n in (0, 1)
        ]
        await archive.store(*late)
        if page < 4:
            address = _next(response.headers["link"])
            assert address.startswith(f"{BASE}/studies?StudyDate=20200101&limit=50&continuation=")
    assert "link" not in response.headers
    assert "warning" not in response.headers
    assert sorted(found) == sorted(f"1.{n}" for n in range(250))


async def test_a_link_keeps_the_query_and_names_the_resource(archive: Archive) -> None:
    await archive.store(*(instance("1", "2", f"3.{n}", PatientName="Ä&b^C") for n in range(3)))
    response = await archive.get(
        "/studies/1/series/2/instances?limit=1&offset=1&includefield=00100010,all"
    )
    address = _next(response.headers["link"])
    assert address.startswith(f"{BASE}/studies/1/series/2/instances?limit=1&includefield=")
    assert "offset" not in address
    [first], [last] = rows(response), rows(await archive.get(address))
    assert first.keys() == last.keys()
    assert (first["00080018"]["Value"], last["00080018"]["Value"]) == (["3.1"], ["3.0"])


async def test_no_offset_beside_a_continuation(archive: Archive) -> None:
    await archive.store(*(instance(f"1.{n}", "2", "3") for n in range(3)))
    address = _next((await archive.get("/studies?limit=1")).headers["link"])
    response = await archive.get(address + "&offset=1")
    assert response.status_code == 400
    assert b"offset" in bytes(response.body)


async def test_the_total_for_those_who_ask(archive: Archive) -> None:
    await archive.store(*(instance(f"1.{n}", f"2.{n}", "3") for n in range(7)))
    plain = await archive.get("/studies?limit=2")
    assert "x-total-count" not in plain.headers
    assert plain.headers["warning"] == (
        f"299 {BASE}: There are additional results that can be requested"
    )
    counted = await archive.get("/studies?limit=2&offset=3", prefer="respond-async, count=exact")
    assert counted.headers["x-total-count"] == "7"
    assert counted.headers["preference-applied"] == "count=exact"
    assert counted.headers["warning"] == (
        f"299 {BASE}: There are 2 additional results that can be requested"
    )
    further = await archive.get(_next(counted.headers["link"]), prefer="count=exact")
    assert further.headers["x-total-count"] == "7"
    nothing = await archive.get("/studies?PatientID=nobody", prefer="count=exact")
    assert (nothing.status_code, nothing.headers["x-total-count"]) == (204, "0")


@pytest.mark.parametrize(
    ("prefer", "wants"),
    [
        ([], False),
        (["count=exact"], True),
        (["return=minimal", 'COUNT = "Exact"; x=1'], True),
        (["count=estimated"], False),
        (["count"], False),
        (["xcount=exact"], False),
    ],
)
def test_prefer(prefer: list[str], *, wants: bool) -> None:
    assert wants_count(prefer) is wants


# Attributes that the index does not keep --------------------------------------------------


@pytest.mark.parametrize("path", ["/studies", "/series", "/studies/1/series"])
async def test_other_attributes_are_those_of_the_newest_instance(
    archive: Archive, path: str
) -> None:
    await archive.store(instance("1", "2", "3", KVP="100", ImageType=["ORIGINAL", "PRIMARY"]))
    await archive.store(instance("1", "2", "4", KVP="120"))
    fields = "includefield=KVP&includefield=ImageType,StationName"
    [row] = rows(await archive.get(f"{path}?{fields}"))
    assert row["00180060"] == {"vr": "DS", "Value": ["120"]}
    assert "00080008" not in row  # the newest has none
    assert "00081010" not in row


async def test_other_attributes_of_instances_are_their_own(archive: Archive) -> None:
    await archive.store(*(instance("1", "2", f"3.{n}", KVP=str(n)) for n in range(20)))
    found = rows(await archive.get("/instances?includefield=KVP"))
    assert [f"3.{kvp}" for kvp in values(found, "KVP")] == values(found, "SOPInstanceUID")


async def test_a_sequence_is_returned_whole(archive: Archive) -> None:
    step = {"ScheduledProcedureStepID": "S1", "RequestedProcedureID": "R1"}
    await archive.store(instance("1", "2", "3", RequestAttributesSequence=step))
    for field in ("RequestAttributesSequence", "00400275.00400009"):
        [row] = rows(await archive.get(f"/series?includefield={field}"))
        assert row["00400275"]["Value"][0]["00401001"]["Value"] == ["R1"]


async def test_metadata_purged_meanwhile_leaves_the_rest_of_the_row(archive: Archive) -> None:
    new = instance("1", "2", "3", KVP="120")
    new.details["metadata"]["segment"], new.details["metadata"]["offset"] = "gone", 0
    del new.details["metadata"]["inline"]
    await archive.store(new)
    with pytest.raises(BlobNotFound):
        await archive.blobs.read("gone")
    [row] = rows(await archive.get("/studies?includefield=KVP"))
    assert values([row], "StudyInstanceUID") == ["1"]
    assert "00180060" not in row


# Computed attributes ----------------------------------------------------------------------


async def _three(archive: Archive) -> None:
    await archive.store(
        instance("1", "2", "3", Modality="CT"),
        instance("1", "2", "4", Modality="CT"),
        instance("1", "5", "6", Modality="PT"),
    )


async def test_counts_of_levels_above(archive: Archive) -> None:
    await _three(archive)
    fields = (
        "ModalitiesInStudy,NumberOfStudyRelatedSeries,NumberOfStudyRelatedInstances,"
        "NumberOfSeriesRelatedInstances,InstanceAvailability"
    )
    for path, counts in (("/series", [1, 2]), ("/instances", [1, 2, 2])):
        found = rows(await archive.get(f"{path}?includefield={fields}"))
        assert sorted(values(found, "NumberOfSeriesRelatedInstances")) == counts
        for row in found:
            assert row["00080061"]["Value"] == ["CT", "PT"]
            assert (row["00201206"]["Value"], row["00201208"]["Value"]) == ([2], [3])
            assert row["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
            assert list(row) == sorted(row)
    [row] = rows(await archive.get(f"/studies?includefield={fields}"))
    assert row["00201208"]["Value"] == [3]
    assert "00201209" not in row  # a study has no one series


@pytest.mark.parametrize(
    ("path", "demanded"),
    [
        (
            "/studies",
            (
                "InstanceAvailability", "ModalitiesInStudy", "RetrieveURL",
                "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
            ),
        ),
        ("/series", ("RetrieveURL", "NumberOfSeriesRelatedInstances")),
        ("/instances", ("RetrieveURL", "InstanceAvailability")),
    ],
)  # fmt: skip
async def test_all_fields_have_what_the_standard_demands(
    archive: Archive, path: str, demanded: tuple[str, ...]
) -> None:
    await _three(archive)
    for row in rows(await archive.get(f"{path}?includefield=all")):
        assert set(tags(*demanded)) <= row.keys()


@pytest.mark.parametrize("major", [1, 2])
async def test_nothing_is_computed_unasked(archive: Archive, major: int) -> None:
    await _three(archive)
    for path in ("/studies", "/series", "/instances"):
        for row in rows(await archive.get(path, major=major)):
            assert not row.keys() & {"00080056", "00080061", "00081190", "00201206", "00201208"}

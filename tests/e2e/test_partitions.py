"""Data partitions over HTTP (spec §7.1; partitions-and-security §1)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx
import pytest

from tests.support import dicom
from tests.support.requests import DICOM, MULTIPART, multipart

AS_STORED = {"Accept": "application/dicom; transfer-syntax=*"}


def _names(http: httpx.Client) -> dict[str, dict[str, object]]:
    answer = http.get("/partitions")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return {row["partitionName"]: row for row in answer.json()}


def _path(ds: dicom.Dataset, partition: str) -> str:
    return (
        f"/partitions/{partition}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}"
    )


@pytest.mark.spec("dicomweb", 10)
@pytest.mark.spec("partitions-and-security", 1)
def test_partitions_are_listed(http: httpx.Client, tenants: tuple[str, str]) -> None:
    file = dicom.part10(dicom.ct())
    for name in ("List.1", "List_2"):
        stored = http.post(f"/partitions/{name}/studies", content=file, headers=DICOM)
        assert stored.status_code == 200
    again = http.post("/partitions/LIST.1/studies", content=dicom.part10(dicom.ct()), headers=DICOM)
    assert "/partitions/List.1/" in again.text  # the first spelling stays
    rows = _names(http)
    assert {"Microsoft.Default", "List.1", "List_2"} <= rows.keys()
    assert "LIST.1" not in rows
    assert rows["Microsoft.Default"]["partitionKey"] == 1
    keys = [row["partitionKey"] for row in rows.values()]
    assert len(set(keys)) == len(keys)
    for row in rows.values():
        created = datetime.fromisoformat(str(row["createdDate"]))
        assert created.utcoffset() is not None
    other = str(http.base_url).replace(tenants[0], tenants[1], 1)
    listed = httpx.get(f"{other}partitions").json()
    assert "List.1" not in [row["partitionName"] for row in listed]
    assert http.get("/partitions", headers={"Accept": "text/html"}).status_code == 406


@pytest.mark.spec("dicomweb", 11, 12)
@pytest.mark.spec("partitions-and-security", 2)
def test_a_store_creates_its_partition_and_names_it(http: httpx.Client) -> None:
    for name in ("made.1", "made.2"):
        ds = dicom.ct()
        path = "/studies" if name == "made.1" else f"/studies/{ds.StudyInstanceUID}"
        answer = http.post(f"/partitions/{name}{path}", content=dicom.part10(ds), headers=DICOM)
        assert answer.status_code == 200
        url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        assert f"/v2/partitions/{name}/studies/{ds.StudyInstanceUID}" in url
        assert httpx.get(url, headers=AS_STORED).content == dicom.part10(ds)


@pytest.mark.spec("dicomweb", 13, 15)
@pytest.mark.spec("partitions-and-security", 3, 5)
def test_the_same_instance_lives_in_each_partition_by_itself(http: httpx.Client) -> None:
    ds = dicom.ct()
    files = {}
    for name in ("same.1", "same.2"):
        ds.ImageComments = name
        files[name] = dicom.part10(ds)
        stored = http.post(f"/partitions/{name}/studies", content=files[name], headers=DICOM)
        assert stored.status_code == 200
    for name, file in files.items():
        assert http.get(_path(ds, name), headers=AS_STORED).content == file
    assert http.get(f"/studies/{ds.StudyInstanceUID}").status_code == 404
    assert http.delete(_path(ds, "same.1")).status_code == 204
    assert http.get(_path(ds, "same.1"), headers=AS_STORED).status_code == 404
    assert http.get(_path(ds, "same.2"), headers=AS_STORED).content == files["same.2"]


@pytest.mark.spec("dicomweb", 14)
@pytest.mark.spec("partitions-and-security", 4)
def test_the_same_frames_are_rendered_from_each_partition(http: httpx.Client) -> None:
    ds = dicom.multi_frame(frames=3)
    for name in ("seen.3", "seen.4"):
        http.post(f"/partitions/{name}/studies", content=dicom.part10(ds), headers=DICOM)
        for path in ("rendered", "frames/2/rendered"):
            answer = http.get(f"{_path(ds, name)}/{path}", headers={"Accept": "image/png"})
            assert answer.status_code == 200
            assert answer.content.startswith(b"\x89PNG")
    in_default = _path(ds, "x").removeprefix("/partitions/x")
    assert http.get(f"{in_default}/rendered").status_code == 404


@pytest.mark.spec("dicomweb", 16)
@pytest.mark.spec("partitions-and-security", 6)
def test_a_search_sees_one_partition(http: httpx.Client) -> None:
    first = dicom.mr()
    second = dicom.mr(StudyInstanceUID=first.StudyInstanceUID)
    for name, ds in (("seen.1", first), ("seen.2", second)):
        http.post(f"/partitions/{name}/studies", content=dicom.part10(ds), headers=DICOM)
    found = http.get(
        f"/partitions/seen.1/studies/{first.StudyInstanceUID}/series?Modality=MR"
    ).json()
    assert [row["0020000E"]["Value"] for row in found] == [[first.SeriesInstanceUID]]
    for level in ("studies", "series", "instances"):
        query = f"{level}?StudyInstanceUID={first.StudyInstanceUID}"
        assert len(http.get(f"/partitions/seen.2/{query}").json()) == 1
        assert http.get(f"/{query}").status_code == 204


@pytest.mark.spec("dicomweb", 19)
@pytest.mark.spec("partitions-and-security", 11, 12)
def test_unknown_partitions_and_bad_names_are_400(http: httpx.Client) -> None:
    """The path without prefix is the default partition here, not 400: partitions are always on."""
    before = _names(http).keys()
    for method, path in (
        ("GET", "/studies"),
        ("GET", "/studies/1.2"),
        ("GET", "/studies/1.2/metadata"),
        ("GET", "/studies/1.2/series/3/instances/4/frames/1"),
        ("DELETE", "/studies/1.2"),
        ("POST", "/export"),
        ("POST", "/studies/$bulkUpdate"),
    ):
        answer = http.request(method, f"/partitions/nowhere{path}")
        assert (answer.status_code, "does not exist" in answer.text) == (400, True)
    for name in ("a*b", "x" * 65, "a%20b", "%C3%BC", ""):
        for method in ("GET", "POST"):
            assert http.request(method, f"/partitions/{name}/studies").status_code == 400
    assert _names(http).keys() == before


def test_upsert_and_metadata_and_bulk_data_stay_in_their_partition(http: httpx.Client) -> None:
    ds = dicom.ct()
    ds.add_new(0x00090010, "LO", "TEST")
    ds.add_new(0x00091010, "OB", b"one!" * 1_000)
    one = dicom.part10(ds)
    http.post("/partitions/put.1/studies", content=one, headers=DICOM)
    ds[0x00091010].value = b"two!" * 1_000
    two = dicom.part10(ds)
    answer = http.put("/partitions/put.2/studies", content=multipart([two]), headers=MULTIPART)
    assert answer.is_success
    for name, file, value in (("put.1", one, b"one!"), ("put.2", two, b"two!")):
        assert http.get(_path(ds, name), headers=AS_STORED).content == file
        [metadata] = http.get(f"{_path(ds, name)}/metadata").json()
        uri = metadata["00091010"]["BulkDataURI"]
        assert f"/partitions/{name}/" in uri
        assert httpx.get(uri).content == value * 1_000


@pytest.mark.spec("partitions-and-security", 7)
def test_the_feed_names_the_partition(http: httpx.Client) -> None:
    stored = http.post(
        "/partitions/Feed.1/studies", content=dicom.part10(dicom.ct()), headers=DICOM
    )
    assert stored.status_code == 200
    latest = http.get("/changefeed/latest").json()
    assert latest["partitionName"] == "Feed.1"
    v1 = str(http.base_url).replace("/v2", "/v1")
    [row] = httpx.get(f"{v1}changefeed?offset={latest['sequence'] - 1}&limit=1").json()
    assert (row["partitionName"], row["state"]) == ("Feed.1", "Current")


@pytest.mark.spec("partitions-and-security", 13)
def test_two_first_stores_at_once_make_one_partition(http: httpx.Client) -> None:
    def store(_: int) -> int:
        file = dicom.part10(dicom.ct())
        return http.post("/partitions/Race.1/studies", content=file, headers=DICOM).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(store, range(8))) == {200}
    assert [name for name in _names(http) if name.lower() == "race.1"] == ["Race.1"]

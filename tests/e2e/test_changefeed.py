"""The change feed over HTTP (spec change-feed.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support import dicom
from tests.support.requests import DICOM, MULTIPART, multipart
from tests.support.server import Server


@pytest.fixture(scope="module")
def feeds(
    new_account: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service of its own: each test has a tenant with an empty feed."""
    names = ",".join(f"feed{number}" for number in range(12))
    with Server(
        connection=new_account(),
        data=tmp_path_factory.mktemp("feed"),
        seed=True,
        environment={"DICOM_TENANTS": names},
    ) as running:
        yield running


_numbers = iter(range(12))


@pytest.fixture
def http(feeds: Server) -> Iterator[httpx.Client]:
    """A client of a tenant that nobody has used."""
    base = f"{feeds.base_url}/feed{next(_numbers)}"
    with httpx.Client(base_url=base, timeout=60) as client:
        yield client


def _store(http: httpx.Client, *datasets: dicom.Dataset, prefix: str = "/v2") -> None:
    files = [dicom.part10(ds) for ds in datasets]
    answer = http.post(f"{prefix}/studies", content=multipart(files), headers=MULTIPART)
    assert answer.status_code in (200, 202), answer.text


def _feed(http: httpx.Client, path: str = "/v2/changefeed", **parameters: Any) -> list[Any]:
    answer = http.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    rows: list[Any] = answer.json()
    return rows


def _kinds(rows: list[Any]) -> list[tuple[str, str]]:
    return [(row["action"], row["state"]) for row in rows]


def _url(ds: dicom.Dataset) -> str:
    return (
        f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}"
    )


@pytest.mark.spec("change-feed", 1, 2, 3, 19)
def test_version_1(http: httpx.Client) -> None:
    for version in ("v1", "v2"):
        assert _feed(http, f"/{version}/changefeed") == []
        assert http.get(f"/{version}/changefeed/latest").status_code == 204
    datasets = [dicom.ct() for _ in range(10)]
    _store(http, datasets[0])
    latest = http.get("/v1/changefeed/latest").json()
    assert (latest["action"], latest["state"]) == ("Create", "Current")
    assert latest["studyInstanceUid"] == datasets[0].StudyInstanceUID
    assert latest["seriesInstanceUid"] == datasets[0].SeriesInstanceUID
    assert latest["sopInstanceUid"] == datasets[0].SOPInstanceUID
    assert latest["partitionName"] == "Microsoft.Default"
    assert "filePath" not in latest
    for ds in datasets[1:]:
        _store(http, ds)
    for parameters in ({"offset": latest["sequence"] - 1}, {}):
        rows = _feed(http, "/v1/changefeed", **parameters)
        assert [row["sopInstanceUid"] for row in rows] == [ds.SOPInstanceUID for ds in datasets]
        assert [row["sequence"] for row in rows] == list(range(1, 11))
        for row, ds in zip(rows, datasets, strict=True):
            assert row["metadata"]["00080018"]["Value"] == [ds.SOPInstanceUID]
    assert [row["sequence"] for row in _feed(http, "/v1/changefeed", offset=4, limit=3)] == [
        5,
        6,
        7,
    ]
    assert _feed(http, "/v1/changefeed", offset=10) == []
    assert _feed(http, "/v1/changefeed", offset=2**63 - 1) == []


@pytest.mark.spec("change-feed", 4, 5, 6, 7, 8, 9, 27)
def test_windows_of_version_2(http: httpx.Client) -> None:
    datasets = [dicom.ct() for _ in range(3)]
    for ds in datasets:
        _store(http, ds)
    rows = _feed(http)
    uids = [ds.SOPInstanceUID for ds in datasets]
    first, second, third = (row["timestamp"] for row in rows)

    def window(**parameters: Any) -> list[str]:
        return [row["sopInstanceUid"] for row in _feed(http, **parameters)]

    later = (datetime.fromisoformat(third) + timedelta(milliseconds=1)).isoformat()
    assert window(startTime=first, endTime=later, offset=0, limit=10) == uids
    assert window(endTime=first) == []
    assert window(startTime=second, offset=2) == []
    assert window(startTime=later) == []
    pages = [window(startTime=first, endTime=later, limit=1, offset=at) for at in range(4)]
    assert pages == [[uids[0]], [uids[1]], [uids[2]], []]
    assert window(startTime=first, endTime=third) == uids[:2]
    zoned = first.replace("Z", "+00:00")
    assert window(startTime=zoned, endTime=second) == uids[:1]
    assert window(STARTTIME=second) == uids[1:]
    assert http.get(f"/v2/changefeed?startTime={zoned}").status_code == 400, "a + is a space"


@pytest.mark.spec("change-feed", 10, 11, 12, 13, 14)
def test_states(http: httpx.Client) -> None:
    ds = dicom.ct()
    _store(http, ds)
    created = http.get("/v2/changefeed/latest").json()
    assert (created["action"], created["state"]) == ("Create", "Current")
    assert created["metadata"]["00080018"]["Value"] == [ds.SOPInstanceUID]
    for path in ("/v2/changefeed/latest", "/v2/changefeed"):
        bare = http.get(path, params={"includeMetadata": "false"}).json()
        row = bare[0] if isinstance(bare, list) else bare
        assert "metadata" not in row
        assert "filePath" not in row
        assert row["state"] == "Current"
    assert http.delete(f"/v2{_url(ds)}").status_code == 204
    deleted = http.get("/v2/changefeed/latest").json()
    assert (deleted["action"], deleted["state"]) == ("Delete", "Deleted")
    assert "metadata" not in deleted
    assert _kinds(_feed(http)) == [("Create", "Deleted"), ("Delete", "Deleted")]
    _store(http, ds)
    assert _kinds(_feed(http, startTime=created["timestamp"])) == [
        ("Create", "Replaced"),
        ("Delete", "Replaced"),
        ("Create", "Current"),
    ]


def test_an_upsert_is_an_update(http: httpx.Client) -> None:
    ds = dicom.ct(PatientName="Old^Name")
    _store(http, ds)
    ds.PatientName = "New^Name"
    put = http.put("/v2/studies", content=dicom.part10(ds), headers=DICOM)
    assert put.status_code == 200
    rows = _feed(http)
    assert _kinds(rows) == [("Create", "Replaced"), ("Update", "Current")]
    for row in rows:
        assert row["metadata"]["00100010"]["Value"] == [{"Alphabetic": "New^Name"}]


@pytest.mark.spec("change-feed", 15, 16, 17, 18, 26)
def test_what_is_malformed_is_named(http: httpx.Client) -> None:
    time = "2026-01-01T00:00:00Z"
    for parameters, name in (
        ({"startTime": "foo"}, "startTime"),
        ({"endTime": "bar"}, "endTime"),
        ({"startTime": "2026-01-01T00:00:00"}, "startTime"),
        ({"endTime": "2026-01-01T00:00:00"}, "endTime"),
        ({"endTime": "2026-13-01T00:00:00Z"}, "endTime"),
        ({"startTime": time, "endTime": time}, "endTime"),
        ({"startTime": time, "endTime": "2025-01-01T00:00:00Z"}, "endTime"),
        *(({"limit": value}, "limit") for value in ("-1", "0", "blah", "201", "1e2")),
        *(({"offset": value}, "offset") for value in ("-1", "92233720368547758070", "blah")),
        *(({"includeMetadata": value}, "includeMetadata") for value in ("0", "true-ish", "yes")),
    ):
        answer = http.get("/v2/changefeed", params=parameters)
        assert answer.status_code == 400, parameters
        assert name in answer.text
    assert http.get("/v1/changefeed", params={"limit": 101}).status_code == 400
    assert http.get("/v2/changefeed/latest?includeMetadata=asdf").status_code == 400
    for path, parameters in (
        ("/v1/changefeed", {"limit": 100}),
        ("/v2/changefeed", {"limit": 200}),
        ("/v2/changefeed", {"includeMetadata": "TRUE"}),
        ("/v1/changefeed", {"startTime": "foo"}),
        ("/v2/changefeed", {"startTime": "0001-01-01T00:00:00Z"}),
        ("/v2/changefeed", {"endTime": "9999-12-31T23:59:59.9999999Z"}),
        ("/v2/changefeed", {"unknown": "1"}),
    ):
        assert http.get(path, params=parameters).status_code == 200, (path, parameters)


@pytest.mark.spec("change-feed", 20, 25)
@pytest.mark.spec("dicomweb", 17)
def test_partitions_share_the_feed(http: httpx.Client) -> None:
    ds = dicom.ct()
    for name in ("P1", "p2"):
        _store(http, ds, prefix=f"/v2/partitions/{name}")
    assert [row["partitionName"] for row in _feed(http)] == ["P1", "p2"]
    latest = http.get("/v2/changefeed/latest").json()
    assert latest["partitionName"] == "p2"
    assert [latest[f"{name}InstanceUid"] for name in ("study", "series", "sop")] == [
        ds.StudyInstanceUID,
        ds.SeriesInstanceUID,
        ds.SOPInstanceUID,
    ]
    assert http.delete(f"/v2/partitions/P1{_url(ds)}").status_code == 204
    rows = _feed(http)
    assert _kinds(rows) == [("Create", "Deleted"), ("Create", "Current"), ("Delete", "Deleted")]
    assert http.get("/v2/partitions/p2/changefeed").status_code == 404


@pytest.mark.spec("change-feed", 23, 24)
def test_each_instance_of_a_deletion_and_none_of_a_refusal(http: httpx.Client) -> None:
    first = dicom.ct()
    rest = [dicom.ct(StudyInstanceUID=first.StudyInstanceUID) for _ in range(4)]
    _store(http, first, *rest)
    again = http.post("/v2/studies", content=dicom.part10(first), headers=DICOM)
    assert again.status_code == 409
    broken = http.post("/v2/studies", content=b"no DICOM", headers=DICOM)
    assert broken.status_code == 409
    assert http.post("/v2/studies", content=b"x", headers=MULTIPART).status_code == 400
    assert len(_feed(http)) == 5
    assert http.delete(f"/v2/studies/{first.StudyInstanceUID}").status_code == 204
    rows = _feed(http)
    assert _kinds(rows) == [("Create", "Deleted")] * 5 + [("Delete", "Deleted")] * 5
    deleted = {row["sopInstanceUid"] for row in rows[5:]}
    assert deleted == {ds.SOPInstanceUID for ds in (first, *rest)}


@pytest.mark.spec("change-feed", 28)
async def test_a_reader_beside_writers_sees_each_row_once(feeds: Server) -> None:
    base = f"{feeds.base_url}/feed{next(_numbers)}"
    stored: list[str] = []
    done = asyncio.Event()

    async def write(client: httpx.AsyncClient) -> None:
        for _ in range(15):
            ds = dicom.ct()
            answer = await client.post(
                f"{base}/v2/studies", content=dicom.part10(ds), headers=DICOM
            )
            assert answer.status_code == 200
            stored.append(str(ds.SOPInstanceUID))

    async def follow(client: httpx.AsyncClient) -> list[str]:
        seen: list[str] = []
        position = 0
        while True:
            last = done.is_set()
            parameters: dict[str, Any] = {"offset": position, "includeMetadata": "false"}
            rows = (await client.get(f"{base}/v1/changefeed", params=parameters)).json()
            seen += [row["sopInstanceUid"] for row in rows]
            position = max([position, *(row["sequence"] for row in rows)])
            if last and not rows:
                return seen

    async def follow_time(client: httpx.AsyncClient) -> list[str]:
        """By windows of version 2: each begins with the last row of the one before."""
        seen: list[str] = []
        parameters: dict[str, Any] = {"includeMetadata": "false", "limit": 7}
        while True:
            last = done.is_set()
            rows = (await client.get(f"{base}/v2/changefeed", params=parameters)).json()
            seen += [row["sopInstanceUid"] for row in rows]
            if rows:
                parameters |= {"startTime": rows[-1]["timestamp"], "offset": 1}
            elif last:
                return seen

    async with httpx.AsyncClient(timeout=60) as client:
        following = [asyncio.create_task(each(client)) for each in (follow, follow_time)]
        await asyncio.gather(*(write(client) for _ in range(6)))
        done.set()
        for seen in await asyncio.gather(*following):
            assert sorted(seen) == sorted(stored)
            assert len(set(seen)) == 90

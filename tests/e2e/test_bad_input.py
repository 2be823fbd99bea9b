"""Whatever is sent: a clear answer, nothing left behind, and the next request is served."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import dicom
from tests.support.archive import look
from tests.support.requests import DICOM, JSON_MULTIPART, MULTIPART, bulk_request, multipart
from tests.support.server import Server

_MOST_BYTES = 16 * 1024**2
_HUGE = {
    "00280002": {"vr": "US", "Value": [1]},
    "00280010": {"vr": "US", "Value": [60_000]},
    "00280011": {"vr": "US", "Value": [60_000]},
    "00280100": {"vr": "US", "Value": [8]},
    "7FE00010": {"vr": "OW", "BulkDataURI": "p"},
}
_PNG = (
    b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBB", 13, b"IHDR", 100_000, 100_000, 8, 0) + bytes(9)
)


@pytest.fixture(scope="module")
def spare(
    new_account: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A service of its own, so that what is left behind can be counted."""
    with Server(
        connection=new_account(),
        data=tmp_path_factory.mktemp("bad-input"),
        seed=True,
        environment={
            "DICOM_TENANTS": "bad-input,many",
            "DICOM_MAX_HEADER_BYTES": str(4 * 1024**2),
            "DICOM_MAX_INSTANCE_BYTES": str(_MOST_BYTES),
        },
    ) as running:
        yield running


@pytest.fixture
def client(spare: Server) -> Iterator[httpx.Client]:
    """A client; after the test nothing may be left and the service must serve."""
    with httpx.Client(base_url=f"{spare.base_url}/bad-input/v2", timeout=120) as client:
        yield client
        assert client.get("/studies").status_code == 204
        sound = client.post("/studies", content=dicom.base(), headers=DICOM)
        assert sound.status_code == 200
        assert client.delete(f"/studies/{dicom.STUDY}").status_code == 204
    left = asyncio.run(look(spare.connection, Path(spare.log).parent / "index", "bad-input"))
    kept = [body for body in left.documents if body["type"] not in ("outbox", "tombstone")]
    assert not kept
    assert not left.faults()


def _failed(answer: httpx.Response) -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.json()["00081198"]["Value"]]


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (multipart([dicom.base()])[:-7], MULTIPART["Content-Type"], 400),
        (multipart([dicom.base()])[:300], MULTIPART["Content-Type"], 400),
        (multipart([dicom.base()]), 'multipart/related; type="application/dicom"; boundary=x', 400),
        (multipart([dicom.base()]), 'multipart/related; type="application/dicom"', 415),
        (b"--b\r\n\r\n" + dicom.base() + b"\r\n--b--", "multipart/related; boundary=b", 415),
        (b"--b--\r\n", MULTIPART["Content-Type"], 204),
        (b"", "application/dicom", 409),
        (b"no DICOM at all" * 40, "application/dicom", 409),
        (b"", None, 415),
        (b"{}", "application/json", 415),
        (bulk_request([{}], ("image/png", "nobody", b"x")), JSON_MULTIPART["Content-Type"], 400),
        (bulk_request("no data set"), JSON_MULTIPART["Content-Type"], 400),
        (bulk_request([_HUGE], ("image/png", "p", _PNG)), JSON_MULTIPART["Content-Type"], 409),
        (bulk_request([{"PatientName": {}}]), JSON_MULTIPART["Content-Type"], 409),
        (bulk_request([]), JSON_MULTIPART["Content-Type"], 204),
        (b"--b--", 'multipart/related; type="application/dicom+xml"; boundary=b', 415),
    ],
    ids=[
        "no closing boundary", "cut off within a part", "wrong boundary", "no boundary",
        "part without header", "zero parts", "empty body", "no DICOM", "no type", "JSON",
        "bulk data of nobody", "JSON that is no data set", "PNG of 100,000 by 100,000",
        "names in place of tags", "no data sets", "XML",
    ],
)  # fmt: skip
def test_a_malformed_request_is_refused_as_a_whole(
    client: httpx.Client, content: bytes, content_type: str | None, status: int
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = client.post("/studies", content=content, headers=headers)
    assert answer.status_code == status
    if status in (400, 415):
        assert answer.text
    if status == 409:
        assert _failed(answer) == [43264]


def test_a_later_part_of_another_type_refuses_what_came_before_it(client: httpx.Client) -> None:
    body = multipart([dicom.base()])[: -len(b"--b--\r\n")]
    body += b"--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--\r\n"
    assert client.post("/studies", content=body, headers=MULTIPART).status_code == 415


def test_a_client_that_hangs_up_leaves_nothing(client: httpx.Client, spare: Server) -> None:
    large = dicom.part10(dicom.multi_frame(frames=40, Rows=512, Columns=512))
    with socket.create_connection(("127.0.0.1", spare.port)) as connection:
        head = (
            "POST /bad-input/v2/studies HTTP/1.1\r\nHost: x\r\n"
            f"Content-Type: application/dicom\r\nContent-Length: {len(large)}\r\n\r\n"
        )
        connection.sendall(head.encode() + large[: len(large) // 2])
    time.sleep(1)


def test_a_header_of_300_megabytes_is_refused_before_it_is_held(
    client: httpx.Client, spare: Server
) -> None:
    element = dicom.element(0x00091001, "LO", b"x" * 60)
    filler = b"".join(
        dicom.element(0x00090000 | (0x1000 + number), "LO", b"x" * 60) for number in range(0xEFFF)
    )
    assert len(element) * 0xEFFF == len(filler)

    def body() -> Iterator[bytes]:
        yield dicom.part10(dicom.instance())[: dicom.body_offset(dicom.base())]
        yield _sequence_of(filler, 75)

    spare.reset_rss_peak()
    answer = client.post("/studies", content=body(), headers=DICOM)
    assert answer.status_code == 409
    assert _failed(answer) == [43264]
    assert spare.rss_peak() < 200 * 1024**2


def _sequence_of(content: bytes, items: int) -> bytes:
    """A sequence with so many items, about 300 MB in all."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
    head = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, len(item) * items)
    return head + item * items


@pytest.mark.spec("dicomweb", 34)
def test_what_is_larger_than_the_limit_is_413_and_leaves_nothing(client: httpx.Client) -> None:
    ds = dicom.multi_frame(frames=1, Rows=512, Columns=512, NumberOfFrames=64)
    ds.PixelData = bytes(_MOST_BYTES)
    large, small = dicom.part10(ds), dicom.part10(dicom.ct())
    for content, headers in ((large, DICOM), (multipart([small, large]), MULTIPART)):
        answer = client.post("/studies", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["content-type"].startswith("text/plain")
        assert str(_MOST_BYTES) in answer.text


def test_nesting_2000_deep_is_refused(client: httpx.Client) -> None:
    depth = 2_000
    opened = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    opened += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closed = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    data = dicom.base()
    at = dicom.body_offset(data)
    answer = client.post(
        "/studies", content=data[:at] + opened * depth + closed * depth, headers=DICOM
    )
    assert answer.status_code == 409
    assert _failed(answer) == [43264]


def test_5000_parts_are_stored_and_each_is_named(spare: Server) -> None:
    """In a tenant of its own: what it leaves is much to look at after each test."""
    with httpx.Client(base_url=f"{spare.base_url}/many/v2", timeout=120) as client:
        _store_5000(client)


def _store_5000(client: httpx.Client) -> None:
    study, series = dicom.new_uid(), dicom.new_uid()
    template = dicom.instance(StudyInstanceUID=study, SeriesInstanceUID=series)

    def files() -> Iterator[bytes]:
        marker = dicom.new_uid()
        template.SOPInstanceUID = marker
        data = dicom.part10(template)
        for number in range(5_000):
            uid = f"2.25.{number:0{len(marker) - 5}}".replace("2.25.0", "2.25.1", 1)
            yield data.replace(marker.encode(), uid.encode())

    answer = client.post("/studies", content=multipart(files()), headers=MULTIPART)
    assert answer.status_code == 200
    assert len(answer.json()["00081199"]["Value"]) == 5_000
    found = client.get("/studies?includefield=NumberOfStudyRelatedInstances").json()
    assert found[0]["00201208"]["Value"] == [5_000]


def test_10001_parts_are_too_many(client: httpx.Client) -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\nx\r\n" * 10_001 + b"--b--\r\n"
    answer = client.post("/studies", content=body, headers=MULTIPART)
    assert answer.status_code == 413
    assert "10000" in answer.text


def test_the_same_uids_twice_in_a_request_are_stored_once(client: httpx.Client) -> None:
    answer = client.post("/studies", content=multipart([dicom.base()] * 2), headers=MULTIPART)
    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert _failed(answer) == [45070]
    assert client.delete(f"/studies/{dicom.STUDY}").status_code == 204


@pytest.mark.parametrize("padding", [b"\0", b" ", b"   "], ids=["NUL", "space", "spaces"])
def test_padding_of_a_uid_does_not_count(client: httpx.Client, padding: bytes) -> None:
    uid = dicom.STUDY.encode() + padding
    uid += padding[:1] * (len(uid) % 2)
    data = dicom.splice(dicom.base(), dicom.element(0x0020000D, "UI", uid))
    assert client.post("/studies", content=data, headers=DICOM).status_code == 200
    answer = client.post("/studies", content=dicom.base(), headers=DICOM)
    assert answer.status_code == 409
    assert _failed(answer) == [45070]
    url = f"/studies/{dicom.STUDY}/series/{dicom.SERIES}/instances/{dicom.INSTANCE}"
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    assert client.get(url, headers=accept).content == data
    assert client.delete(f"/studies/{dicom.STUDY}").status_code == 204


@pytest.mark.parametrize("cut", [10, 131, 140, 300, 500, -1])
def test_a_file_cut_anywhere_is_refused(client: httpx.Client, cut: int) -> None:
    answer = client.post("/studies", content=dicom.base()[:cut], headers=DICOM)
    assert answer.status_code == 409
    assert _failed(answer) == [43264]


def test_one_bad_part_does_not_harm_the_others(client: httpx.Client) -> None:
    body = multipart([b"text", dicom.base(), dicom.base()[:-3]])
    answer = client.post("/studies", content=body, headers=MULTIPART)
    assert answer.status_code == 202
    assert _failed(answer) == [43264, 43264]
    assert len(answer.json()["00081199"]["Value"]) == 1
    assert client.delete(f"/studies/{dicom.STUDY}").status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/studies/../../other/v2/studies", 404),
        ("GET", "/studies/%2e%2e", 404),
        ("GET", "/studies/1.2.3.", 400),
        ("GET", "/studies/" + "1" * 65, 400),
        ("GET", "/studies/1%2f2", 400),
        ("DELETE", "/studies/notAStudyInstanceUid", 400),
        ("GET", "/studies/1/series/x/instances/1/frames/1", 400),
        ("GET", "/partitions/nobody/studies", 400),
        ("GET", "/partitions/no%20body/studies", 400),
        ("GET", "/partitions/" + "p" * 65 + "/studies", 400),
        ("GET", "/studies?q=%3c", 400),
        ("PUT", "/studies/1/metadata", 405),
        ("GET", "/nothing", 404),
    ],
)
def test_a_malformed_address_gets_a_clear_answer(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    url = httpx.URL(str(client.base_url).rstrip("/") + path)
    assert client.request(method, url).status_code == status

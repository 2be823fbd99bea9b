"""1 GiB in one instance, or much in many, goes through a process that stays small."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.support import dicom
from tests.support.azurite import azurite_running
from tests.support.requests import MULTIPART, multipart
from tests.support.server import Server

_FRAMES = 2048
_FRAME = 512 * 512 * 2
_MOST_RESIDENT = 200 * 1024**2
_MOST_CONVERTING = 300 * 1024**2


@pytest.fixture(scope="module")
def large_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service whose blobs lie on disk."""
    folder = tmp_path_factory.mktemp("large")
    (folder / "azurite").mkdir()
    with (
        azurite_running(folder / "azurite", in_memory=False) as connection,
        Server(connection=connection, data=folder / "data", seed=True) as server,
    ):
        yield server


def _frame(number: int) -> bytes:
    return number.to_bytes(4, "little") * (_FRAME // 4)


def _file() -> tuple[bytes, int]:
    """The file up to its pixel values, and its size in all."""
    ds = dicom.multi_frame(
        frames=1, Rows=512, Columns=512, NumberOfFrames=_FRAMES, BitsAllocated=16, BitsStored=16
    )
    data = dicom.part10(ds)
    head = data[: data.rindex(b"\xe0\x7f\x10\x00")]
    size = _FRAMES * _FRAME
    return head + b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little"), size


def test_one_gibibyte_is_stored_and_returned_within_200_megabytes_and_converted_within_300(
    large_server: Server,
) -> None:
    head, size = _file()
    sent = hashlib.sha256()

    def body() -> Iterator[bytes]:
        sent.update(head)
        yield head
        for number in range(_FRAMES):
            piece = _frame(number)
            sent.update(piece)
            yield piece

    base = f"{large_server.base_url}/main/v2"
    large_server.reset_rss_peak()
    with httpx.Client(timeout=300) as client:
        stored = client.post(
            f"{base}/studies", content=body(), headers={"Content-Type": "application/dicom"}
        )
        assert stored.status_code == 200, stored.text
        url = stored.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        received = hashlib.sha256()
        length = 0
        accept = {"Accept": "application/dicom; transfer-syntax=*"}
        with client.stream("GET", url, headers=accept) as answer:
            assert answer.status_code == 200
            for piece in answer.iter_bytes(1024 * 1024):
                received.update(piece)
                length += len(piece)
        frame = client.get(f"{url}/frames/2000", headers={"Accept": "application/octet-stream"})
    assert length == len(head) + size
    assert received.digest() == sent.digest()
    assert frame.content == _frame(1999)
    peak = large_server.rss_peak()
    print(f"peak {peak / 1024**2:.0f} MB")
    assert peak < _MOST_RESIDENT, f"{peak / 1024**2:.0f} MB"

    large_server.reset_rss_peak()
    assert _inflated_length(url) > size
    peak = large_server.rss_peak()
    print(f"peak {peak / 1024**2:.0f} MB")
    assert peak < _MOST_CONVERTING, f"{peak / 1024**2:.0f} MB"


def _inflated_length(url: str) -> int:
    """Fetch an instance deflated; the length of its data set."""
    accept = {"Accept": f"application/dicom; transfer-syntax={dicom.DEFLATED}"}
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    head = b""
    length = 0
    with httpx.stream("GET", url, headers=accept, timeout=300) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_bytes(1024 * 1024):
            if length:
                length += len(inflater.decompress(piece))
                continue
            head += piece
            start = 144 + int.from_bytes(head[140:144], "little")
            if len(head) > start:
                length += len(inflater.decompress(head[start:]))
    assert inflater.eof
    return length


def test_many_instances_are_converted_within_300_megabytes(large_server: Server) -> None:
    """150 MB in 300 instances, compressed on the way out."""
    study = dicom.new_uid()
    base = f"{large_server.base_url}/main/v2"
    pixels = bytes(range(256)) * (_FRAME // 256)
    with httpx.Client(timeout=300) as client:
        for _ in range(3):
            files = [
                dicom.part10(
                    dicom.ct(
                        StudyInstanceUID=study, Rows=512, Columns=512, BitsAllocated=16,
                        BitsStored=16, HighBit=15, PixelData=pixels,
                    )
                )
                for _ in range(100)
            ]  # fmt: skip
            stored = client.post(f"{base}/studies", content=multipart(files), headers=MULTIPART)
            assert stored.status_code == 200
        large_server.reset_rss_peak()
        accept = f'multipart/related; type="application/dicom"; transfer-syntax={dicom.RLE}'
        parts = 0
        with client.stream("GET", f"{base}/studies/{study}", headers={"Accept": accept}) as answer:
            assert answer.status_code == 200
            for piece in answer.iter_bytes(4 * 1024 * 1024):
                parts += piece.count(b"Content-Location")
    assert parts == pytest.approx(300, abs=5)  # a name may lie across two pieces
    peak = large_server.rss_peak()
    print(f"peak {peak / 1024**2:.0f} MB")
    assert peak < _MOST_CONVERTING, f"{peak / 1024**2:.0f} MB"

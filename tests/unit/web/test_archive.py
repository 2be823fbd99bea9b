"""Archives, read by the standard library and by a reader that sees the stream only once."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import AsyncIterator

import pytest

from shared.web.archive import Entry, archive


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _entries(*entries: tuple[str, int | None, list[bytes]]) -> AsyncIterator[Entry]:
    for name, size, pieces in entries:
        yield Entry(name, size, _pieces(*pieces))


async def _archive(*entries: tuple[str, int | None, list[bytes]]) -> bytes:
    return b"".join([piece async for piece in archive(_entries(*entries))])


_FILES: list[tuple[str, int | None, list[bytes]]] = [
    ("1/2/3.dcm", 300_000, [b"a" * 100_000, b"b" * 200_000]),
    ("1/2/4.dcm", None, [b"x", b"", b"y" * 70_000]),
    ("1/2/5.dcm", 0, []),
]


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", [None, 1_000])
async def test_an_archive_gives_back_each_file(
    monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """Beyond the limit, here lowered from 2 GiB, sizes and offsets are those of Zip64."""
    if limit is not None:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    data = await _archive(*_FILES)
    with zipfile.ZipFile(io.BytesIO(data)) as found:
        assert found.testzip() is None
        assert {name: found.read(name) for name in found.namelist()} == {
            name: b"".join(pieces) for name, _, pieces in _FILES
        }
    assert (b"PK\x06\x06" in data) == (limit is not None)  # the Zip64 end of the directory
    assert data == await _archive(*_FILES)  # the same each time


@pytest.mark.asyncio
async def test_a_reader_of_the_stream_finds_the_end_of_each_file() -> None:
    """As ``ZipInputStream`` of Java does, which refuses stored entries with a descriptor."""
    data = await _archive(*_FILES[:1])
    assert data[:4] == b"PK\x03\x04"
    flags, method = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    assert (flags & 8, method) == (8, 8)
    begin = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(data[begin:])
    assert content == b"".join(_FILES[0][2])
    descriptor = inflater.unused_data[:16]
    assert descriptor[:4] == b"PK\x07\x08"
    assert int.from_bytes(descriptor[4:8], "little") == zlib.crc32(content)
    assert int.from_bytes(descriptor[12:16], "little") == len(content)


@pytest.mark.asyncio
async def test_nothing_is_held_back() -> None:
    """Each piece goes on before the next is asked for."""
    asked = 0

    async def content() -> AsyncIterator[bytes]:
        nonlocal asked
        for _ in range(50):
            asked += 1
            yield b"p" * 100_000

    async def entries() -> AsyncIterator[Entry]:
        yield Entry("a", 5_000_000, content())

    sent = 0
    async for piece in archive(entries()):
        sent += len(piece)
        assert sent > (asked - 2) * 100_000
        assert len(piece) < 300_000
    assert asked == 50


@pytest.mark.asyncio
async def test_a_file_that_breaks_off_leaves_no_whole_archive() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"begin"
        raise ValueError("broken")

    async def entries() -> AsyncIterator[Entry]:
        yield Entry("a", 10, broken())

    sent = []
    pieces = archive(entries())
    sent.append(await anext(pieces))
    with pytest.raises(ValueError, match="broken"):
        await anext(pieces)
    assert not zipfile.is_zipfile(io.BytesIO(b"".join(sent)))

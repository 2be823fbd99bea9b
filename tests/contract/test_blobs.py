"""The ``Blobs`` port on Azurite."""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared import resilience
from shared.adapters.azure.blobs import AzureBlobs, ensure_container
from shared.adapters.azure.clients import PIECE, blob_service
from shared.adapters.azure.transport import Transport
from shared.config import StorageConnection
from shared.errors import (
    AlreadyStored,
    PreconditionFailed,
    Throttled,
    Unavailable,
)
from shared.ports import ByteSpan
from tests.support.blobs import BIG, KEY, drain, in_pieces, put, read


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that are made from here on retry at once."""
    monkeypatch.setattr(resilience, "_PAUSE_S", 0.0)


async def _list(blobs: AzureBlobs, prefix: str) -> list[str]:
    return [info.key async for page in blobs.pages(prefix) for info in page.blobs]


# Write ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "chunk"),
    [
        (0, 1),
        (1, 1),
        (70_000, 7),
        (PIECE - 1, 100_000),
        (PIECE, PIECE),
        (PIECE, 65_536),
        (PIECE + 1, PIECE + 1),
        (PIECE + 1, 65_536),
        (2 * PIECE, 1_000_003),
        (len(BIG), len(BIG)),
        (len(BIG), 65_536),
    ],
)
async def test_what_is_put_is_read_back(blobs, size, chunk):
    await put(blobs, KEY, BIG[:size], chunk)
    assert await read(blobs, KEY) == BIG[:size]


async def test_empty_chunks_do_no_harm(blobs):
    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b"", b"a", b"", BIG[:PIECE], b"", b"z", b""):
            yield piece

    await blobs.put(KEY, chunks())
    assert await read(blobs, KEY) == b"a" + BIG[:PIECE] + b"z"


async def test_small_blob_is_one_request_each_way(blobs, requests):
    await put(blobs, KEY, BIG[:PIECE])
    assert requests == {"PUT": 1}
    await read(blobs, KEY)
    assert requests == {"PUT": 1, "GET": 1}
    await read(blobs, KEY, ByteSpan(5, 100))
    assert requests["GET"] == 2


async def test_big_blob_is_one_request_a_block_and_one_for_the_list(blobs, requests):
    await put(blobs, KEY, BIG)
    assert requests == {"PUT": 4}
    await read(blobs, KEY)
    assert requests["GET"] == 1


@pytest.mark.parametrize("size", [0, 100, PIECE + 100])
async def test_existing_key_is_not_written_again(blobs, size):
    await put(blobs, KEY, b"first")
    with pytest.raises(AlreadyStored):
        await blobs.put(KEY, in_pieces(BIG[:size], 65_536))
    assert await read(blobs, KEY) == b"first"


async def test_of_writers_at_once_one_wins_with_its_own_content(blobs):
    contents = [bytes([number]) * (PIECE + 1_000) for number in range(4)]
    outcomes = await asyncio.gather(
        *(blobs.put(KEY, in_pieces(content, 500_000)) for content in contents),
        return_exceptions=True,
    )
    (winner,) = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, Exception)]
    assert sum(isinstance(outcome, AlreadyStored) for outcome in outcomes) == 3
    assert await read(blobs, KEY) == contents[winner]


@pytest.mark.parametrize("good", [0, 1_000, PIECE + 1_000, 3 * PIECE])
async def test_what_the_iterator_raises_passes_through_and_nothing_appears(blobs, good):
    class Broken(Exception):
        pass

    async def chunks() -> AsyncIterator[bytes]:
        for offset in range(0, good, 500_000):
            yield bytes(min(500_000, good - offset))
        raise Broken

    with pytest.raises(Broken):
        await blobs.put(KEY, chunks())
    assert await blobs.info(KEY) is None
    assert await _list(blobs, "") == []
    await put(blobs, KEY, b"later")
    assert await read(blobs, KEY) == b"later"


async def test_cancelled_put_leaves_nothing(blobs):
    started = asyncio.Event()

    async def chunks() -> AsyncIterator[bytes]:
        yield bytes(PIECE + 1)
        started.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(blobs.put(KEY, chunks()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await blobs.info(KEY) is None


async def test_put_reads_no_further_than_two_blocks_ahead(blobs, monkeypatch):
    arrived = 0
    sent = 0
    furthest = 0
    send = Transport.send

    async def slow(self: Transport, request: Any, **options: Any) -> Any:
        nonlocal sent
        await asyncio.sleep(0.05)
        answer = await send(self, request, **options)
        sent += int(request.headers.get("Content-Length", 0))
        return answer

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal arrived, furthest
        for offset in range(0, 6 * PIECE, 65_536):
            arrived = offset + 65_536
            furthest = max(furthest, arrived - sent)
            yield bytes(65_536)

    monkeypatch.setattr(Transport, "send", slow)
    await blobs.put(KEY, chunks())
    assert furthest <= 2 * PIECE + 65_536


async def test_memory_of_a_transfer_does_not_grow_with_its_size(blobs):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(8 * 64):
            yield os.urandom(65_536)

    gc.collect()
    tracemalloc.start()
    try:
        await blobs.put(KEY, chunks())
        written = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        await drain(await blobs.read(KEY))
        read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert written < 4 * PIECE
    assert read < 2 * PIECE


async def test_lost_answer_of_a_write_is_no_conflict(
    no_waiting, storage, blobs, fresh_name, monkeypatch
):
    from azure.core.exceptions import ServiceResponseError

    patient = blobs
    blobs = AzureBlobs(blob_service(storage), fresh_name)
    send = Transport.send
    lost: list[str] = []

    async def lossy(self: Transport, request: Any, **options: Any) -> Any:
        answer = await send(self, request, **options)
        if request.method == "PUT" and request.url not in lost:
            lost.append(request.url)
            raise ServiceResponseError("lost")
        return answer

    monkeypatch.setattr(Transport, "send", lossy)
    for key, content in (("small", b"x"), ("big", BIG)):
        await put(blobs, key, content)
        assert await read(blobs, key) == content
    assert len(lost) == 1 + 3 + 1
    await blobs.close()
    assert await read(patient, "big") == BIG


# The rest ---------------------------------------------------------------------------------


async def test_info(blobs):
    before = datetime.now(UTC) - timedelta(seconds=5)
    await put(blobs, KEY, b"12345")
    info = await blobs.info(KEY)
    assert (info.key, info.size) == (KEY, 5)
    assert before <= info.created <= datetime.now(UTC) + timedelta(seconds=5)
    assert await blobs.info("absent") is None


async def test_delete_twice_is_no_error(blobs):
    await put(blobs, KEY, b"x")
    assert await blobs.delete(KEY) is True
    assert await blobs.delete(KEY) is False
    assert await blobs.info(KEY) is None


async def test_delete_of_what_was_written_anew_is_refused(blobs):
    await put(blobs, KEY, b"x")
    before = await blobs.info(KEY)
    await blobs.delete(KEY)
    await put(blobs, KEY, b"y")
    with pytest.raises(PreconditionFailed):
        await blobs.delete(KEY, before.etag)
    assert await read(blobs, KEY) == b"y"
    now = await blobs.info(KEY)
    assert await blobs.delete(KEY, now.etag) is True
    assert await blobs.delete(KEY, now.etag) is False


async def test_list_is_by_prefix_and_in_order(blobs):
    for key in ("b/2", "a/1", "b/10", "c", "b", "b/ü"):
        await put(blobs, key, b"x")
    assert await _list(blobs, "b") == ["b", "b/10", "b/2", "b/ü"]
    assert await _list(blobs, "b/") == ["b/10", "b/2", "b/ü"]
    assert await _list(blobs, "z") == []
    (info,) = [info async for page in blobs.pages("c") for info in page.blobs]
    assert info == await blobs.info("c")


async def test_a_listing_goes_on_at_a_page_that_it_gave(blobs):
    keys = [f"p/{number:02}" for number in range(7)]
    for key in [*keys, "q"]:
        await put(blobs, key, b"x")
    blobs.blobs_in_page = 3
    pages = [page async for page in blobs.pages("p/")]
    assert [[info.key for info in page.blobs] for page in pages] == [keys[:3], keys[3:6], keys[6:]]
    await blobs.delete(keys[3])
    await put(blobs, "p/031", b"x")
    again = [info.key async for page in blobs.pages("p/", pages[1].marker) for info in page.blobs]
    assert again == ["p/031", *keys[4:]]


@pytest.mark.parametrize("key", ["a b", "ü/😀", "a%2Fb", "a+b?c&d#e", "(1)'\"~"])
async def test_key_may_have_any_character(blobs, key):
    await put(blobs, key, b"x")
    assert await read(blobs, key) == b"x"
    assert await _list(blobs, key) == [key]
    assert await blobs.delete(key)


async def test_container_is_made_once(blob_client, fresh_name):
    await ensure_container(blob_client, fresh_name)
    await ensure_container(blob_client, fresh_name)


# Trouble ----------------------------------------------------------------------------------


async def _answering(status: int, headers: str = "") -> tuple[asyncio.Server, StorageConnection]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        head = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    return server, StorageConnection(
        connection_string="DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;"
        f"BlobEndpoint=http://127.0.0.1:{port}/a;"
    )


CALLS: dict[str, Callable[[AzureBlobs], Any]] = {
    "put": lambda blobs: blobs.put("k", in_pieces(b"x", 1)),
    "put of a big one": lambda blobs: blobs.put("k", in_pieces(BIG, PIECE)),
    "read": lambda blobs: blobs.read("k"),
    "info": lambda blobs: blobs.info("k"),
    "delete": lambda blobs: blobs.delete("k"),
    "list": lambda blobs: _list(blobs, ""),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "headers", "error", "wait"),
    [
        (503, "Retry-After: 7\r\n", Throttled, 7.0),
        (429, "x-ms-retry-after-ms: 250\r\n", Throttled, 0.25),
        (500, "", Unavailable, 5.0),
        (None, "", Unavailable, 5.0),
    ],
)
async def test_trouble_of_the_store(no_waiting, call, status, headers, error, wait):
    server, connection = await _answering(status or 500, headers)
    if status is None:
        server.close()
        await server.wait_closed()
    async with blob_service(connection) as client:
        with pytest.raises(error) as caught:
            await CALLS[call](AzureBlobs(client, "c"))
    server.close()
    assert caught.value.retry_after_s == wait

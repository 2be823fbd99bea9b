"""Reading through the ``Blobs`` port on Azurite: spans, streams that break or are given up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.adapters.azure.clients import PIECE
from shared.adapters.azure.transport import Transport
from shared.errors import BlobNotFound, RangeNotSatisfiable, Unavailable
from shared.ports import ByteSpan
from shared.resilience import Patience
from shared.retrieve.content import close
from tests.support.blobs import BIG, KEY, drain, put, read


@pytest.mark.parametrize(
    ("offset", "length"),
    [
        (0, 1),
        (5, 10),
        (0, PIECE),
        (1, PIECE),
        (PIECE - 1, 2),
        (PIECE, PIECE + 1),
        (100, len(BIG) - 100),
        (len(BIG) - 1, 1),
        (len(BIG) - 1, 10 * PIECE),
        (3, 10 * PIECE),
    ],
)
async def test_span(blobs, offset, length):
    await put(blobs, KEY, BIG, PIECE)
    assert await read(blobs, KEY, ByteSpan(offset, length)) == BIG[offset : offset + length]


@pytest.mark.parametrize("size", [0, 10])
async def test_span_that_begins_past_the_end(blobs, size):
    await put(blobs, KEY, BIG[:size])
    for offset in (size, size + 1, 10 * PIECE):
        with pytest.raises(RangeNotSatisfiable) as caught:
            await blobs.read(KEY, ByteSpan(offset, 5))
        assert caught.value.size == size


async def test_pieces_are_at_most_four_mebibytes(blobs):
    await put(blobs, KEY, BIG, PIECE)
    sizes = [len(piece) async for piece in await blobs.read(KEY)]
    assert max(sizes) <= PIECE
    assert sum(sizes) == len(BIG)


async def test_absent_blob_is_known_before_the_first_byte(blobs):
    for span in (None, ByteSpan(5, 5)):
        with pytest.raises(BlobNotFound):
            await blobs.read("absent", span)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The answers of the store to ``GET``, as aiohttp holds them."""
    answers: list[Any] = []
    send = Transport.send

    async def noting(self: Transport, request: Any, **options: Any) -> Any:
        answer = await send(self, request, **options)
        if request.method == "GET":
            answers.append(answer)
        return answer

    monkeypatch.setattr(Transport, "send", noting)
    return answers


@pytest.mark.parametrize("pieces", [0, 1, 2])
async def test_reading_that_is_given_up_releases_its_connection(blobs, connections, pieces):
    await put(blobs, KEY, BIG, PIECE)
    reading = await blobs.read(KEY)
    for _ in range(pieces):
        await anext(reading)
    await close(reading)  # as retrieval does: it asks whether there is something to close
    (answer,) = connections
    assert answer.is_closed
    assert await read(blobs, KEY) == BIG


async def test_reading_to_the_end_keeps_the_connection_for_the_next(blobs, connections):
    await put(blobs, KEY, b"x" * 1_000)
    for _ in range(3):
        await read(blobs, KEY)
    assert all(answer.is_closed for answer in connections)


async def test_first_piece_comes_before_the_last_is_read(blobs):
    await put(blobs, KEY, BIG, PIECE)
    reading = await blobs.read(KEY)
    first = await anext(reading)
    assert 0 < len(first) < len(BIG)
    assert first + b"".join([piece async for piece in reading]) == BIG


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many of the answers from here on break off after their first piece."""
    from azure.core.exceptions import IncompleteReadError
    from azure.core.rest._aiohttp import RestAioHttpTransportResponse

    left = [0]
    whole = RestAioHttpTransportResponse.iter_raw

    async def broken(self: Any, **options: Any) -> AsyncIterator[bytes]:
        async for piece in whole(self, **options):
            yield piece
            if left[0]:
                left[0] -= 1
                raise IncompleteReadError("broken off")

    monkeypatch.setattr(RestAioHttpTransportResponse, "iter_raw", broken)
    return left


async def test_stream_that_breaks_goes_on_where_it_was(blobs, breaking, requests):
    await put(blobs, KEY, BIG, PIECE)
    breaking[0] = Patience().tries - 1
    assert await read(blobs, KEY, ByteSpan(10, len(BIG) - 20)) == BIG[10:-10]
    assert requests["GET"] == Patience().tries


async def test_stream_that_breaks_again_and_again_is_unavailable(blobs, breaking):
    await put(blobs, KEY, BIG, PIECE)
    breaking[0] = Patience().tries
    with pytest.raises(Unavailable):
        await read(blobs, KEY)


@pytest.mark.parametrize("again", [False, True])
async def test_blob_that_is_gone_or_another_is_not_mixed_in(blobs, breaking, again):
    await put(blobs, KEY, BIG, PIECE)
    reading = await blobs.read(KEY)
    await anext(reading)
    await blobs.delete(KEY)
    if again:
        await put(blobs, KEY, bytes(len(BIG)), PIECE)
    breaking[0] = 1
    with pytest.raises(BlobNotFound):
        await drain(reading)

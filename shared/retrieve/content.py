"""Bytes of stored files: whole files one after the other, and ranges of one."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable

from shared.dicom.part10 import Inflater
from shared.errors import BlobNotFound, CorruptData, NotDicom
from shared.ports import Blobs, ByteSpan

_AHEAD = 3
_META_HEAD = 144  # preamble, prefix, and the element that tells the length of the rest


async def one_after_the_other(
    blobs: Blobs, requests: Iterable[tuple[str, ByteSpan | None]]
) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """Open blobs, or ranges of them, in order, a few ahead of the one being read.

    Yields
    ------
    AsyncIterator[bytes]
        The content; to be read before the next is asked for.
    """
    waiting = iter(requests)
    opened: deque[asyncio.Task[AsyncIterator[bytes]]] = deque()

    def open_next() -> None:
        request = next(waiting, None)
        if request is not None:
            opened.append(asyncio.create_task(_open(blobs, *request)))

    try:
        for _ in range(_AHEAD):
            open_next()
        while opened:
            content = await opened[0]
            opened.popleft()
            open_next()
            try:
                yield content
            finally:
                await close(content)
    finally:
        for task in opened:
            task.cancel()
        for outcome in await asyncio.gather(*opened, return_exceptions=True):
            if not isinstance(outcome, BaseException):
                await close(outcome)


async def _open(blobs: Blobs, key: str, span: ByteSpan | None) -> AsyncIterator[bytes]:
    try:
        return await blobs.read(key, span)
    except BlobNotFound as error:
        raise CorruptData("A file that the index names is not there.") from error


async def close(content: AsyncIterator[bytes]) -> None:
    """End a reading, so that its connection is free; also one that has not begun."""
    if isinstance(content, AsyncGenerator):
        await content.aclose()


async def read_span(blobs: Blobs, key: str, span: ByteSpan) -> bytes:
    """All bytes of a span at once.

    Raises
    ------
    CorruptData
        The blob is not there or too short.
    """
    content = await _open(blobs, key, span)
    data = b"".join([piece async for piece in content])
    if len(data) != span.length:
        raise CorruptData("A file is shorter than its index says.")
    return data


async def inflated(blobs: Blobs, key: str, span: ByteSpan) -> AsyncIterator[bytes]:
    """A span of the inflated data set of a deflated file (PS3.5 A.5), read from its beginning."""
    head = await read_span(blobs, key, ByteSpan(0, _META_HEAD))
    if head[132:136] != b"\x02\x00\x00\x00":
        raise CorruptData("The file meta information has no group length.")
    start = _META_HEAD + int.from_bytes(head[140:144], "little")
    at = 0
    content = await _open(blobs, key, ByteSpan(start, 2**62))
    try:
        async for data in inflating(content):
            wanted = data[max(span.offset - at, 0) : max(span.end - at, 0)]
            at += len(data)
            if wanted:
                yield wanted
            if at >= span.end:
                return
    finally:
        await close(content)
    raise CorruptData("A file is shorter than its index says.")


async def inflating(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A deflated data set, inflated.

    Raises
    ------
    CorruptData
        It cannot be inflated.
    """
    inflater = Inflater(sys.maxsize)
    try:
        async for piece in content:
            for data in inflater.inflate(piece):
                yield data
            if inflater.is_complete:
                return
    except NotDicom as error:
        raise CorruptData("A deflated data set cannot be inflated.") from error

"""Content through the ``Blobs`` port."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.clients import PIECE
from shared.ports import ByteSpan

KEY = "instances/Microsoft.Default/1.2/1.2.3/1.2.3.4/0000000000000000001.dcm"
BIG = os.urandom(2 * PIECE + 12_345)


async def in_pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for offset in range(0, len(content), size):
        yield content[offset : offset + size]


async def put(blobs: AzureBlobs, key: str, content: bytes, size: int = 64 * 1024) -> None:
    stored = await blobs.put(key, in_pieces(content, size))
    assert (stored.size, stored.sha256) == (len(content), hashlib.sha256(content).digest())


async def read(blobs: AzureBlobs, key: str, span: ByteSpan | None = None) -> bytes:
    return b"".join([piece async for piece in await blobs.read(key, span)])


async def drain(reading: AsyncIterator[bytes]) -> None:
    async for _ in reading:
        await asyncio.sleep(0)

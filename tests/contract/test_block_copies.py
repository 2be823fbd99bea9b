"""Blocks that the blob service copies itself. Azurite cannot: it stands in with what it can."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob.aio import BlobClient

from shared.adapters.azure.blobs import AzureBlobs, ensure_container
from shared.adapters.azure.clients import PIECE
from shared.adapters.azure.destinations import AzureLinks
from shared.ports import SameBytes, StoredBlob

_OLD, _NEW = "instances/p ä/1/2/3/1.dcm", "instances/p ä/1/2/3/2.dcm"
_HEAD, _SHIFT = os.urandom(3_000), 1_234
_BODY = os.urandom(3 * PIECE + 777)
_STAGE = BlobClient.stage_block


@pytest.fixture
async def blobs(blob_client: Any, fresh_name: str) -> AzureBlobs:
    """A container with one large blob, and links to it."""
    await ensure_container(blob_client, fresh_name)
    blobs = AzureBlobs(blob_client, fresh_name, AzureLinks(blob_client, fresh_name).link)
    await blobs.put(_OLD, _pieces(_HEAD[:-_SHIFT] + _BODY))
    return blobs


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 1_000_000):
        yield data[at : at + 1_000_000]


async def _updated(blobs: AzureBlobs) -> StoredBlob:
    """A new blob of which all but the beginning is in the old one, as is told on the way."""
    same = SameBytes(_OLD)

    async def pieces() -> AsyncIterator[bytes]:
        yield _HEAD
        same.start, same.source = len(_HEAD), len(_HEAD) - _SHIFT
        async for piece in _pieces(_BODY):
            yield piece

    return await blobs.put(_NEW, pieces(), {"original": "1"}, same)


async def _check(blobs: AzureBlobs, stored: StoredBlob) -> None:
    content = b"".join([piece async for piece in await blobs.read(_NEW)])
    assert content == _HEAD + _BODY
    assert stored == StoredBlob(len(content), hashlib.sha256(content).digest())
    found = await blobs.info(_NEW)
    assert found is not None
    assert found.marks == {"original": "1"}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the blocks that are sent."""
    sizes: list[int] = []

    async def counting(self: BlobClient, name: str, data: bytes, **options: Any) -> Any:
        sizes.append(len(data))
        return await _STAGE(self, name, data, **options)

    monkeypatch.setattr(BlobClient, "stage_block", counting)
    return sizes


async def test_where_the_service_cannot_copy_all_is_sent(
    blobs: AzureBlobs, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    copy = BlobClient.stage_block_from_url

    async def counting(*arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return await copy(*arguments, **options)

    monkeypatch.setattr(BlobClient, "stage_block_from_url", counting)
    await _check(blobs, await _updated(blobs))
    assert sum(sent) == len(_HEAD) + len(_BODY)
    before = asked
    assert before in (1, 2), "two blocks are under way at once"
    await blobs.delete(_NEW)
    await _check(blobs, await _updated(blobs))
    assert asked == before, "it has been told once"


def _copying(monkeypatch: pytest.MonkeyPatch, fails: int | None = None, status: int = 403) -> None:
    """Let the service copy, by the link that it is given; the block number ``fails`` it refuses."""
    asked = 0

    async def copy(
        self: BlobClient,
        name: str,
        url: str,
        source_offset: int,
        source_length: int,
        source_content_md5: bytearray,
    ) -> None:
        nonlocal asked
        asked += 1
        if asked == fails:
            error = HttpResponseError("refused")
            error.status_code = status
            raise error
        async with BlobClient.from_blob_url(url) as source:
            download = await source.download_blob(source_offset, source_length)
            data = await download.readall()
        assert hashlib.md5(data, usedforsecurity=False).digest() == bytes(source_content_md5)
        await _STAGE(self, name, data)

    monkeypatch.setattr(BlobClient, "stage_block_from_url", copy)


async def test_only_what_differs_is_sent(
    blobs: AzureBlobs, monkeypatch: pytest.MonkeyPatch, sent: list[int]
) -> None:
    _copying(monkeypatch)
    stored = await _updated(blobs)
    await _check(blobs, stored)
    assert sent == [PIECE], "the block with the beginning"


@pytest.mark.parametrize("status", [403, 503])
async def test_a_block_that_is_refused_is_sent(
    blobs: AzureBlobs, monkeypatch: pytest.MonkeyPatch, sent: list[int], status: int
) -> None:
    _copying(monkeypatch, fails=2, status=status)
    await _check(blobs, await _updated(blobs))
    assert sent.count(PIECE) == 2
    assert len(sent) == 2 or status == 403  # then the last one is sent as well, if not under way


async def test_without_links_all_is_sent(
    blob_client: Any, fresh_name: str, sent: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def none(_key: str) -> None:
        return None

    _copying(monkeypatch)
    await ensure_container(blob_client, fresh_name)
    blobs = AzureBlobs(blob_client, fresh_name, none)
    await _check(blobs, await _updated(blobs))
    assert len(sent) == 4

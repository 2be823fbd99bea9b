"""Blocks of a new blob that the service copies from another one itself (Put Block From URL)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from shared.ports import SameBytes

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient

_log = logging.getLogger("dicom.blobs")


class BlockCopies:
    """Copies of blocks within one container, as long as the service makes them.

    Whoever asks has the bytes, and sends them where the service does not copy: Azurite cannot, an
    account may forbid it. A copy is of the very bytes, or none: the service compares their MD5.

    Parameters
    ----------
    link : Callable[[str], Awaitable[str | None]]
        A link by which the service may read one blob; ``None`` where there are none.
    """

    def __init__(self, link: Callable[[str], Awaitable[str | None]]) -> None:
        self._link = link
        self._refused = False

    async def stage(
        self, blob: BlobClient, name: str, block: bytes, at: int, same: SameBytes
    ) -> bool:
        """Stage ``block``, which begins at ``at`` of the new blob; whether that was done."""
        from azure.core.exceptions import AzureError, HttpResponseError

        offset = same.offset(at)
        if offset is None or self._refused:
            return False
        url = await self._link(same.key)
        if url is None:
            return False
        md5 = await asyncio.to_thread(_md5, block)
        try:
            await blob.stage_block_from_url(
                name,
                url,
                source_offset=offset,
                source_length=len(block),
                source_content_md5=bytearray(md5),
            )
        except AzureError as error:
            status = error.status_code if isinstance(error, HttpResponseError) else None
            if status is not None and (
                status < HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.NOT_IMPLEMENTED
            ):
                self._refused = True
                _log.info("blocks are sent, not copied", extra={"status": status})
            return False
        return True


def _md5(block: bytes) -> bytes:
    return hashlib.md5(block, usedforsecurity=False).digest()

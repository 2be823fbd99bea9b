"""The ``Blobs`` port on Azure Blob Storage."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.blob_reader import BlobReader
from shared.adapters.azure.block_copies import BlockCopies
from shared.adapters.azure.clients import PIECE
from shared.adapters.azure.failures import translated
from shared.errors import AlreadyStored, PreconditionFailed
from shared.ports import BlobInfo, BlobPage, ByteSpan, SameBytes, StoredBlob

if TYPE_CHECKING:
    from azure.storage.blob.aio import BlobClient, BlobServiceClient

_RANGE_NOT_SATISFIABLE = 416
_HASHED_INLINE = 256 * 1024
_SMALL = 16 * 1024
_WRITER = "writer"
_MOST_IN_PAGE = 5000


class AzureBlobs:
    """Blobs of one tenant: one container.

    Parameters
    ----------
    service : BlobServiceClient
        A client of ``clients.blob_service``; ``close`` closes it.
    container : str
        Name of the container.
    link : Callable[[str], Awaitable[str | None]], optional
        A link by which the service may read one of these blobs, to copy of it.
    """

    def __init__(
        self,
        service: BlobServiceClient,
        container: str,
        link: Callable[[str], Awaitable[str | None]] | None = None,
    ) -> None:
        self._service = service
        self._copies = None if link is None else BlockCopies(link)
        self._container = service.get_container_client(container)
        self.blobs_in_page = _MOST_IN_PAGE
        self._reader = BlobReader(service, container)

    async def put(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        marks: Mapping[str, str] | None = None,
        same: SameBytes | None = None,
    ) -> StoredBlob:
        """Write a new blob by streaming, with marks as its metadata. See ``Blobs.put``."""
        upload = _Upload(self._container.get_blob_client(key), marks or {}, same, self._copies)
        blocks = _blocks(chunks)
        try:
            async for block, is_last in blocks:
                await (upload.finish(block) if is_last else upload.stage(block))
        finally:
            await upload.abandon()
            await blocks.aclose()
        return StoredBlob(upload.size, upload.digest.digest())

    async def read(self, key: str, span: ByteSpan | None = None) -> AsyncIterator[bytes]:
        """Begin to read. See ``Blobs.read``."""
        return await self._reader.read(key, span)

    async def info(self, key: str) -> BlobInfo | None:
        """Size and creation time of a blob, or ``None``."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            with translated():
                found = await self._container.get_blob_client(key).get_blob_properties()
        except ResourceNotFoundError:
            return None
        return _info(found)

    async def delete(self, key: str, etag: str | None = None) -> bool:
        """Remove a blob, if it still has that ETag; ``False`` if it was not there."""
        from azure.core import MatchConditions
        from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

        condition: dict[str, Any] = {}
        if etag is not None:
            condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        try:
            with translated():
                await self._container.get_blob_client(key).delete_blob(**condition)
        except ResourceNotFoundError:
            return False
        except ResourceModifiedError as error:
            if await self.info(key) is None:
                return False  # Azurite answers so for an absent one, too
            raise PreconditionFailed("The blob was written anew.") from error
        return True

    async def pages(self, prefix: str, marker: str = "") -> AsyncIterator[BlobPage]:
        """See ``Blobs.pages``."""
        listing = self._container.list_blobs(
            name_starts_with=prefix, results_per_page=self.blobs_in_page
        )
        with translated():
            pages = listing.by_page(continuation_token=marker or None)
            async for page in pages:
                yield BlobPage(marker, [_info(found) async for found in page])
                marker = pages.continuation_token or ""  # type: ignore[attr-defined]

    async def close(self) -> None:
        """Close the client."""
        await self._service.close()


async def ensure_container(service: BlobServiceClient, name: str) -> None:
    """Make a container if it is not there. In Azure they are made by the deployment."""
    from azure.core.exceptions import ResourceExistsError

    try:
        with translated():
            await service.create_container(name)
    except ResourceExistsError:
        return


def _info(properties: Any) -> BlobInfo:
    # listings leave the quotation marks out, which a condition has to have
    etag = f'"{str(properties.etag).strip(chr(34))}"'
    marks = {name: text for name, text in (properties.metadata or {}).items() if name != _WRITER}
    return BlobInfo(properties.name, properties.size, properties.creation_time, etag, marks)


# Write ------------------------------------------------------------------------------------


async def _blocks(chunks: AsyncIterator[bytes]) -> AsyncGenerator[tuple[bytes, bool], None]:
    """The content in blocks of ``PIECE`` bytes, and whether a block is the last.

    That one may be shorter; it is empty only if there is no content.
    """
    parts: list[bytes | bytearray | memoryview] = []
    held = 0
    async for chunk in chunks:
        view = memoryview(chunk)
        while held + len(view) > PIECE:
            parts.append(view[: PIECE - held])
            view = view[PIECE - held :]
            block = b"".join(parts)
            parts, held = [], 0
            yield block, False
            del block
        held += len(view)
        if len(view) >= _SMALL:
            parts.append(view)
        elif parts and isinstance(parts[-1], bytearray):
            parts[-1] += view
        else:
            parts.append(bytearray(view))
    yield bytes(parts[0]) if len(parts) == 1 else b"".join(parts), True


class _Upload:
    """One blob being written, with at most two blocks under way."""

    def __init__(
        self,
        blob: BlobClient,
        marks: Mapping[str, str],
        same: SameBytes | None,
        copies: BlockCopies | None,
    ) -> None:
        self._blob = blob
        self._same = same
        self._copies = copies
        self._writer = secrets.token_hex(8)
        self._metadata = {**marks, _WRITER: self._writer}
        self._blocks: list[str] = []
        self._under_way: list[asyncio.Task[None]] = []
        self.size = 0
        self.digest = hashlib.sha256()

    async def stage(self, block: bytes) -> None:
        """Begin to send a block that is not the last; return when another may be gathered."""
        # unique to this writer: another one under the same key must not mix in
        name = f"{self._writer}-{len(self._blocks):06}"
        self._blocks.append(name)
        self._under_way.append(asyncio.create_task(self._send(name, block, self.size)))
        await self._hash(block)
        if len(self._under_way) > 1:
            await self._under_way[0]
            del self._under_way[0]

    async def finish(self, block: bytes) -> None:
        """Send the last block, and make the blob appear."""
        from azure.core.exceptions import ResourceExistsError

        try:
            if self._blocks:
                await self._finish_list(block)
            else:
                sending = asyncio.create_task(self._send_whole(block))
                self._under_way.append(sending)
                await self._hash(block)
                await sending
        except ResourceExistsError as error:
            writer = await self._writer_of_what_is_there()
            if writer is None and not self._blocks:
                # Azurite takes blocks that a writer left behind for a blob; a list replaces them
                self._start_again()
                await self._finish_list(block)
            elif writer != self._writer:
                raise AlreadyStored("the key exists") from error

    async def abandon(self) -> None:
        """Stop what is under way. Blocks without a list vanish by themselves."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self._under_way = []

    def _start_again(self) -> None:
        self._under_way, self.size, self.digest = [], 0, hashlib.sha256()

    async def _finish_list(self, block: bytes) -> None:
        await self.stage(block)
        while self._under_way:
            await self._under_way.pop(0)
        await self._commit()

    async def _send(self, name: str, block: bytes, at: int) -> None:
        """Stage a block, which begins at ``at``."""
        same, copies = self._same, self._copies
        if same and copies and await copies.stage(self._blob, name, block, at, same):
            return
        with translated():
            await self._blob.stage_block(name, block, length=len(block))

    async def _send_whole(self, block: bytes) -> None:
        with translated():
            await self._blob.upload_blob(
                block, length=len(block), overwrite=False, metadata=self._metadata
            )

    async def _commit(self) -> None:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        with translated():
            await self._blob.commit_block_list(
                [BlobBlock(name) for name in self._blocks],
                metadata=self._metadata,
                match_condition=MatchConditions.IfMissing,
            )

    async def _hash(self, block: bytes) -> None:
        self.size += len(block)
        if len(block) > _HASHED_INLINE:
            await asyncio.to_thread(self.digest.update, block)
        else:
            self.digest.update(block)

    async def _writer_of_what_is_there(self) -> str | None:
        """Who wrote the blob that is there, ``None`` if none is.

        It may be this writer: the SDK repeats a write whose answer is lost.
        """
        from azure.core.exceptions import ResourceNotFoundError

        try:
            with translated():
                found = await self._blob.get_blob_properties()
        except ResourceNotFoundError:
            return None
        return str((found.metadata or {}).get(_WRITER, ""))

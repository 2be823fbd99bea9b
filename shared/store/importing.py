"""Take in files that were dropped under ``import/`` (spec operations.md §5, architecture §6).

A file is stored by the rules of a version 2 store, and then leaves the drop zone. One that is
refused moves to ``import-errors/{its path}/{digest}``, beside a ``.json`` that says why. Events may
come twice, late, or after the process died at any write: the name of an error is made from the
content, and a file that is stored already, byte for byte, counts as taken in.

Files below ``import/partitions/{partition}/`` go to that data partition, all others to the default
one. A name that is written again before its file has left is not removed: it has another event.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import AsyncIterator
from enum import Enum

from shared.errors import (
    AlreadyStored,
    BadRequest,
    BlobNotFound,
    DoesNotFit,
    PreconditionFailed,
    RequestTooSlow,
)
from shared.index import shapes
from shared.index.documents import iso
from shared.index.partitions import Partitions
from shared.index.schema import INDEX
from shared.index.shapes import DEFAULT_PARTITION
from shared.ports import Blobs, Clock, Documents
from shared.store.intake import Destination, key_of
from shared.store.models import ALREADY_STORED, Refused
from shared.store.service import StoreService

IMPORT = "import/"
IMPORT_ERRORS = "import-errors/"
_PARTITIONS = "partitions/"
_MAJOR = 2

_log = logging.getLogger("dicom.import")


class Imported(Enum):
    """What an event of a dropped file came to."""

    NOT_OURS = "not in the drop zone"
    GONE = "taken in before"
    STORED = "stored"
    REFUSED = "moved to the errors"
    WRITTEN_ANEW = "written anew meanwhile: that has an event of its own"


class Importer:
    """Takes in dropped files of one tenant."""

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        store: StoreService,
        partitions: Partitions,
        *,
        clock: Clock,
        tenant_url: str,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._store = store
        self._partitions = partitions
        self._clock = clock
        self._tenant_url = tenant_url

    async def take_in(self, blob: str) -> Imported:
        """Take in one file. Running it twice, or at the same time, ends in the same state."""
        if not blob.startswith(IMPORT):
            return Imported.NOT_OURS
        found = await self._blobs.info(blob)
        if found is None:
            return Imported.GONE
        digest = hashlib.sha256()
        try:
            failure = await self._stored(blob, digest)
            if failure is not None:
                await self._move_to_errors(blob, digest.hexdigest(), failure)
            await self._blobs.delete(blob, found.etag)
        except BlobNotFound:
            return Imported.GONE
        except PreconditionFailed:
            return Imported.WRITTEN_ANEW
        if failure is not None:
            _log.warning("a dropped file is refused", extra={"reason": failure[0]})
        return Imported.STORED if failure is None else Imported.REFUSED

    async def _stored(self, blob: str, digest: hashlib._Hash) -> tuple[int | None, str] | None:
        """Store the file; reason and text if it is refused. ``digest`` is fed all of it."""
        content = await self._blobs.read(blob)
        read = _digesting(content, digest)
        try:
            destination = await self._destination(blob)
            result = await self._store.store(_one(read), destination)
        except RequestTooSlow:
            raise
        except (BadRequest, DoesNotFit) as error:
            refused: Refused | None = None
            text = str(error)
        else:
            row = result.rows[0]
            if not isinstance(row, Refused):
                return None
            refused, text = row, " ".join(row.comments or ["The file is refused."])
        async for _ in read:
            pass  # the digest is of the whole file, however early it was refused
        if refused is not None and refused.reason == ALREADY_STORED:
            if await self._is_same(refused, destination.partition, digest.hexdigest()):
                return None
            text = "The instance is stored already, with another content."
        return (refused.reason if refused else None), text

    async def _destination(self, blob: str) -> Destination:
        path = blob.removeprefix(IMPORT)
        if not path.startswith(_PARTITIONS):
            return Destination(DEFAULT_PARTITION, None, _MAJOR, f"{self._tenant_url}/v2")
        name = path.removeprefix(_PARTITIONS).partition("/")[0]
        partition = await self._partitions.resolve(name, create=True)
        url = f"{self._tenant_url}/v2"
        if partition.name != DEFAULT_PARTITION:
            url += f"/partitions/{partition.name}"
        return Destination(partition.name, None, _MAJOR, url)

    async def _is_same(self, refused: Refused, partition: str, digest: str) -> bool:
        if refused.identifiers is None:
            return False
        key = key_of(refused.identifiers, partition)
        found = await self._documents.get(INDEX.name, key.pk, key.document_id)
        if found is None:
            return False
        # an updated instance has the file that was stored beside its own
        return any(file.get("sha256") == digest for file in shapes.files_of(found.body))

    async def _move_to_errors(
        self, blob: str, digest: str, failure: tuple[int | None, str]
    ) -> None:
        """The file first, then why: whoever sees the reason finds the file."""
        path = blob.removeprefix(IMPORT)
        target = f"{IMPORT_ERRORS}{path}/{digest[:16]}"
        report = {
            "path": blob,
            "file": target,
            "reason": failure[0],
            "error": failure[1],
            "time": iso(self._clock.now()),
        }
        with contextlib.suppress(AlreadyStored):
            await self._blobs.put(target, await self._blobs.read(blob))
        with contextlib.suppress(AlreadyStored):
            await self._blobs.put(f"{target}.json", _bytes(json.dumps(report).encode()))


async def _digesting(content: AsyncIterator[bytes], digest: hashlib._Hash) -> AsyncIterator[bytes]:
    async for piece in content:
        digest.update(piece)
        yield piece


async def _one(content: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    yield content


async def _bytes(data: bytes) -> AsyncIterator[bytes]:
    yield data

"""Complete a commit whose process died after the file was written (architecture §6).

Every file of a tenant comes by here, as an event of the blob store. Nearly always the index has
it already. Where nothing names it, and it is too old to belong to a request that still runs, it
is taken into the index as a store would have done; or removed, if it lost to another version or
breaks the rules.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from enum import Enum

from shared.config import Limits
from shared.dicom.attributes import INDEXED_ATTRIBUTES, VALIDATED
from shared.dicom.instance import InstanceFacts
from shared.dicom.reader import InstanceReader
from shared.dicom.validation import StoreValidation, Verdict
from shared.errors import BlobNotFound, InstanceRefused
from shared.index import shapes
from shared.index.commit import Outcome
from shared.index.removal import Remover
from shared.index.schema import INDEX
from shared.index.shapes import InstanceKey, parse_blob_key
from shared.ports import Blobs, Clock, Documents, Ids, JsonObject, Queue, StoredBlob, time_of
from shared.store.intake import Received, bulk_data_uri, key_of
from shared.store.segments import place
from shared.store.service import StoreService
from shared.tags.models import NO_TAGS, TagList
from shared.where import And, In, Member

COMPLETE_QUEUE = "complete"
_MAJOR = 2
_GATHERING_S = 0.1
_MOST_IN_A_MESSAGE = 100  # 48 KiB a message, and a key has at most about 330 characters

_log = logging.getLogger("dicom.store")


class Completion(Enum):
    """What an event of a file came to."""

    NOT_OURS = "no file of an instance"
    GONE = "the file is gone"
    INDEXED = "the index has it"
    DELETED = "it was deleted, and stays until its retention time is over"
    PREPARED = "a bulk update is about to put it in the place of an older version"
    TOO_YOUNG = "it may belong to a request that still runs: looked at again later"
    COMPLETED = "taken into the index"
    REMOVED = "removed: it lost, or breaks the rules"


_OF_TYPE = {shapes.TOMBSTONE: Completion.DELETED, shapes.PREPARED: Completion.PREPARED}
"""What the files are that documents of these types name."""


class Completer:
    """Completes commits of one tenant."""

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        store: StoreService,
        remover: Remover,
        *,
        queue: Queue,
        ids: Ids,
        clock: Clock,
        limits: Limits,
        tenant: str,
        tenant_url: str,
        grace: timedelta,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._store = store
        self._remover = remover
        self._queue = queue
        self._ids = ids
        self._clock = clock
        self._limits = limits
        self._tenant = tenant
        self._tenant_url = tenant_url
        self._grace = grace
        self._waiting: list[str] | None = None
        self._sending: asyncio.Task[None] | None = None

    async def complete(self, blob: str) -> Completion:
        """Look at one file. Running it twice, or at the same time, ends in the same state."""
        parsed = parse_blob_key(blob)
        if parsed is None:
            return Completion.NOT_OURS
        key, version = parsed
        settled = await self._settled(key, version)
        if settled is not None:
            return settled
        if self._clock.now() - time_of(version) < self._grace:
            await self._look_again(blob)
            return Completion.TOO_YOUNG
        info = await self._blobs.info(blob)
        if info is None:
            return Completion.GONE
        return await self._take_in(blob, key, version, info.marks.get(shapes.ORIGINAL))

    async def _look_again(self, blob: str) -> None:
        """Ask for another look when the grace is over; returns when the message is queued.

        Files that come at about the same time, as those of one request do, share a message.
        """
        if self._waiting is None:
            self._waiting = []
            self._sending = asyncio.create_task(self._send_waiting(self._waiting))
        sending = self._sending
        self._waiting.append(blob)
        if len(self._waiting) >= _MOST_IN_A_MESSAGE:
            self._waiting = None
        if sending is not None:
            await asyncio.shield(sending)

    async def _send_waiting(self, waiting: list[str]) -> None:
        await asyncio.sleep(_GATHERING_S)
        if self._waiting is waiting:
            self._waiting = None
        message = {"tenant": self._tenant, "blobs": waiting}
        delay = self._grace.total_seconds() + 1
        await self._queue.send(COMPLETE_QUEUE, message, delay_s=delay)

    async def _settled(self, key: InstanceKey, version: str) -> Completion | None:
        """Whether the index knows of this version: as stored, or as deleted."""
        found = await self._documents.get(INDEX.name, key.pk, key.document_id)
        if found is not None and version in shapes.versions_of(found.body):
            return Completion.INDEXED
        spoken_for = await self._documents.query(
            INDEX.name,
            And((In(("type",), tuple(_OF_TYPE)), Member(("versions",), version))),
            limit=1,
            partition=key.pk,
            members=["type"],
        )
        return _OF_TYPE[spoken_for[0]["type"]] if spoken_for else None

    async def _take_in(
        self, blob: str, key: InstanceKey, version: str, original: str | None
    ) -> Completion:
        resources_url = self._resources_url(key.partition)
        try:
            received = await read_back(
                self._blobs,
                key,
                version,
                resources_url,
                limits=self._limits,
                tags=await self._store.tags(),
            )
        except BlobNotFound:
            return Completion.GONE
        except InstanceRefused as refused:
            _log.warning("orphaned file refused", extra={"cause": str(refused)})
            await self._blobs.delete(blob)
            return Completion.REMOVED
        remembered = await self._original(key, original, resources_url)
        outcome = (await self._store.commit([received], resources_url, remembered=remembered))[0]
        if isinstance(outcome, Exception):
            raise outcome
        if outcome is Outcome.ALREADY_STORED:
            return Completion.REMOVED
        if await self._blobs.info(blob) is None:
            # its request gave up and removed the file while we were at it
            await self._remover.remove(key.partition, key.study, key.series, key.instance)
            return Completion.GONE
        return Completion.COMPLETED

    async def _original(
        self, key: InstanceKey, version: str | None, resources_url: str
    ) -> JsonObject:
        """How an updated instance remembers its original, if that is still there."""
        if version is None:
            return {}
        try:
            received = await read_back(
                self._blobs, key, version, resources_url, limits=self._limits
            )
        except (BlobNotFound, InstanceRefused):
            return {}
        (new,), _ = await place([received], resources_url, blobs=self._blobs, ids=self._ids)
        return shapes.original_of({"version": version, **new.details})

    def _resources_url(self, partition: str) -> str:
        if partition == shapes.DEFAULT_PARTITION:
            return f"{self._tenant_url}/v2"
        return f"{self._tenant_url}/v2/partitions/{partition}"


async def read_back(
    blobs: Blobs,
    key: InstanceKey,
    version: str,
    resources_url: str,
    *,
    limits: Limits,
    tags: TagList = NO_TAGS,
) -> Received:
    """A file that is there already, read as a store would have read it.

    Raises
    ------
    BlobNotFound
        It is not there.
    InstanceRefused
        It breaks the rules of a store, or is not the instance that its name says.
    """
    reading = Reading(key, version, resources_url, limits, tags)
    digest = hashlib.sha256()
    content: AsyncIterator[bytes] = await blobs.read(key.blob(version))
    async for piece in content:
        reading.feed(piece)
        digest.update(piece)
    facts, verdict = reading.finish()
    stored = StoredBlob(facts.size, digest.digest())
    return Received(key, version, facts, verdict, stored, tags)


class Reading:
    """Reads a file that is to be a version of an instance, by the rules of a store."""

    def __init__(
        self,
        key: InstanceKey,
        version: str,
        resources_url: str,
        limits: Limits,
        tags: TagList = NO_TAGS,
    ) -> None:
        self._key = key
        self.version = version
        self._checker = StoreValidation(_MAJOR, {**VALIDATED, **tags.checked})
        self._reader = InstanceReader(
            limits=limits,
            wanted=INDEXED_ATTRIBUTES | tags.wanted,
            checker=self._checker,
            bulk_data_uri=bulk_data_uri(resources_url),
        )

    def feed(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._reader.feed(piece)

    def finish(self) -> tuple[InstanceFacts, Verdict]:
        """What was read.

        Raises
        ------
        InstanceRefused
            It breaks the rules of a store, or is not that instance.
        """
        facts = self._reader.finish()
        verdict = self._checker.finish(facts.identifiers, None)
        if verdict.failure is not None:
            raise InstanceRefused(verdict.failure, "the instance breaks the rules of a store")
        if key_of(facts.identifiers, self._key.partition) != self._key:
            raise InstanceRefused(0xA900, "the file is not the instance that its name says")
        return facts, verdict

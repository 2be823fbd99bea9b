"""The use cases of one tenant on ports that can be told to fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.adapters.system import RandomIds
from shared.config import Limits
from shared.delete.expiry import ExpiryService
from shared.delete.restore import RestoreService
from shared.delete.service import DeleteService
from shared.index.commit import Committer
from shared.index.compaction import CompactionRequests, Compactor
from shared.index.partitions import Partitions
from shared.index.removal import Remover
from shared.index.replacement import Replacer
from shared.retrieve.service import RetrieveService
from shared.store.complete import Completer
from shared.store.intake import Destination
from shared.store.models import StoreResult
from shared.store.service import StoreService
from tests.support.fakes import FixedClock, MemoryBlobs, MemoryQueue, TroubledDocuments

URL = "http://host/main/v2"


@dataclass
class Tenant:
    """What a test drives, and what it looks at."""

    documents: TroubledDocuments
    blobs: MemoryBlobs
    queue: MemoryQueue
    clock: FixedClock
    store_service: StoreService
    delete: DeleteService
    retrieve: RetrieveService
    completer: Completer
    compactor: Compactor
    restore: RestoreService
    expiry: ExpiryService
    remover: Remover

    async def store(
        self,
        *files: bytes,
        study: str | None = None,
        major: int = 2,
        upsert: bool = False,
        expires_after: timedelta | None = None,
    ) -> StoreResult:
        """Store files as one request."""

        async def contents() -> AsyncIterator[AsyncIterator[bytes]]:
            for data in files:
                yield _one(data)

        destination = Destination("Microsoft.Default", study, major, URL, upsert, expires_after)
        return await self.store_service.store(contents(), destination)

    async def indexed(self, kind: str) -> list[dict[str, object]]:
        """All documents of one type."""
        from shared.where import Eq

        return await self.documents.query("index", Eq(("type",), kind), limit=10_000)


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
async def tenant(tmp_path: Path) -> AsyncIterator[Tenant]:
    """A fresh tenant."""
    documents = TroubledDocuments(tmp_path / "index.sqlite")
    blobs, queue, ids = MemoryBlobs(), MemoryQueue(), RandomIds()
    clock = FixedClock(datetime.now(UTC))
    compaction = CompactionRequests(queue, "main")
    committer = Committer(documents, ids, clock, changed=compaction.changed)
    grace = timedelta(minutes=15)
    remover = Remover(
        documents,
        committer,
        queue,
        ids=ids,
        clock=clock,
        tenant="main",
        retention=timedelta(days=3),
    )
    replacer = Replacer(documents, committer, remover, ids, clock)
    store = StoreService(blobs, committer, replacer, ids, Limits(), clock=clock, grace=grace)
    yield Tenant(
        documents,
        blobs,
        queue,
        clock,
        store,
        DeleteService(documents, blobs, remover, queue=queue, clock=clock, tenant="main"),
        RetrieveService(documents, blobs),
        Completer(
            documents,
            blobs,
            store,
            remover,
            queue=queue,
            ids=ids,
            clock=clock,
            limits=Limits(),
            tenant="main",
            tenant_url="http://host/main",
            grace=grace,
        ),
        Compactor(documents, blobs, ids, compaction),
        RestoreService(documents, blobs, committer, clock),
        ExpiryService(documents, remover, Partitions(documents, clock), clock),
        remover,
    )
    await documents.close()

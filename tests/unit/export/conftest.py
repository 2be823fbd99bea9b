"""An export service of one tenant, a step a message, with a destination in memory."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from shared.adapters.system import RandomIds
from shared.export.addresses import AllowedHosts, OwnStore
from shared.export.batch import Copier
from shared.export.models import EXPORT
from shared.export.request import Rules
from shared.export.service import Exporter, ExportService
from shared.export.sources import Sources
from shared.feed.reader import ChangeFeed
from shared.feed.sequencer import Sequencer
from shared.operations.engine import Engine
from shared.operations.sealing import Sealer
from shared.ports import JsonObject
from shared.search.service import SearchService
from tests.support.export_fakes import MemoryDestination
from tests.support.fakes import MemoryQueue
from tests.support.server import SECRETS_KEY
from tests.unit.store.conftest import Tenant, tenant

__all__ = ["tenant"]

PARTITION = "microsoft.default"
ADDRESS = "https://account.blob.core.windows.net/container"
DESTINATION: JsonObject = {
    "type": "azureblob",
    "settings": {"blobContainerUri": f"{ADDRESS}?sv=2025-01-01&sp=racw&sig=c2lnbmF0dXJl"},
}
RULES = Rules(
    AllowedHosts(("*.blob.core.windows.net", "127.0.0.1", "named.blob.core.windows.net")),
    frozenset({"sas", "identity"}),
    has_identity=True,
    has_key=True,
)


@dataclass
class Bench:
    """What a test drives, and what it looks at."""

    tenant: Tenant
    engine: Engine
    queue: MemoryQueue
    service: ExportService
    destination: MemoryDestination
    exporter: Exporter

    async def start(self, *identifiers: str) -> str:
        """Start an export of identifiers."""
        source = {"type": "identifiers", "settings": {"values": list(identifiers)}}
        body = {"source": source, "destination": DESTINATION}
        return await self.service.start(body, PARTITION)

    async def deliver(self) -> None:
        """Deliver messages until there are none."""
        for number in range(200):
            if not self.queue.sent:
                return
            _, message, _ = self.queue.sent.pop(0)
            await self.engine.work(message["operation"], f"delivery {number}")
        raise AssertionError("messages without end")

    async def ended(self, id_: str) -> JsonObject:
        """The operation, after all messages."""
        await self.deliver()
        return await self.engine.get(id_)

    def folder(self, id_: str) -> dict[str, bytes]:
        """What the export wrote, without its folder."""
        return {
            name.removeprefix(f"{id_}/"): data for name, data in self.destination.content.items()
        }


@pytest.fixture
def bench(tenant: Tenant) -> Bench:
    """An export service."""
    queue, destination = MemoryQueue(), MemoryDestination(trusted=tenant.blobs)
    documents, blobs = tenant.documents, tenant.blobs
    feed = ChangeFeed(documents, blobs, Sequencer(documents, tenant.clock))
    sources = Sources(documents, SearchService(documents, blobs), feed)
    sealer = Sealer([SECRETS_KEY])
    copier = Copier(documents, blobs, destination, tenant.clock, 3)
    exporter = Exporter(copier, sources, destination, sealer)
    engine = Engine(
        documents,
        queue,
        ids=RandomIds(),
        clock=tenant.clock,
        tenant="main",
        kinds={EXPORT: exporter},
        round_s=0,
    )

    async def containers() -> frozenset[str]:
        return frozenset({"dicom-main", "dicom-other"})

    own = OwnStore("https://own.blob.core.windows.net/", containers)
    service = ExportService(
        engine,
        sources,
        destination,
        sealer,
        ids=RandomIds(),
        rules=RULES,
        own=own,
        tenant="main",
    )
    return Bench(tenant, engine, queue, service, destination, exporter)

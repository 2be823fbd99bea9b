"""The composition root: picks the body of each port, and binds use cases to a tenant's stores."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.clients import (
    blob_service,
    cosmos_client,
    queue_service,
    table_service,
)
from shared.adapters.azure.destinations import AzureDestinations, AzureLinks
from shared.adapters.azure.queues import AzureQueue
from shared.adapters.azure.tables import TableRegistry
from shared.adapters.system import RandomIds, SystemClock
from shared.config import SettingMissing, Settings, load_settings
from shared.delete.expiry import ExpiryService
from shared.delete.restore import RestoreService
from shared.delete.service import DeleteService
from shared.errors import TenantNotFound
from shared.export.addresses import AllowedHosts, OwnStore
from shared.export.batch import Copier
from shared.export.models import EXPORT
from shared.export.request import Rules
from shared.export.service import Exporter, ExportService
from shared.export.sources import Sources
from shared.feed.reader import ChangeFeed
from shared.feed.sequencer import Sequencer
from shared.index.align import align_unfinished
from shared.index.commit import Committer
from shared.index.compaction import CompactionRequests, Compactor
from shared.index.partitions import Partitions
from shared.index.removal import Remover
from shared.index.replacement import Replacer
from shared.index.schema import CONTROL
from shared.operations.engine import Engine
from shared.operations.reconcile import RECONCILE, Reconciler
from shared.operations.sealing import Sealer
from shared.ports import Blobs, Clock, Documents, Ids, Queue, Registry, TenantRow
from shared.render.service import RenderService
from shared.retrieve.service import RetrieveService
from shared.search.service import SearchService
from shared.store.complete import Completer
from shared.store.importing import Importer
from shared.store.service import StoreService

if TYPE_CHECKING:
    from azure.cosmos.aio import CosmosClient

_ROW_LASTS_S = 60.0
_MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class TenantServices:
    """The use cases of one tenant. Nothing reachable from here can name another tenant."""

    name: str
    documents: Documents
    blobs: Blobs
    partitions: Partitions
    store: StoreService
    retrieve: RetrieveService
    render: RenderService
    search: SearchService
    delete: DeleteService
    expiry: ExpiryService
    restore: RestoreService
    feed: ChangeFeed
    sequencer: Sequencer
    completer: Completer
    compactor: Compactor
    operations: Engine
    importer: Importer
    export: ExportService | None

    async def align_unfinished(self) -> int:
        """See ``shared.index.align.align_unfinished``."""
        return await align_unfinished(self.documents)


class Services:
    """What lives as long as the process: settings, clients, and the tenants seen so far."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.ids: Ids = RandomIds()
        self._blob_service = blob_service(settings.storage)
        self.queue: Queue = AzureQueue(queue_service(settings.storage))
        self.registry: Registry = TableRegistry(table_service(settings.storage))
        self._rows: dict[str, tuple[float, TenantRow | None]] = {}
        self._cosmos: CosmosClient | None = None
        self._tenants: dict[TenantRow, TenantServices] = {}

    @staticmethod
    def new_correlation_id() -> str:
        """A name for one request, in answers and logs."""
        return uuid.uuid4().hex

    def checks(self) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        """What health looks at: each store's name, and a call that raises if it is away."""

        async def index() -> object:
            tenant = await self.tenant(self.settings.tenants[0])
            return await tenant.documents.get(CONTROL.name, "partition", "none")

        return [("registry", lambda: self.registry.get(self.settings.tenants[0])), ("index", index)]

    async def tenant(self, name: str) -> TenantServices:
        """The use cases of a tenant. What the registry says is at most a minute old.

        Raises
        ------
        TenantNotFound
            No such tenant, or one that is not active.
        """
        row = await self._row(name)
        if row is None or row.state != "active":
            raise TenantNotFound("There is no such service.")
        bound = self._tenants.get(row)
        if bound is None:
            bound = self._tenants[row] = self._bind(row)
        return bound

    async def tenants(self) -> AsyncIterator[TenantServices]:
        """The use cases of each active tenant."""
        async for row in self.registry.list():
            if row.state == "active":
                yield await self.tenant(row.tenant)

    async def _row(self, name: str) -> TenantRow | None:
        read_at, row = self._rows.get(name, (0.0, None))
        if time.monotonic() - read_at < _ROW_LASTS_S and read_at:
            return row
        row = await self.registry.get(name)
        if len(self._rows) >= _MOST_ROWS:
            self._rows.clear()
        self._rows[name] = (time.monotonic(), row)
        return row

    def _bind(self, row: TenantRow) -> TenantServices:
        documents = self._documents(row)
        blobs = AzureBlobs(self._blob_service, row.blob_container)
        settings, clock, ids, queue = self.settings, self.clock, self.ids, self.queue
        compaction = CompactionRequests(queue, row.tenant)
        sequencer = Sequencer(documents, clock)
        committer = Committer(
            documents, ids, clock, changed=compaction.changed, announcer=sequencer
        )
        grace = timedelta(seconds=settings.commit_grace_s)
        remover = Remover(
            documents,
            committer,
            queue,
            ids=ids,
            clock=clock,
            tenant=row.tenant,
            retention=timedelta(days=settings.retention_days),
        )
        replacer = Replacer(documents, committer, remover, ids, clock)
        store = StoreService(
            blobs, committer, replacer, ids, settings.limits, clock=clock, grace=grace
        )
        partitions = Partitions(documents, clock, row.created)
        completer = Completer(
            documents,
            blobs,
            store,
            remover,
            queue=queue,
            clock=clock,
            limits=settings.limits,
            tenant=row.tenant,
            tenant_url=f"{settings.public_base_url}/{row.tenant}",
            grace=grace,
        )
        search = SearchService(documents, blobs)
        feed = ChangeFeed(documents, blobs, sequencer)
        sources = Sources(documents, search, feed)
        sealer = Sealer(settings.secrets_keys)
        destinations = AzureDestinations(settings.storage.client_id)
        links = AzureLinks(self._blob_service, row.blob_container)
        operations = Engine(
            documents,
            queue,
            ids=ids,
            clock=clock,
            tenant=row.tenant,
            kinds={
                RECONCILE: Reconciler(documents, blobs, partitions, completer),
                EXPORT: Exporter(
                    Copier(documents, blobs, links, clock, settings.export.at_once),
                    sources,
                    destinations,
                    sealer,
                ),
            },
        )
        export = ExportService(
            operations,
            sources,
            destinations,
            sealer,
            ids=ids,
            rules=Rules(
                AllowedHosts(settings.export.hosts),
                settings.export.credentials,
                has_identity=settings.storage.connection_string is None,
                has_key=sealer.has_key,
            ),
            own=OwnStore(self._blob_service.url, self._blob_containers),
        )
        return TenantServices(
            name=row.tenant,
            documents=documents,
            blobs=blobs,
            partitions=partitions,
            store=store,
            retrieve=RetrieveService(documents, blobs),
            feed=feed,
            sequencer=sequencer,
            compactor=Compactor(documents, blobs, ids, compaction),
            render=RenderService(documents, blobs, settings.limits),
            search=search,
            delete=DeleteService(
                documents, blobs, remover, queue=queue, clock=clock, tenant=row.tenant
            ),
            expiry=ExpiryService(documents, remover, partitions, clock),
            restore=RestoreService(documents, blobs, committer, clock),
            completer=completer,
            operations=operations,
            export=export if settings.export.credentials else None,
            importer=Importer(
                documents,
                blobs,
                store,
                partitions,
                clock=clock,
                tenant_url=f"{settings.public_base_url}/{row.tenant}",
            ),
        )

    async def _blob_containers(self) -> frozenset[str]:
        return frozenset([row.blob_container async for row in self.registry.list()])

    def _documents(self, row: TenantRow) -> Documents:
        if self.settings.sqlite_directory is not None:
            from shared.adapters.sqlite.documents import SqliteDocuments

            directory = Path(self.settings.sqlite_directory)
            directory.mkdir(parents=True, exist_ok=True)
            return SqliteDocuments(directory / f"{row.database}.sqlite")
        from shared.adapters.azure.cosmos import CosmosDocuments

        if self._cosmos is None and self.settings.cosmos is not None:
            self._cosmos = cosmos_client(self.settings.cosmos)
        if self._cosmos is None:
            raise SettingMissing("DicomCosmos__accountEndpoint is missing")
        return CosmosDocuments(self._cosmos, row.database)


_lock = asyncio.Lock()
_services: Services | None = None


async def services() -> Services:
    """The services of this process, made once, in the loop that runs."""
    global _services  # noqa: PLW0603 — one per process is the point
    if _services is None:
        async with _lock:
            if _services is None:
                _services = Services(load_settings())
    return _services

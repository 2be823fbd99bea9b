"""The composition root: picks the body of each port, and binds use cases to a tenant's stores."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.azure.blobs import AzureBlobs, ensure_container
from shared.adapters.azure.cast_failures import TableFailures
from shared.adapters.azure.clients import (
    blob_service,
    cosmos_client,
    queue_service,
    table_service,
)
from shared.adapters.azure.destinations import AzureDestinations, AzureLinks
from shared.adapters.azure.events import event_outlets
from shared.adapters.azure.queues import AzureQueue
from shared.adapters.azure.tables import TableRegistry
from shared.adapters.fhir.binding import cast_service
from shared.adapters.published import PublishedJson
from shared.adapters.system import RandomIds, SystemClock
from shared.auth.audit import write_to
from shared.auth.caller import Door
from shared.auth.directory import DELETING, Directory
from shared.auth.ports import Registry, TenantRow
from shared.auth.tenants import Tenants
from shared.auth.tokens import Tokens
from shared.cast.resync import RESYNC
from shared.cast.service import CastService
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
from shared.fanout.service import FanOut
from shared.fanout.sources import sources_of
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
from shared.operations.models import Kind
from shared.operations.reconcile import RECONCILE, Reconciler
from shared.operations.reindex import REINDEX, Reindexer
from shared.operations.sealing import Sealer
from shared.ports import Blobs, Clock, Documents, Ids, Queue
from shared.render.service import RenderService
from shared.retrieve.service import RetrieveService
from shared.search.service import SearchService
from shared.store.complete import Completer
from shared.store.importing import Importer
from shared.store.service import StoreService
from shared.tags.errors import TagErrors
from shared.tags.indexing import TagIndexer
from shared.tags.registry import TagRegistry
from shared.update.operation import UPDATE, Updater
from shared.update.prepared import PreparedVersions
from shared.worklist.delivery import Delivery
from shared.worklist.mailboxes import Mailboxes
from shared.worklist.retention import Retention
from shared.worklist.service import WorklistService
from shared.worklist.subscriptions import Subscriptions

if TYPE_CHECKING:
    from azure.cosmos.aio import CosmosClient

_log = logging.getLogger("dicom.auth")


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
    tags: TagIndexer
    tag_errors: TagErrors
    cast: CastService | None
    fanout: FanOut
    worklist: WorklistService
    watchers: Subscriptions
    retention: Retention

    async def align_unfinished(self) -> int:
        """See ``shared.index.align.align_unfinished``."""
        return await align_unfinished(self.documents)


class Services:
    """What lives as long as the process: settings, clients, and the tenants seen so far."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock: Clock = SystemClock()
        self.ids: Ids = RandomIds()
        self._blob_service = blob_service(settings.storage, settings.patience)
        self.queue: Queue = AzureQueue(queue_service(settings.storage, settings.patience))
        self._table_service = table_service(settings.storage, settings.patience)
        self.registry: Registry = TableRegistry(self._table_service)
        if settings.audit_file is not None:
            write_to(Path(settings.audit_file))
        sign_in = settings.sign_in
        if not sign_in.required:
            _log.warning("sign-in is off: whoever reaches the service may do everything")
        self.directory = Directory(self.registry, sign_in, settings.tenants, self.clock)
        self.administration = Tenants(self.registry, self.directory, self.clock, self._prepare)
        self.door = Door(sign_in, self.directory, Tokens(PublishedJson()))
        self._outlets = event_outlets(settings, self.queue)
        self._cosmos: CosmosClient | None = None
        self._tenants: dict[tuple[str, str, str], TenantServices] = {}

    @staticmethod
    def new_correlation_id() -> str:
        """A name for one request, in answers and logs."""
        return uuid.uuid4().hex

    def checks(self) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        """What health looks at: each store's name, and a call that raises if it is away."""

        async def index() -> object:
            async for tenant in self.tenants():
                return await tenant.documents.get(CONTROL.name, "partition", "none")
            return None

        return [("registry", lambda: self.registry.get(self.settings.tenants[0])), ("index", index)]

    async def tenant(self, name: str) -> TenantServices:
        """The use cases of a tenant, for work that no caller waits for.

        It goes on while the tenant is suspended; callers come in by the ``door``.

        Raises
        ------
        TenantNotFound
            No such tenant, or one that is being deleted.
        """
        row = await self.directory.row(name)
        if row is None or row.state == DELETING:
            raise TenantNotFound("There is no such service.")
        return self.bound(row)

    async def tenant_of_container(self, container: str) -> TenantServices | None:
        """The use cases of the tenant that has a blob container; ``None`` if it is nobody's.

        Like ``tenant``: it goes on while the tenant is suspended.
        """
        row = await self.directory.owner(container)
        return None if row is None or row.state == DELETING else self.bound(row)

    async def tenants(self) -> AsyncIterator[TenantServices]:
        """The use cases of each tenant that is not being deleted."""
        for row in await self.directory.rows():
            if row.state != DELETING:
                yield self.bound(row)

    def bound(self, row: TenantRow) -> TenantServices:
        """The use cases of a tenant, bound to the stores that its row names."""
        stores = (row.tenant, row.blob_container, row.database)
        found = self._tenants.get(stores)
        if found is None:
            found = self._tenants[stores] = self._bind(row)
        return found

    def _bind(self, row: TenantRow) -> TenantServices:
        documents = self._documents(row)
        links = AzureLinks(self._blob_service, row.blob_container)
        blobs = AzureBlobs(self._blob_service, row.blob_container, links.link)
        settings, clock, ids, queue = self.settings, self.clock, self.ids, self.queue
        compaction = CompactionRequests(queue, row.tenant)
        tags = TagRegistry(documents)
        sequencer = Sequencer(documents, clock, newest_tag=tags.newest)
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
        indexer = TagIndexer(documents, blobs, committer, tags, clock)
        store = StoreService(
            blobs,
            committer,
            replacer,
            ids,
            settings.limits,
            clock=clock,
            grace=grace,
            indexer=indexer,
        )
        partitions = Partitions(documents, clock, row.created)
        completer = Completer(
            documents,
            blobs,
            store,
            remover,
            queue=queue,
            ids=ids,
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
        cast = cast_service(
            row.tenant,
            settings.cast.get(row.tenant),
            service_url=f"{settings.public_base_url}/{row.tenant}/v2",
            documents=documents,
            blobs=blobs,
            partitions=partitions,
            sequencer=sequencer,
            queue=queue,
            clock=clock,
            failures=TableFailures(self._table_service, row.tenant, clock),
        )
        mailboxes = Mailboxes(documents, clock)
        fanout = FanOut(
            documents,
            sources_of(feed, mailboxes, f"{settings.public_base_url}/{row.tenant}"),
            queue,
            self._outlets,
            sealer=sealer,
            ids=ids,
            clock=clock,
            tenant=row.tenant,
        )
        sequencer.appended = fanout.feed_grew
        mailboxes.appended = fanout.mailbox_grew
        delivery = Delivery(documents, mailboxes, queue, tenant=row.tenant)
        watchers = Subscriptions(documents, delivery, ids)
        kinds: dict[str, Kind] = {
            RECONCILE: Reconciler(documents, blobs, partitions, completer),
            EXPORT: Exporter(
                Copier(documents, blobs, links, clock, settings.export.at_once),
                sources,
                destinations,
                sealer,
            ),
            UPDATE: Updater(
                documents,
                blobs,
                PreparedVersions(
                    documents,
                    blobs,
                    committer=committer,
                    replacer=replacer,
                    remover=remover,
                    indexer=indexer,
                ),
                indexer,
                ids=ids,
                limits=settings.limits,
                tenant=row.tenant,
            ),
            REINDEX: Reindexer(documents, indexer),
            **({} if cast is None else {RESYNC: cast.resync}),
        }
        operations = Engine(documents, queue, ids=ids, clock=clock, tenant=row.tenant, kinds=kinds)
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
            tenant=row.tenant,
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
            restore=RestoreService(documents, blobs, committer, clock, indexer=indexer),
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
            cast=cast,
            tags=indexer,
            tag_errors=TagErrors(documents, partitions),
            fanout=fanout,
            worklist=WorklistService(
                documents, ids, clock, watchers, timedelta(days=settings.workitem_retention_days)
            ),
            watchers=watchers,
            retention=Retention(documents, clock, watchers),
        )

    async def _prepare(self, row: TenantRow) -> None:
        await ensure_container(self._blob_service, row.blob_container)

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
            self._cosmos = cosmos_client(self.settings.cosmos, self.settings.patience)
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

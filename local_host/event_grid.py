"""Event Grid for storage events that go to a queue.

In Azure a subscription of the storage account's system topic puts a message on the queue for each
blob that is written. Here the containers that the registry of tenants names are listed for them;
those that a blob trigger covers are left to it, for each event costs three calls of Azurite.

References
----------
Azure Event Grid, "Azure Blob Storage as an Event Grid source"; "Storage queue as an event handler".
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue.aio import QueueClient

from local_host.functions import HostedFunction
from local_host.invocations import Invocations, log
from local_host.queues import create_queue
from local_host.receipts import Receipts
from local_host.scanning import MOST_FOUND, FoundBlob, Pace, Scan
from local_host.settings import resolve_connection
from local_host.storage import blob_service, queue_service
from shared.errors import DicomServiceError

if TYPE_CHECKING:
    from shared.auth.ports import Registry

_FOLDERS = ("instances/", "import/")
_REGISTRY_S = 2.0
_AT_ONCE = 16


def event_of(container: ContainerClient, blob: FoundBlob) -> dict[str, Any]:
    """The event of a new blob, in Event Grid's own schema."""
    name = str(container.container_name)
    return {
        "topic": "/subscriptions/local/resourceGroups/local/providers/Microsoft.Storage"
        f"/storageAccounts/{container.account_name}",
        "subject": f"/blobServices/default/containers/{name}/blobs/{blob.name}",
        "eventType": "Microsoft.Storage.BlobCreated",
        "id": str(uuid.uuid4()),
        "data": {
            "api": "PutBlockList",
            "eTag": f"0x{blob.etag.removeprefix('0x')}",
            "contentLength": blob.length,
            "blobType": "BlockBlob",
            "url": container.get_blob_client(blob.name).url.partition("?")[0],
        },
        "dataVersion": "",
        "metadataVersion": "1",
        "eventTime": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }


class EventGrid:
    """Puts a message on the queue for each new file of the tenants.

    Parameters
    ----------
    function : HostedFunction
        The function with a trigger of that queue.
    covered : frozenset of str
        Containers that blob triggers scan.
    invocations : Invocations
        Whose activity makes it look sooner.
    environment : Mapping[str, str]
        App settings: the connection.
    receipts : Receipts
        What was told before.
    """

    def __init__(
        self,
        function: HostedFunction,
        covered: frozenset[str],
        invocations: Invocations,
        environment: Mapping[str, str],
        *,
        receipts: Receipts,
    ) -> None:
        self._connection = resolve_connection(function.trigger.get("connection"), environment)
        self._queue = str(function.trigger["queueName"])
        self._environment = environment
        self._covered = covered
        self._invocations = invocations
        self._receipts = receipts
        self._watched: dict[str, asyncio.Task[None]] = {}
        self._scans: list[Scan] = []

    async def run(self) -> None:
        """Watch the containers of the registry until cancelled."""
        from shared.adapters.azure.clients import table_service
        from shared.adapters.azure.tables import TableRegistry
        from shared.config import storage_connection

        self._blobs: BlobServiceClient = blob_service(self._connection)
        registry = TableRegistry(table_service(storage_connection(self._environment)))
        try:
            async with queue_service(self._connection) as service:
                queue = service.get_queue_client(self._queue)
                while True:
                    for task in self._watched.values():
                        if task.done():
                            task.result()  # which raises, and all begins anew
                    for name in await self._containers(registry):
                        if name not in self._watched:
                            watching = self._watch(name, queue)
                            self._watched[name] = asyncio.create_task(watching)
                    await asyncio.sleep(_REGISTRY_S)
        finally:
            for task in self._watched.values():
                task.cancel()
            await asyncio.gather(*self._watched.values(), return_exceptions=True)
            self._watched.clear()
            await registry.close()

    async def close(self) -> None:
        """Close the client."""
        for scan in self._scans:
            scan.close()
        if hasattr(self, "_blobs"):
            self._blobs.close()

    async def _containers(self, registry: Registry) -> list[str]:
        try:
            found = [row.blob_container async for row in registry.list()]
        except DicomServiceError as error:
            log.warning("Event Grid: the registry: %s", type(error).__name__)
            return []
        return [name for name in found if name not in self._covered]

    async def _watch(self, name: str, queue: QueueClient) -> None:
        container = self._blobs.get_container_client(name)
        scans = [
            Scan(f"{self._queue} {name}/{folder}", folder, lambda _: True, self._receipts)
            for folder in _FOLDERS
        ]
        self._scans += scans
        pace = Pace(self._invocations.activity)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            most = 0
            for scan in scans:
                found = await scan.find(container)
                for start in range(0, len(found), _AT_ONCE):
                    some = found[start : start + _AT_ONCE]
                    await asyncio.gather(*(self._tell(scan, container, one, queue) for one in some))
                most = max(most, len(found))
            if most:
                self._invocations.activity.pulse()
            if most < MOST_FOUND:
                await pace.rest(began, most)

    async def _tell(
        self, scan: Scan, container: ContainerClient, blob: FoundBlob, queue: QueueClient
    ) -> None:
        text = base64.b64encode(json.dumps(event_of(container, blob)).encode()).decode()
        try:
            try:
                await queue.send_message(text, time_to_live=-1)
            except ResourceNotFoundError:
                await create_queue(queue)
                await queue.send_message(text, time_to_live=-1)
        except AzureError as error:
            log.warning("Event Grid: the queue: %s", type(error).__name__)
        else:
            scan.done(blob)
        finally:
            scan.release(blob)

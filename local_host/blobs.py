"""Blob triggers: one listener a function, which scans its container.

In Azure, Event Grid or the storage logs tell the host of new blobs; Azurite has neither, so the
container is listed again and again: each second while there is work, less often when idle, and
never for more than a twentieth of the time. Better, if big containers ever matter here: follow
Azurite's access log, which names each blob that is written, and list only at the start.

References
----------
azure-webjobs-sdk ``BindingTemplateToken``: a parameter of a path takes any text, slashes too.
azure-sdk-for-net, Microsoft.Azure.WebJobs.Extensions.Storage.Blobs: ``BlobTriggerMessage``.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from azure.functions.blob import InputStream
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    StorageStreamDownloader,
)

from local_host.functions import HostedFunction
from local_host.invocations import Invocations, log
from local_host.queues import send_poison_blob
from local_host.receipts import Receipt, Receipts
from local_host.scanning import MOST_FOUND, FoundBlob, Pace, Scan
from local_host.settings import BlobOptions, HostError, resolve_connection, resolve_names
from local_host.storage import blob_service, queue_service

POISON_QUEUE = "webjobs-blobtrigger-poison"


@dataclass(frozen=True, slots=True)
class BlobPath:
    """A trigger's path: ``container`` or ``container/pattern``."""

    container: str
    prefix: str
    pattern: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> BlobPath:
        """Parse a path; ``{{`` and ``}}`` stand for braces.

        Raises
        ------
        HostError
            It is no path that the real host takes.
        """
        container, slash, blob = text.partition("/")
        if not container or (slash and not blob) or "{" in container:
            raise HostError(f"the blob path {text!r} must be 'container' or 'container/name'")
        pattern, prefix, names = "", "", list[str]()
        for token in re.findall(r"\{\{|\}\}|\{[^{}]*\}|[^{}]+|[{}]", blob):
            if len(token) > 2 and token.startswith("{") and token[1:-1].isidentifier():
                names.append(token[1:-1])
                pattern += f"(?P<{names[-1]}>.*)"
                continue
            if token.startswith(("{", "}")) and token not in ("{{", "}}"):
                raise HostError(f"the blob path {text!r} has a wrong {token!r}")
            literal = token[0] if token in ("{{", "}}") else token
            pattern += re.escape(literal)
            prefix += "" if names else literal
        if len(set(names)) != len(names):
            raise HostError(f"the blob path {text!r} has a parameter twice")
        return cls(container.lower(), prefix, re.compile(pattern if slash else ".*", re.DOTALL))

    def matches(self, name: str) -> bool:
        """Whether the function is triggered by this blob of the container."""
        return self.pattern.fullmatch(name) is not None


class HostedBlob(InputStream):
    """The blob as the worker would hand it to the function, but read only when asked for.

    In Azure the worker has the whole content in memory before the function begins. Here an
    ``async`` function that reads stops the event loop for that time.
    """

    def __init__(self, client: BlobClient, name: str, found: FoundBlob) -> None:
        super().__init__(data=b"", name=name, uri=client.url, length=found.length)
        self._client = client
        self._download: StorageStreamDownloader[bytes] | None = None

    def read(self, size: int | None = -1) -> bytes:
        if self._download is None:
            self._download = self._client.download_blob()
        return self._download.read(-1 if size is None else size)

    read1 = read


class BlobListener:
    """Scans the container of one function.

    Parameters
    ----------
    function : HostedFunction
        A function with a blob trigger.
    options : BlobOptions
        From host.json.
    invocations : Invocations
        Runs the function.
    environment : Mapping[str, str]
        App settings: the connection and names in ``%…%``.
    receipts : Receipts
        What was delivered before.
    slots : asyncio.Semaphore
        How many blob functions may run at once, all together.
    """

    def __init__(
        self,
        function: HostedFunction,
        options: BlobOptions,
        invocations: Invocations,
        environment: Mapping[str, str],
        *,
        receipts: Receipts,
        slots: asyncio.Semaphore,
    ) -> None:
        self._function = function
        self._options = options
        self._invocations = invocations
        self._path = BlobPath.parse(resolve_names(str(function.trigger["path"]), environment))
        self._connection = resolve_connection(function.trigger.get("connection"), environment)
        self._slots = slots
        self._tries: dict[Receipt, int] = {}
        source = f"{function.name} {self._path.container}"
        self._scan = Scan(source, self._path.prefix, self._path.matches, receipts)

    @property
    def container(self) -> str:
        """The container that it scans."""
        return self._path.container

    async def run(self) -> None:
        """Listen until cancelled. What has begun goes on; ``Invocations.stop`` waits for it."""
        self._service: BlobServiceClient = blob_service(self._connection)
        container = self._service.get_container_client(self._path.container)
        pace = Pace(self._invocations.activity)
        while True:
            began = time.monotonic()
            found = await self._scan.find(container)
            tasks = [self._start(container, blob) for blob in found]
            if len(tasks) == MOST_FOUND:  # there are more
                await asyncio.wait(tasks)
                continue
            await pace.rest(began, len(found))

    async def close(self) -> None:
        """Close the client, after the last invocation."""
        self._scan.close()
        if hasattr(self, "_service"):
            self._service.close()

    def _start(self, container: ContainerClient, blob: FoundBlob) -> asyncio.Task[bool]:
        task = self._invocations.start(self._deliver(container, blob))
        task.add_done_callback(lambda _: self._scan.release(blob))
        return task

    async def _deliver(self, container: ContainerClient, blob: FoundBlob) -> bool:
        async with self._slots:
            if self._invocations.stopping:
                return False
            name = f"{self._path.container}/{blob.name}"
            stream = HostedBlob(container.get_blob_client(blob.name), name, blob)
            succeeded = await self._invocations.run(self._function, stream)
        one = blob.receipt
        if not succeeded:
            self._tries[one] = self._tries.get(one, 0) + 1
            if self._tries[one] < self._options.poison_threshold:
                return False  # the next scan finds it again
            await self._poison(blob)
        self._tries.pop(one, None)
        self._scan.done(blob)
        return succeeded

    async def _poison(self, blob: FoundBlob) -> None:
        async with queue_service(self._connection) as service:
            await send_poison_blob(
                service,
                POISON_QUEUE,
                {
                    "Type": "BlobTrigger",
                    "FunctionId": f"Host.Functions.{self._function.name}",
                    "BlobType": "BlockBlob",
                    "ContainerName": self._path.container,
                    "BlobName": blob.name,
                    "ETag": f'"{blob.etag}"',
                },
            )
        log.error("%s: a blob failed too often: see %s", self._function.name, POISON_QUEUE)

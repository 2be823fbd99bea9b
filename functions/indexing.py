"""Events of the blob store into the index: each tenant's new files, and those to look at again.

They come by the queue ``blob-events``, for whatever tenants the registry has; or by functions with
a blob trigger, for tenants that were named at the start. What comes by both changes nothing.

References
----------
Architecture §6: the events of blobs are the second road into the index.
"""

from __future__ import annotations

import logging
import os

import azure.functions as func

from functions._blob_events import new_blobs
from functions._queues import or_later, work_off
from shared.container import Services
from shared.index.shapes import INSTANCES
from shared.ports import JsonObject
from shared.store.complete import COMPLETE_QUEUE
from shared.store.importing import IMPORT

bp = func.Blueprint()

BLOB_EVENTS_QUEUE = "blob-events"
_CONNECTION = "DicomStorage"
_CONTAINER_PREFIX = "dicom-"

_log = logging.getLogger("dicom.events")


async def _take_in(app: Services, body: JsonObject) -> None:
    """Look at the files that a message names, each by the rules of its folder."""
    if "container" in body:
        tenant = await app.tenant_of_container(body["container"])
    else:
        tenant = await app.tenant(body["tenant"])
    if tenant is None:
        _log.info("an event of a container that is no tenant's is dropped")
        return
    # the names that are not its own are those of no blob, or of another file to look at
    for name in body["blobs"]:
        if name.startswith(INSTANCES):
            await tenant.completer.complete(name)
        elif name.startswith(IMPORT):
            await tenant.importer.take_in(name)


def _register(tenant: str, verb: str, folder: str) -> None:
    """One blob-triggered function a tenant and folder: a trigger's path names its container."""
    name = f"{verb}_blob_{tenant.replace('-', '_')}"

    async def run(blob: func.InputStream) -> None:
        path = (blob.name or "").partition("/")[2]
        await or_later(COMPLETE_QUEUE, {"tenant": tenant, "blobs": [path]}, _take_in)

    run.__name__ = name
    trigger = bp.blob_trigger(
        arg_name="blob",
        path=f"{_CONTAINER_PREFIX}{tenant}/{folder}{{name}}",
        connection=_CONNECTION,
        source=func.BlobSource.EVENT_GRID,
    )
    bp.function_name(name)(trigger(run))


if os.environ.get("DICOM_BLOB_EVENTS") != "queue":
    for _tenant in os.environ.get("DICOM_TENANTS", "main").replace(" ", "").split(","):
        _register(_tenant, "index", INSTANCES)
        _register(_tenant, "import", IMPORT)


@bp.function_name("blob_events")
@bp.queue_trigger(arg_name="message", queue_name=BLOB_EVENTS_QUEUE, connection=_CONNECTION)
async def blob_events(message: func.QueueMessage) -> None:
    """Take in the new files that Event Grid tells of.

    A message that is none of Event Grid fails, and so waits on the poison queue: it may have been
    the only one that names a file. Containers that are no tenant's are not our business.
    """
    for blob in new_blobs(message.get_body()):
        body = {"container": blob.container, "blobs": list(blob.names)}
        await or_later(COMPLETE_QUEUE, body, _take_in)


@bp.function_name("complete_commit")
@bp.queue_trigger(arg_name="message", queue_name=COMPLETE_QUEUE, connection=_CONNECTION)
async def complete_commit(message: func.QueueMessage) -> None:
    """Look again at files that were too young, or a store away, when their events came."""
    await work_off(message, COMPLETE_QUEUE, _take_in)

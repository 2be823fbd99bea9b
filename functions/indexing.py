"""Events of the blob store into the index: each tenant's new files, and those to look at again.

References
----------
Architecture §6: the blob-triggered function is the second road into the index.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import azure.functions as func

from shared.container import TenantServices, services
from shared.store.complete import COMPLETE_QUEUE

bp = func.Blueprint()

_CONNECTION = "DicomStorage"
_CONTAINER_PREFIX = "dicom-"
Work: TypeAlias = Callable[[TenantServices, str], Awaitable[None]]


async def _complete(tenant: TenantServices, path: str) -> None:
    await tenant.completer.complete(path)


async def _import(tenant: TenantServices, path: str) -> None:
    await tenant.importer.take_in(path)


def _register(tenant: str, verb: str, folder: str, work: Work) -> None:
    """One blob-triggered function a tenant and folder: a trigger's path names its container."""
    name = f"{verb}_blob_{tenant.replace('-', '_')}"

    async def run(blob: func.InputStream) -> None:
        path = (blob.name or "").partition("/")[2]
        await work(await (await services()).tenant(tenant), path)

    run.__name__ = name
    trigger = bp.blob_trigger(
        arg_name="blob",
        path=f"{_CONTAINER_PREFIX}{tenant}/{folder}/{{name}}",
        connection=_CONNECTION,
        source=func.BlobSource.EVENT_GRID,
    )
    bp.function_name(name)(trigger(run))


for _tenant in os.environ.get("DICOM_TENANTS", "main").replace(" ", "").split(","):
    _register(_tenant, "index", "instances", _complete)
    _register(_tenant, "import", "import", _import)


@bp.function_name("complete_commit")
@bp.queue_trigger(arg_name="message", queue_name=COMPLETE_QUEUE, connection=_CONNECTION)
async def complete_commit(message: func.QueueMessage) -> None:
    """Look again at files that were too young when their events came."""
    body = json.loads(message.get_body())
    tenant = await (await services()).tenant(body["tenant"])
    for blob in body["blobs"]:
        await tenant.completer.complete(blob)

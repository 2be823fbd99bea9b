"""Upkeep: purge deleted files, compact metadata, and finish what a dead process left half-way."""

from __future__ import annotations

import logging
import os

import azure.functions as func

from functions._queues import work_off
from shared.container import Services, services
from shared.index.compaction import COMPACT_QUEUE
from shared.index.removal import PURGE_QUEUE
from shared.ports import JsonObject

bp = func.Blueprint()

_SCHEDULE = os.environ.get("DICOM_SWEEP_SCHEDULE", "0 */10 * * * *")

_log = logging.getLogger("dicom.upkeep")


@bp.function_name("purge_deleted")
@bp.queue_trigger(arg_name="message", queue_name=PURGE_QUEUE, connection="DicomStorage")
async def purge_deleted(message: func.QueueMessage) -> None:
    """Purge the files of one deletion when its retention time is over."""

    async def work(app: Services, body: JsonObject) -> None:
        tenant = await app.tenant(body["tenant"])
        await tenant.delete.purge(body["pk"], body["tombstone"])

    await work_off(message, PURGE_QUEUE, work)


@bp.function_name("compact_metadata")
@bp.queue_trigger(arg_name="message", queue_name=COMPACT_QUEUE, connection="DicomStorage")
async def compact_metadata(message: func.QueueMessage) -> None:
    """Compact the metadata of series that have been quiet."""

    async def work(app: Services, body: JsonObject) -> None:
        await (await app.tenant(body["tenant"])).compactor.handle(body)

    await work_off(message, COMPACT_QUEUE, work)


@bp.function_name("sweep")
@bp.timer_trigger(arg_name="timer", schedule=_SCHEDULE, run_on_startup=False)
async def sweep(timer: func.TimerRequest) -> None:
    """Purge what is due though its message was lost, delete what expires, align what is half."""
    app = await services()
    async for tenant in app.tenants():
        done = {
            "purged": await tenant.delete.purge_due(),
            "expired": await tenant.expiry.delete_expired(),
            "aligned": await tenant.align_unfinished(),
            "announced": await tenant.sequencer.drain(),
            "caught_up": await tenant.tags.catch_up_behind(),
            "tidied": await tenant.operations.tidy(),
            "reported": await tenant.watchers.sweep(),
            "over": await tenant.retention.purge_due(),
        }
        await tenant.fanout.ask_all()
        if any(done.values()):
            _log.info("swept", extra={"tenant": tenant.name, **done})

"""What queue and blob triggers share: work that meets a store which is away is put off.

The host counts deliveries, and after the fifth a message is out of sight. That is for work that
cannot be done; an outage of some minutes would use them up. So the trouble of a store sends the
message anew, later each time, and the host is told that all is well.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeAlias

import azure.functions as func

from shared.container import Services, services
from shared.errors import Throttled, Unavailable
from shared.ports import JsonObject
from shared.telemetry import DEFERRED, QUEUE_AGE, span

_log = logging.getLogger("dicom.queues")

_FIRST_DELAY_S = 5.0
_LONGEST_DELAY_S = 600.0
_MOST_DEFERRALS = 60  # some nine hours
_DEFERRED, _FIRST_ID = "deferred", "firstId"

Work: TypeAlias = Callable[[Services, JsonObject], Awaitable[object]]


async def work_off(message: func.QueueMessage, queue: str, work: Work) -> None:
    """Do the work of a message, or put it off.

    Parameters
    ----------
    message : func.QueueMessage
        The message, a JSON object.
    queue : str
        Where it came from.
    work : Callable
        Is given the services and the message. What it has done before it meets the trouble of a
        store is done again.
    """
    body = json.loads(message.get_body())
    body.setdefault(_FIRST_ID, str(message.id))
    if message.insertion_time is not None:
        age = datetime.now(UTC) - message.insertion_time.astimezone(UTC)
        QUEUE_AGE.record(max(0.0, age.total_seconds()), {"queue": queue})
    await or_later(queue, body, work)


async def or_later(queue: str, body: JsonObject, work: Work) -> None:
    """Do work, or send ``body`` to a queue whose function does it."""
    app = await services()
    try:
        with span(f"work {queue}"):
            await work(app, body)
    except (Throttled, Unavailable) as trouble:
        times = int(body.get(_DEFERRED, 0))
        if times >= _MOST_DEFERRALS:
            raise
        delay_s = min(_FIRST_DELAY_S * 2**times, _LONGEST_DELAY_S)
        later = {**body, _DEFERRED: times + 1}
        await app.queue.send(queue, later, delay_s=delay_s * random.uniform(0.8, 1.2))  # noqa: S311
        DEFERRED.add(1, {"queue": queue})
        _log.warning(
            "put off", extra={"queue": queue, "times": times + 1, "cause": type(trouble).__name__}
        )


def first_id(body: JsonObject) -> str:
    """What names a message, the same however often it was put off."""
    return str(body[_FIRST_ID])

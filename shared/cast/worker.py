"""One message: bring a study up to date, and deal with what goes wrong by its kind.

A message names a study. If the FHIR server is away, the message goes back into the queue, for 2,
4, 8 … at most 60 seconds each time; after ten minutes a row says so, and the message comes every
ten minutes until it succeeds. Nothing else waits for it.

References
----------
Spec dicomcast.md §7, §9.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from shared.cast.failures import Away, Failure, FailureKind, Failures, Refused
from shared.cast.picture import Problem
from shared.errors import CorruptData, ServiceTrouble
from shared.index.documents import iso
from shared.ports import Clock, JsonObject, Queue

CAST_QUEUE = "cast"
CAST_POISON_QUEUE = "cast-poison"

PATIENCE_S = 600.0
"""Seconds of quick retries; then the same between two retries."""

_LONGEST_S = 60.0
_MOST_DOUBLINGS = 10

Sync: TypeAlias = Callable[[str, str], Awaitable[Sequence[Problem]]]
"""Brings the study (partition, UID) up to date; see ``StudySync.sync``."""

_log = logging.getLogger("dicom.cast")


def message_of(tenant: str, partition: str, study: str, sequence: int = 0) -> JsonObject:
    """What asks for a study; ``sequence`` of the change that is the reason, 0 if none is."""
    return {"tenant": tenant, "partition": partition, "study": study, "sequence": sequence}


class Worker:
    """Works on the messages of one tenant.

    Parameters
    ----------
    tenant : str
        Its name.
    sync : Sync
        The work.
    failures : Failures
        Where rows go.
    queue : Queue
        Where messages go that have to wait.
    clock : Clock
        The time.
    """

    def __init__(
        self, tenant: str, sync: Sync, failures: Failures, queue: Queue, clock: Clock
    ) -> None:
        self._tenant = tenant
        self._sync = sync
        self._failures = failures
        self._queue = queue
        self._clock = clock

    async def handle(self, message: JsonObject) -> None:
        """Work on a message. When it returns, the message may be forgotten.

        Raises
        ------
        Throttled, Unavailable
            Our own stores do not take a row or a message: the host delivers this one again.
        """
        partition, study = message["partition"], message["study"]
        try:
            problems = await self._sync(partition, study)
        except CorruptData as corrupt:
            self._tell("corrupt", message, corrupt)
            row = self._row(message, "defect", "Stored data of the study is corrupt")
            await self._failures.put(partition, study, [row])
        except (Away, ServiceTrouble) as away:
            await self._later(message, away)
        except Refused as refused:
            self._tell("refused", message, refused)
            row = self._row(message, "fhir", str(refused))
            await self._failures.put(partition, study, [row])
        else:
            rows = [
                self._row(message, _KINDS[one.kind], one.cause, one.series, one.instance)
                for one in problems
            ]
            await self._failures.put(partition, study, rows)

    async def give_up(self, message: JsonObject) -> None:
        """Note that a message could not be worked on, time after time: a defect."""
        cause = "It could not be worked on; the log says why"
        row = self._row(message, "defect", cause)
        await self._failures.put(message["partition"], message["study"], [row])

    async def _later(self, message: JsonObject, trouble: Exception) -> None:
        now = self._clock.now()
        since = message.get("since") or iso(now)
        tries = int(message.get("tries", 0)) + 1
        waited = (now - datetime.fromisoformat(since)).total_seconds()
        asked_for = (trouble.retry_after_s if isinstance(trouble, Away) else None) or 0.0
        delay = max(min(_LONGEST_S, 2.0 ** min(tries, _MOST_DOUBLINGS)), asked_for)
        self._tell("away", message, trouble)
        if waited + delay > PATIENCE_S:
            delay = PATIENCE_S
            row = self._row(message, "waiting", str(trouble))
            await self._failures.put(message["partition"], message["study"], [row])
        after = {**message, "since": since, "tries": tries}
        await self._queue.send(CAST_QUEUE, after, delay_s=delay)

    def _tell(self, what: str, message: JsonObject, trouble: Exception) -> None:
        _log.warning(
            "cast %s",
            what,
            extra={
                "tenant": self._tenant,
                "tries": message.get("tries", 0),
                "cause": str(trouble) if isinstance(trouble, Away) else type(trouble).__name__,
            },
        )

    def _row(
        self,
        message: JsonObject,
        kind: FailureKind,
        cause: str,
        series: str = "",
        instance: str = "",
    ) -> Failure:
        return Failure(
            message["partition"],
            message["study"],
            kind,
            cause,
            series,
            instance,
            int(message.get("sequence", 0)),
        )


_KINDS: dict[str, FailureKind] = {"refused": "refused", "skipped": "skipped"}

"""DICOMcast of one tenant: what triggers and callers ask of it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from shared.cast.dispatch import Dispatcher
from shared.cast.failures import CastTrouble, Failure, Failures
from shared.cast.lookup import Fhir
from shared.cast.resync import Resync
from shared.cast.worker import CAST_QUEUE, PATIENCE_S, Worker, message_of
from shared.cast_settings import CastSettings
from shared.ports import JsonObject, Queue

_PAGE = 200
_PROBE_S = 5.0

_log = logging.getLogger("dicom.cast")


@dataclass(frozen=True, slots=True)
class CastState:
    """How far it is: sequence numbers of the last change that was sent on, and of the last."""

    enabled: bool
    trouble: str | None
    sent: int
    latest: int


class CastService:
    """Brings the changes of one tenant into its FHIR server."""

    def __init__(
        self,
        tenant: str,
        settings: CastSettings,
        *,
        dispatcher: Dispatcher,
        worker: Worker,
        failures: Failures,
        resync: Resync,
        queue: Queue,
        fhir: Fhir,
    ) -> None:
        self.resync = resync
        self._tenant = tenant
        self._settings = settings
        self._dispatcher = dispatcher
        self._worker = worker
        self._failures = failures
        self._queue = queue
        self._fhir = fhir

    # For triggers ---------------------------------------------------------------------------

    async def dispatch(self) -> int:
        """Send messages for what has changed.

        Turned off, or with the FHIR server away, changes wait in the feed.
        """
        if not self._settings.enabled:
            return 0

        async def is_ready() -> bool:
            return await self._trouble() is None

        return await self._dispatcher.run(is_ready)

    async def handle(self, message: JsonObject) -> None:
        """Work on a message. Turned off, it waits."""
        if self._settings.enabled:
            await self._worker.handle(message)
        else:
            await self._queue.send(CAST_QUEUE, message, delay_s=PATIENCE_S)

    async def give_up(self, message: JsonObject) -> None:
        """Note a message that could not be worked on."""
        await self._worker.give_up(message)

    # For callers ----------------------------------------------------------------------------

    async def state(self) -> CastState:
        """How far it is."""
        sent, latest = await self._dispatcher.position()
        return CastState(self._settings.enabled, await self._trouble(), sent, latest)

    async def replay(self, sequence: int) -> None:
        """Send on all changes again, from the one with this sequence number."""
        await self._dispatcher.replay(sequence)

    async def ask_for(self, partition: str, study: str) -> None:
        """Bring one study up to date soon."""
        await self._dispatcher.send([message_of(self._tenant, partition, study)])

    async def failures(self, *, limit: int, after: str | None = None) -> tuple[list[Failure], str]:
        """See ``Failures.page``."""
        return await self._failures.page(limit=limit, after=after)

    async def retry(self) -> int:
        """Try again each study that has a row; returns how many. Rows go when it succeeds."""
        after: str | None = None
        asked: dict[tuple[str, str], int] = {}
        while after != "":
            rows, after = await self._failures.page(limit=_PAGE, after=after or None)
            fresh = {
                (one.partition, one.study): one.sequence
                for one in rows
                if (one.partition, one.study) not in asked
            }
            asked |= fresh
            await self._dispatcher.send(
                [message_of(self._tenant, *study, sequence) for study, sequence in fresh.items()]
            )
        return len(asked)

    async def _trouble(self) -> str | None:
        """Why the FHIR server cannot be used now; ``None`` if it can."""
        try:
            async with asyncio.timeout(_PROBE_S):
                await self._fhir.search("Endpoint", [("_count", "1")], most=1)
        except TimeoutError:
            trouble = f"The FHIR server does not answer within {_PROBE_S:.0f} s"
        except CastTrouble as told:
            trouble = str(told)
        else:
            return None
        _log.warning("away", extra={"tenant": self._tenant, "cause": trouble})
        return trouble

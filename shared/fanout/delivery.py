"""The delivery of events to the subscriptions of one tenant.

Delivery goes by messages, one for each subscription: none waits for another. A round reads the
source behind the subscription's place, sends a batch, and writes the place under the document's
ETag. A process that dies in between sends the batch again: events come at least once, in order,
and each has an id that never changes. What cannot be delivered for a day is put aside.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.fanout.events import MEDIA_TYPE, SIGNATURE_HEADER, signature
from shared.fanout.models import FAN_OUT_QUEUE, Origin, State, Subscription, Type
from shared.fanout.ports import NotDelivered, Outlets
from shared.fanout.records import Records
from shared.fanout.sources import Entry, Source
from shared.index.documents import iso
from shared.operations.sealing import SealBroken, Sealer
from shared.ports import Clock, Document, JsonObject, Queue

GIVEN_UP_AFTER: Final = timedelta(hours=24)

_BATCH: Final = 50
_BUSY_FOR: Final = timedelta(seconds=60)
_WHILE_BUSY_S: Final = 3.0
_ROUND_S: Final = 60.0
_LONGEST_WAIT_S: Final = 900.0

_log = logging.getLogger("dicom.fanout")


class EventDelivery:
    """Delivers the events of one tenant."""

    def __init__(
        self,
        records: Records,
        sources: Mapping[Origin, Source],
        queue: Queue,
        outlets: Outlets,
        *,
        sealer: Sealer,
        clock: Clock,
        tenant: str,
    ) -> None:
        self._records = records
        self._sources = sources
        self._queue = queue
        self._outlets = outlets
        self._sealer = sealer
        self._clock = clock
        self._tenant = tenant

    async def ask(self, id_: str, delay_s: float = 0) -> None:
        """Have what a subscription has not had delivered by a message."""
        message = {"tenant": self._tenant, "subscription": id_}
        await self._queue.send(FAN_OUT_QUEUE, message, delay_s=delay_s)

    async def work(self, id_: str) -> None:
        """Deliver what a subscription has not had, for a while."""
        began = time.monotonic()
        while time.monotonic() - began < _ROUND_S:
            document = await self._records.find(id_)
            if document is None:
                return
            subscription = Subscription.from_json(document.body)
            now = self._clock.now()
            if subscription.state is not State.ACTIVE or (
                subscription.next_try is not None and subscription.next_try > iso(now)
            ):
                return
            if subscription.busy_until is not None and subscription.busy_until > iso(now):
                await self.ask(id_, _WHILE_BUSY_S)  # a worker is at it, or has died
                return
            after = subscription.cursor
            source = self._sources[subscription.origin]
            entries = await source.entries(subscription, after, after + _BATCH)
            if not entries:
                return
            busy = replace(subscription, busy_until=iso(now + _BUSY_FOR))
            if not await self._records.write(document, busy):
                continue
            held = await self._records.find(id_)
            if held is None or not await self._round(held, busy, entries):
                return
        await self.ask(id_)

    async def _round(
        self, document: Document, subscription: Subscription, entries: Sequence[Entry]
    ) -> bool:
        """Send a batch and write the place; whether to go on."""
        last = entries[-1].number
        try:
            await self._send(subscription, entries)
            after = subscription.settled(last)
        except NotDelivered as trouble:
            after = self._failed(subscription, trouble)
            if after.next_try is None:
                first, moment = entries[0].number, iso(self._clock.now())
                await self._records.put_aside(subscription.id, first, last, str(trouble), moment)
                after = subscription.settled(last)
        if not await self._records.write(document, after):
            # it was changed meanwhile: what was sent is sent again
            await self._records.change(subscription.id, lambda one: replace(one, busy_until=None))
            return True
        if after.next_try is None:
            return True
        wait = datetime.fromisoformat(after.next_try) - self._clock.now()
        await self.ask(subscription.id, max(1.0, wait.total_seconds()))
        return False

    async def _send(self, subscription: Subscription, entries: Sequence[Entry]) -> bool:
        """Send what a subscription asks for; whether there was anything."""
        events: list[JsonObject] = [one.event for one in entries if one.event is not None]
        if not events:
            return False
        body = json.dumps(events, separators=(",", ":")).encode()
        headers = {"Content-Type": MEDIA_TYPE}
        if subscription.type is Type.WEBHOOK:
            try:
                keys = [self._sealer.open(one, subscription.id) for one in subscription.secrets]
            except SealBroken:
                raise NotDelivered("the secret cannot be opened: its key is gone") from None
            seconds = int(self._clock.now().timestamp())
            headers[SIGNATURE_HEADER] = signature(body, keys, seconds)
        await self._outlets.send(subscription, body, headers)
        return True

    def _failed(self, subscription: Subscription, trouble: NotDelivered) -> Subscription:
        """After a failure: when to try again; never, if it has lasted for too long."""
        now = self._clock.now()
        since = subscription.failing_since or iso(now)
        attempts = subscription.attempts + 1
        _log.warning(
            "events could not be delivered",
            extra={"tenant": self._tenant, "subscription": subscription.id, "cause": str(trouble)},
        )
        if now - datetime.fromisoformat(since) >= GIVEN_UP_AFTER:
            return replace(subscription, next_try=None)
        wait = min(2.0 ** min(attempts, 12), _LONGEST_WAIT_S)
        wait *= random.uniform(0.75, 1.25)  # noqa: S311
        if trouble.retry_after_s is not None:
            wait = max(wait, min(trouble.retry_after_s, 4 * _LONGEST_WAIT_S))
        return replace(
            subscription,
            attempts=attempts,
            failing_since=since,
            error=str(trouble)[:200],
            next_try=iso(now + timedelta(seconds=wait)),
            busy_until=None,
        )

    async def redeliver(self, subscription: Subscription) -> tuple[int, int]:
        """Send what was put aside once more; how many ranges went, and how many are left.

        Of event reports that are kept no longer nothing is sent, and nothing is left.

        Raises
        ------
        NotDelivered
            The receiver did not take the first that is left.
        """
        letters = await self._records.dead_letters(subscription.id)
        source = self._sources[subscription.origin]
        sent = gone = 0
        for letter in letters:
            entries = await source.entries(subscription, letter["first"] - 1, letter["last"])
            try:
                went = await self._send(subscription, entries)
            except NotDelivered:
                if not sent:
                    raise
                break
            await self._records.forget(letter)
            sent, gone = sent + went, gone + (not went)
        return sent, len(letters) - sent - gone

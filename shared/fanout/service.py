"""The subscriptions of one tenant, and the delivery of events to them.

Delivery goes by messages, one for each subscription: none waits for another. A round reads the
feed behind the subscription's place, sends a batch, and writes the place under the document's
ETag. A process that dies in between sends the batch again: events come at least once, in order,
and each has an id that never changes. What cannot be delivered for a day is put aside.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from shared.errors import NotFound, OperationRefused, ServiceTrouble, Unavailable
from shared.fanout.events import MEDIA_TYPE, SIGNATURE_HEADER, cloud_event, signature
from shared.fanout.models import (
    DEAD_LETTER,
    FAN_OUT_QUEUE,
    KIND,
    State,
    Subscription,
    Type,
)
from shared.fanout.ports import NotDelivered, Outlets
from shared.feed.reader import ChangeFeed
from shared.index.documents import iso
from shared.index.schema import CONTROL
from shared.operations.sealing import SealBroken, Sealer
from shared.ports import (
    Clock,
    Create,
    Delete,
    Document,
    Documents,
    Ids,
    JsonObject,
    Queue,
    Replace,
)
from shared.where import And, Eq, Order

MOST_SUBSCRIPTIONS: Final = 100
GIVEN_UP_AFTER: Final = timedelta(hours=24)

_BATCH: Final = 50
_BUSY_FOR: Final = timedelta(seconds=60)
_WHILE_BUSY_S: Final = 3.0
_ROUND_S: Final = 60.0
_MOST_ATTEMPTS: Final = 20
_LONGEST_WAIT_S: Final = 900.0
_GATHER_S: Final = 0.2
_KNOWN_FOR_S: Final = 15.0
_PAGE: Final = 200

_log = logging.getLogger("dicom.fanout")


class SubscriptionNotFound(NotFound):
    """There is no such subscription."""


class FanOut:
    """Subscriptions of one tenant.

    Parameters
    ----------
    service_url : str
        Public address of the tenant, without a version.
    """

    def __init__(
        self,
        documents: Documents,
        feed: ChangeFeed,
        queue: Queue,
        outlets: Outlets,
        *,
        sealer: Sealer,
        ids: Ids,
        clock: Clock,
        tenant: str,
        service_url: str,
    ) -> None:
        self._documents = documents
        self._feed = feed
        self._queue = queue
        self._outlets = outlets
        self._sealer = sealer
        self._ids = ids
        self._clock = clock
        self._tenant = tenant
        self._service_url = service_url
        self._known: tuple[float, list[str]] = (float("-inf"), [])
        self._asking: asyncio.Task[None] | None = None

    # Subscriptions ------------------------------------------------------------------------

    @property
    def keeps_secrets(self) -> bool:
        """Whether webhooks can be signed."""
        return self._sealer.has_key

    async def add(
        self, asked: Subscription, *, after: int | None, secret: str | None
    ) -> tuple[Subscription, str | None]:
        """Add a subscription; with it the secret of a webhook, which is shown this once.

        Parameters
        ----------
        asked : Subscription
            Without id.
        after : int or None
            It gets the entries after this one; ``None``: those that come from now on.
        secret : str or None
            Of a webhook; a new one if absent.

        Raises
        ------
        NotDelivered
            The webhook does not want events.
        """
        sealed: tuple[str, ...] = ()
        name = self._ids.unique()
        if asked.type is Type.WEBHOOK:
            await self._outlets.require_consent(asked.endpoint)
            secret = secret or secrets.token_urlsafe(32)
            sealed = (self._sealer.seal(secret, name),)
        cursor = await self._feed.last_sequence() if after is None else after
        new = replace(asked, id=name, created=iso(self._clock.now()), cursor=cursor, secrets=sealed)
        await self._documents.commit(CONTROL.name, KIND, [Create(new.to_json())])
        self._known = (float("-inf"), [])
        await self._ask(new.id)
        return new, secret if sealed else None

    async def all(self) -> list[Subscription]:
        """All subscriptions, the oldest first."""
        found = await self._documents.query(
            CONTROL.name, Eq(("kind",), KIND), limit=MOST_SUBSCRIPTIONS + 1, partition=KIND
        )
        return sorted(map(Subscription.from_json, found), key=lambda one: one.created)

    async def get(self, id_: str) -> Subscription:
        """One subscription.

        Raises
        ------
        SubscriptionNotFound
            There is none.
        """
        return Subscription.from_json((await self._read(id_)).body)

    async def lag(self, subscription: Subscription) -> int:
        """How many entries of the feed come after its place."""
        return max(0, await self._feed.last_sequence() - subscription.cursor)

    async def set_state(self, id_: str, state: State) -> Subscription:
        """Let events flow, or stop them; they wait in the feed."""
        found = await self._change(
            id_, lambda one: replace(one, state=state, next_try=None, attempts=0)
        )
        await self._ask(id_)
        return found

    async def rotate(self, id_: str) -> tuple[Subscription, str]:
        """A new secret for a webhook. The one before it signs too, until the next change."""
        secret = secrets.token_urlsafe(32)
        sealed = self._sealer.seal(secret, id_)
        changed = await self._change(
            id_, lambda one: replace(one, secrets=(sealed, *one.secrets[:1]))
        )
        return changed, secret

    async def remove(self, id_: str) -> None:
        """Remove a subscription and what was put aside for it."""
        document = await self._read(id_)
        await self._documents.commit(CONTROL.name, KIND, [Delete(id_, document.etag)])
        while letters := await self.dead_letters(id_):
            gone = [Delete(letter["id"]) for letter in letters[:90]]
            await self._documents.commit(CONTROL.name, DEAD_LETTER, gone)

    # Delivery -----------------------------------------------------------------------------

    def changed(self) -> None:
        """The feed has grown; nobody waits for the messages."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all_soon())

    async def ask_all(self) -> None:
        """Send a message for each subscription that is active."""
        for id_ in await self._active():
            await self._ask(id_)

    async def work(self, id_: str) -> None:
        """Deliver what a subscription has not had, for a while."""
        began = time.monotonic()
        while time.monotonic() - began < _ROUND_S:
            document = await self._documents.get(CONTROL.name, KIND, id_)
            if document is None:
                return
            subscription = Subscription.from_json(document.body)
            now = self._clock.now()
            if subscription.state is not State.ACTIVE or (
                subscription.next_try is not None and subscription.next_try > iso(now)
            ):
                return
            if subscription.busy_until is not None and subscription.busy_until > iso(now):
                await self._ask(id_, _WHILE_BUSY_S)  # a worker is at it, or has died
                return
            entries = await self._entries(subscription)
            if not entries:
                return
            busy = replace(subscription, busy_until=iso(now + _BUSY_FOR))
            if not await self._written(document, busy):
                continue
            held = await self._documents.get(CONTROL.name, KIND, id_)
            if held is None or not await self._round(held, busy, entries):
                return
        await self._ask(id_)

    async def _round(
        self, document: Document, subscription: Subscription, entries: list[JsonObject]
    ) -> bool:
        """Send a batch and write the place; whether to go on."""
        last = entries[-1]["sequence"]
        wanted = [entry for entry in entries if subscription.wants(entry)]
        try:
            if wanted:
                await self._send(subscription, wanted)
            after = subscription.settled(last)
        except NotDelivered as trouble:
            after = self._failed(subscription, trouble)
            if after.next_try is None:
                await self._put_aside(subscription, entries[0]["sequence"], last, str(trouble))
                after = subscription.settled(last)
        if not await self._written(document, after):
            # it was changed meanwhile: what was sent is sent again
            await self._change(subscription.id, lambda one: replace(one, busy_until=None))
            return True
        if after.next_try is None:
            return True
        wait = datetime.fromisoformat(after.next_try) - self._clock.now()
        await self._ask(subscription.id, max(1.0, wait.total_seconds()))
        return False

    async def _written(self, document: Document, after: Subscription) -> bool:
        try:
            await self._documents.commit(
                CONTROL.name, KIND, [Replace(after.to_json(), document.etag)]
            )
        except OperationRefused:
            return False
        return True

    async def _entries(self, subscription: Subscription) -> list[JsonObject]:
        """The next entries, up to a gap: what is missing is on its way to be seen."""
        after = subscription.cursor
        found = await self._feed.entries(after, after + _BATCH)
        return [one for at, one in enumerate(found) if one["sequence"] == after + 1 + at]

    async def _send(self, subscription: Subscription, entries: Sequence[JsonObject]) -> None:
        events = [cloud_event(entry, self._service_url) for entry in entries]
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

    # What was given up ----------------------------------------------------------------------

    async def dead_letters(self, id_: str) -> list[JsonObject]:
        """What could not be delivered: ranges of sequence numbers, and why."""
        return await self._documents.query(
            CONTROL.name,
            And((Eq(("kind",), DEAD_LETTER), Eq(("subscription",), id_))),
            order=[Order(("id",))],
            limit=_PAGE,
            partition=DEAD_LETTER,
        )

    async def redeliver(self, id_: str) -> tuple[int, int]:
        """Send what was put aside once more; how many ranges went, and how many are left.

        Raises
        ------
        NotDelivered
            The receiver did not take the first that is left.
        """
        subscription = await self.get(id_)
        letters = await self.dead_letters(id_)
        sent = 0
        for letter in letters:
            entries = await self._feed.entries(letter["first"] - 1, letter["last"])
            wanted = [entry for entry in entries if subscription.wants(entry)]
            try:
                if wanted:
                    await self._send(subscription, wanted)
            except NotDelivered:
                if not sent:
                    raise
                break
            await self._documents.commit(CONTROL.name, DEAD_LETTER, [Delete(letter["id"])])
            sent += 1
        return sent, len(letters) - sent

    async def _put_aside(self, subscription: Subscription, first: int, last: int, why: str) -> None:
        letter: JsonObject = {
            "id": f"{subscription.id}|{first:019d}",
            "kind": DEAD_LETTER,
            "subscription": subscription.id,
            "first": first,
            "last": last,
            "error": why[:200],
            "time": iso(self._clock.now()),
        }
        try:
            await self._documents.commit(CONTROL.name, DEAD_LETTER, [Create(letter)])
        except OperationRefused:
            return  # an attempt that died afterwards has done it

    # Messages -----------------------------------------------------------------------------

    async def _ask(self, id_: str, delay_s: float = 0) -> None:
        message = {"tenant": self._tenant, "subscription": id_}
        await self._queue.send(FAN_OUT_QUEUE, message, delay_s=delay_s)

    async def _ask_all_soon(self) -> None:
        await asyncio.sleep(_GATHER_S)
        try:
            await self.ask_all()
        except ServiceTrouble:
            # the sweep asks again
            _log.warning("a delivery could not be asked for", extra={"tenant": self._tenant})

    async def _active(self) -> list[str]:
        read_at, known = self._known
        if time.monotonic() - read_at > _KNOWN_FOR_S:
            known = [one.id for one in await self.all() if one.state is State.ACTIVE]
            self._known = (time.monotonic(), known)
        return known

    # Documents ----------------------------------------------------------------------------

    async def _read(self, id_: str) -> Document:
        document = await self._documents.get(CONTROL.name, KIND, id_)
        if document is None:
            raise SubscriptionNotFound("There is no such subscription.")
        return document

    async def _change(
        self, id_: str, change: Callable[[Subscription], Subscription]
    ) -> Subscription:
        for _ in range(_MOST_ATTEMPTS):
            document = await self._read(id_)
            after = change(Subscription.from_json(document.body))
            try:
                await self._documents.commit(
                    CONTROL.name, KIND, [Replace(after.to_json(), document.etag)]
                )
            except OperationRefused:
                continue
            self._known = (float("-inf"), [])
            return after
        raise Unavailable

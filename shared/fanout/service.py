"""The subscriptions of one tenant: who gets events, and the messages by which they are sent."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from shared.errors import MalformedRequest, OperationRefused, ServiceTrouble, Unavailable
from shared.fanout.delivery import EventDelivery
from shared.fanout.models import FEED_TOPIC, Origin, State, Subscription, Type, mailbox_topic
from shared.fanout.ports import NotDelivered, Outlets
from shared.fanout.records import MOST_SOCKETS, Records
from shared.fanout.sources import Source
from shared.index.documents import iso
from shared.operations.sealing import Sealer
from shared.ports import Clock, Documents, Ids, JsonObject, Queue

_GATHER_S: Final = 0.2
_KNOWN_FOR_S: Final = 15.0

_log = logging.getLogger("dicom.fanout")


class FanOut:
    """Subscriptions of one tenant.

    Parameters
    ----------
    sources : Mapping
        Where the entries of subscriptions come from.
    """

    def __init__(
        self,
        documents: Documents,
        sources: Mapping[Origin, Source],
        queue: Queue,
        outlets: Outlets,
        *,
        sealer: Sealer,
        ids: Ids,
        clock: Clock,
        tenant: str,
    ) -> None:
        self._records = Records(documents)
        self._sources = sources
        self._outlets = outlets
        self._sealer = sealer
        self._ids = ids
        self._clock = clock
        self._tenant = tenant
        self.delivery = EventDelivery(
            self._records, sources, queue, outlets, sealer=sealer, clock=clock, tenant=tenant
        )
        self._known: tuple[float, list[Subscription]] = (float("-inf"), [])
        self._grown: set[str] = set()
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
        cursor = await self._sources[asked.origin].last(asked) if after is None else after
        new = replace(asked, id=name, created=iso(self._clock.now()), cursor=cursor, secrets=sealed)
        await self._records.add(new)
        self._forget()
        await self.delivery.ask(new.id)
        return new, secret if sealed else None

    async def open_socket(self, partition: str, aet: str) -> str:
        """Where an AE may open a socket of Web PubSub, which gets its reports from now on.

        Raises
        ------
        Unavailable
            Web PubSub does not answer.
        MalformedRequest
            Too many AEs have sockets.
        """
        # an AE title may have what the parts of an address may not
        user = f"{self._tenant}|{partition}|{aet.encode().hex()}"
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"webpubsub:{user}").hex
        if await self._records.find(name) is None:
            if sum(one.type is Type.WEB_PUBSUB for one in await self.all()) >= MOST_SOCKETS:
                raise MalformedRequest(f"At most {MOST_SOCKETS} AEs may have sockets.")
            new = Subscription(
                name, Type.WEB_PUBSUB, user, iso(self._clock.now()), partitions=(partition,),
                origin=Origin.WORKLIST, aet=aet,
            )  # fmt: skip
            cursor = await self._sources[Origin.WORKLIST].last(new)
            with contextlib.suppress(OperationRefused):  # another request was faster
                await self._records.add(replace(new, cursor=cursor))
            self._forget()
        try:
            return await self._outlets.socket_address(user)
        except NotDelivered as trouble:
            _log.warning("no socket", extra={"tenant": self._tenant, "cause": str(trouble)})
            raise Unavailable from trouble

    async def all(self) -> list[Subscription]:
        """All subscriptions, the oldest first."""
        return await self._records.all()

    async def get(self, id_: str) -> Subscription:
        """One subscription.

        Raises
        ------
        SubscriptionNotFound
            There is none.
        """
        return Subscription.from_json((await self._records.read(id_)).body)

    async def lag(self, subscription: Subscription) -> int:
        """How many entries come after its place."""
        last = await self._sources[subscription.origin].last(subscription)
        return max(0, last - subscription.cursor)

    async def set_state(self, id_: str, state: State) -> Subscription:
        """Let events flow, at once, or stop them: they wait where they come from."""
        found = await self._records.change(
            id_, lambda one: replace(one, state=state, next_try=None, attempts=0, busy_until=None)
        )
        self._forget()
        await self.delivery.ask(id_)
        return found

    async def rotate(self, id_: str) -> tuple[Subscription, str]:
        """A new secret for a webhook. The one before it signs too, until the next change."""
        secret = secrets.token_urlsafe(32)
        sealed = self._sealer.seal(secret, id_)
        changed = await self._records.change(
            id_, lambda one: replace(one, secrets=(sealed, *one.secrets[:1]))
        )
        return changed, secret

    async def remove(self, id_: str) -> None:
        """Remove a subscription and what was put aside for it."""
        await self._records.remove(id_)
        self._forget()

    async def dead_letters(self, id_: str) -> list[JsonObject]:
        """What could not be delivered: ranges of sequence numbers, and why."""
        return await self._records.dead_letters(id_)

    async def redeliver(self, id_: str) -> tuple[int, int]:
        """See ``EventDelivery.redeliver``."""
        return await self.delivery.redeliver(await self.get(id_))

    # Messages -----------------------------------------------------------------------------

    def feed_grew(self) -> None:
        """The change feed has new entries; nobody waits for the messages."""
        self._grew(FEED_TOPIC)

    def mailbox_grew(self, partition: str, aet: str) -> None:
        """The mailbox of an AE has new reports; nobody waits for the messages."""
        self._grew(mailbox_topic(partition, aet))

    async def ask_all(self) -> None:
        """Send a message for each subscription that is active."""
        for one in await self._active():
            await self.delivery.ask(one.id)

    def _grew(self, topic: str) -> None:
        self._grown.add(topic)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_soon())

    async def _ask_soon(self) -> None:
        try:
            while self._grown:
                await asyncio.sleep(_GATHER_S)
                topics, self._grown = self._grown, set()
                for one in await self._active():
                    if one.topic in topics:
                        await self.delivery.ask(one.id)
        except ServiceTrouble:
            # the sweep asks again
            _log.warning("a delivery could not be asked for", extra={"tenant": self._tenant})

    async def _active(self) -> list[Subscription]:
        read_at, known = self._known
        if time.monotonic() - read_at > _KNOWN_FOR_S:
            known = [one for one in await self.all() if one.state is State.ACTIVE]
            self._known = (time.monotonic(), known)
        return known

    def _forget(self) -> None:
        self._known = (float("-inf"), [])

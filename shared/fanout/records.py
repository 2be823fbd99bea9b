"""Subscriptions and what was given up for them, as documents of the container ``control``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shared.errors import NotFound, OperationRefused, Unavailable
from shared.fanout.models import DEAD_LETTER, KIND, Subscription
from shared.index.schema import CONTROL
from shared.ports import Create, Delete, Document, Documents, JsonObject, Replace
from shared.where import And, Eq, Order

MOST_SUBSCRIPTIONS: Final = 100
MOST_SOCKETS: Final = 1000

_MOST_ATTEMPTS: Final = 20
_PAGE: Final = 200
_AT_ONCE: Final = 90


class SubscriptionNotFound(NotFound):
    """There is no such subscription."""


class Records:
    """The documents of one tenant."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    # Subscriptions ------------------------------------------------------------------------

    async def add(self, subscription: Subscription) -> None:
        """Keep a new subscription."""
        await self._documents.commit(CONTROL.name, KIND, [Create(subscription.to_json())])

    async def all(self) -> list[Subscription]:
        """All subscriptions, the oldest first."""
        found = await self._documents.query(
            CONTROL.name,
            Eq(("kind",), KIND),
            limit=MOST_SUBSCRIPTIONS + MOST_SOCKETS + 1,
            partition=KIND,
        )
        return sorted(map(Subscription.from_json, found), key=lambda one: one.created)

    async def find(self, id_: str) -> Document | None:
        """The document of a subscription, if it is there."""
        return await self._documents.get(CONTROL.name, KIND, id_)

    async def read(self, id_: str) -> Document:
        """The document of a subscription.

        Raises
        ------
        SubscriptionNotFound
            There is none.
        """
        document = await self.find(id_)
        if document is None:
            raise SubscriptionNotFound("There is no such subscription.")
        return document

    async def write(self, document: Document, after: Subscription) -> bool:
        """Replace a document, unless it was changed meanwhile; whether it was replaced."""
        try:
            await self._documents.commit(
                CONTROL.name, KIND, [Replace(after.to_json(), document.etag)]
            )
        except OperationRefused:
            return False
        return True

    async def change(
        self, id_: str, change: Callable[[Subscription], Subscription]
    ) -> Subscription:
        """Change a subscription, whatever others do to it.

        Raises
        ------
        SubscriptionNotFound
            There is none.
        """
        for _ in range(_MOST_ATTEMPTS):
            document = await self.read(id_)
            after = change(Subscription.from_json(document.body))
            if await self.write(document, after):
                return after
        raise Unavailable

    async def remove(self, id_: str) -> None:
        """Remove a subscription, and what was given up for it.

        Raises
        ------
        SubscriptionNotFound
            There is none.
        """
        document = await self.read(id_)
        await self._documents.commit(CONTROL.name, KIND, [Delete(id_, document.etag)])
        while letters := await self.dead_letters(id_):
            gone = [Delete(letter["id"]) for letter in letters[:_AT_ONCE]]
            await self._documents.commit(CONTROL.name, DEAD_LETTER, gone)

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

    async def put_aside(self, id_: str, first: int, last: int, why: str, time: str) -> None:
        """Keep what a subscription was not delivered."""
        letter: JsonObject = {
            "id": f"{id_}|{first:019d}",
            "kind": DEAD_LETTER,
            "subscription": id_,
            "first": first,
            "last": last,
            "error": why[:200],
            "time": time,
        }
        try:
            await self._documents.commit(CONTROL.name, DEAD_LETTER, [Create(letter)])
        except OperationRefused:
            return  # an attempt that died afterwards has done it

    async def forget(self, letter: JsonObject) -> None:
        """Remove what is delivered after all."""
        await self._documents.commit(CONTROL.name, DEAD_LETTER, [Delete(letter["id"])])

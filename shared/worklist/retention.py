"""Work items that are over go when their retention time is over, unless a subscriber locks them.

What is left of one is a tombstone: its UID is never used again, and whoever asks is told that it is
gone. A locked one is looked at again a day later.

References
----------
PS3.4 CC.2.3.1 (Deletion Lock), PS3.18 11.5.3 (410 Gone).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from shared.errors import OperationRefused
from shared.index.documents import iso
from shared.index.schema import WORKLIST
from shared.ports import Clock, Delete, Document, Documents, JsonObject, Replace
from shared.where import Eq, Not, Order, Range
from shared.worklist.subscriptions import Subscriptions

PURGED: Final = "purged"

_ITEM: Final = "item"
_WORK_ITEM: Final = "workitem"
_POSTPONED: Final = timedelta(days=1)
_MOST_ITEMS: Final = 200
_PAGE: Final = 50


class Retention:
    """Purges the work items of one tenant."""

    def __init__(self, documents: Documents, clock: Clock, subscriptions: Subscriptions) -> None:
        self._documents = documents
        self._clock = clock
        self._subscriptions = subscriptions

    async def purge_due(self) -> int:
        """Purge items that are due, those first that became so first; how many went.

        Some 200 at most are looked at, the rest is left to the next call. What a process that died
        has left half-way is finished.
        """
        due = await self._documents.query(
            WORKLIST.name,
            Range(("due",), low="", high=self._now()),
            order=[Order(("due",))],
            limit=_MOST_ITEMS,
            members=("pk",),
        )
        return sum([await self._purge(body["pk"]) for body in due])

    async def _purge(self, pk: str) -> bool:
        """Purge an item, if it is due and not locked; whether it was this call that did."""
        found = await self._documents.get(WORKLIST.name, pk, _ITEM)
        if found is None or found.body.get("due", "~") > self._now():
            return False
        body = found.body
        if body["type"] == _WORK_ITEM:
            if await self._subscriptions.is_locked(body["partition"], body["uid"]):
                later = iso(self._clock.now() + _POSTPONED)
                await self._replace(found, {**body, "due": later})
                return False
            kept = {name: body[name] for name in ("id", "pk", "partition", "uid", "due")}
            if not await self._replace(found, {**kept, "type": PURGED}):
                return False  # somebody has subscribed, or was faster
        await self._clear(pk)
        tombstone = await self._documents.get(WORKLIST.name, pk, _ITEM)
        if tombstone is None or "due" not in tombstone.body:
            return False  # somebody was faster
        done = {name: value for name, value in tombstone.body.items() if name != "due"}
        return await self._replace(tombstone, done)

    async def _clear(self, pk: str) -> None:
        """Delete who was subscribed, and what has not been reported."""
        while page := await self._documents.query(
            WORKLIST.name, Not(Eq(("id",), _ITEM)), limit=_PAGE, partition=pk, members=("id",)
        ):
            for body in page:
                try:
                    await self._documents.commit(WORKLIST.name, pk, [Delete(body["id"])])
                except OperationRefused:
                    continue  # another process was faster

    async def _replace(self, found: Document, body: JsonObject) -> bool:
        """Put a body in place of one that nobody has changed meanwhile; whether it is so."""
        try:
            await self._documents.commit(WORKLIST.name, body["pk"], [Replace(body, found.etag)])
        except OperationRefused:
            return False
        return True

    def _now(self) -> str:
        return iso(self._clock.now())

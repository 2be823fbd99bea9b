"""From the outbox of a work item to the mailboxes of its subscribers.

It may be done by several at a time, and again: a report is put into a mailbox once. Messages ask
for it; the sweep does what a message that was lost should have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from shared.errors import OperationRefused, ServiceTrouble
from shared.index.schema import WORKLIST
from shared.ports import Create, Delete, Documents, JsonObject, Queue
from shared.web.query import SearchQuery, parse_search_query
from shared.where import And, Eq, Order
from shared.worklist.events import EVENT
from shared.worklist.keys import SCOPE, conditions
from shared.worklist.mailboxes import Mailboxes

WORKLIST_QUEUE: Final = "worklist-events"
SUBSCRIBER: Final = "subscriber"
GLOBAL_SUBSCRIBER: Final = "globalSubscriber"
ON: Final = "on"
SUSPENDED: Final = "suspended"
ENDING: Final = "ending"

_PAGE: Final = 50
_MOST_SUBSCRIBERS: Final = 1000

Parameters = Sequence[tuple[str, str]]
"""Names and values of a filter."""

_log = logging.getLogger("dicom.worklist")


class Delivery:
    """Delivers the reports of one tenant."""

    def __init__(
        self, documents: Documents, mailboxes: Mailboxes, queue: Queue, *, tenant: str
    ) -> None:
        self._documents = documents
        self.mailboxes = mailboxes
        self._queue = queue
        self._tenant = tenant
        self._asking: set[asyncio.Task[None]] = set()

    def announce(self, partition: str, uid: str) -> None:
        """Have the reports of a work item delivered; nobody waits for it."""
        task = asyncio.create_task(self._ask_soon(partition, uid))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_soon(self, partition: str, uid: str) -> None:
        try:
            await self.ask({"partition": partition, "uid": uid})
        except ServiceTrouble:
            # the sweep asks again
            _log.warning("a delivery could not be asked for", extra={"tenant": self._tenant})

    async def ask(self, message: JsonObject) -> None:
        """Have something done by a message."""
        await self._queue.send(WORKLIST_QUEUE, {"tenant": self._tenant, **message})

    async def deliver(self, partition: str, uid: str) -> int:
        """Move the reports of a work item to the mailboxes; how many documents there were."""
        pk = item_pk(partition, uid)
        delivered = 0
        while page := await self._documents.query(
            WORKLIST.name,
            Eq(("type",), EVENT),
            order=[Order(("id",))],
            limit=_PAGE,
            partition=pk,
        ):
            for event in page:
                for aet in await self._receivers(event):
                    await self.mailboxes.append(partition, aet, uid, event["reports"])
                try:
                    await self._documents.commit(WORKLIST.name, pk, [Delete(event["id"])])
                except OperationRefused:
                    continue  # another process was faster
            delivered += len(page)
        return delivered

    async def _receivers(self, event: JsonObject) -> list[str]:
        if event["to"] is not None:
            return [event["to"]]
        if event["change"] == 0:
            await self._join_new(event)
        return [one["aet"] for one in await self.subscribers(event["pk"])]

    async def _join_new(self, event: JsonObject) -> None:
        """Subscribe to a new item those who are subscribed to the worklist."""
        for one in await self.global_subscribers(event["partition"]):
            if one["filter"] is not None:
                where = And((Eq(("id",), event["id"]), *conditions(query_of(one["filter"]))))
                if not await self._documents.query(
                    WORKLIST.name, where, limit=1, partition=event["pk"], members=("id",)
                ):
                    continue
            body = {
                "id": one["id"], "pk": event["pk"], "type": SUBSCRIBER,
                "partition": event["partition"], "uid": event["uid"], "aet": one["aet"],
                "lock": one["lock"],
            }  # fmt: skip
            try:
                await self._documents.commit(WORKLIST.name, event["pk"], [Create(body)])
            except OperationRefused:
                continue  # it is subscribed already
            now = await self._documents.get(WORKLIST.name, one["pk"], one["id"])
            if now is None or now.body["state"] == ENDING:  # its walk may have been here before
                await self._documents.commit(WORKLIST.name, event["pk"], [Delete(one["id"])])

    async def subscribers(self, pk: str, most: int = _MOST_SUBSCRIBERS) -> list[JsonObject]:
        """Who is subscribed to a work item."""
        return await self._documents.query(
            WORKLIST.name, Eq(("type",), SUBSCRIBER), limit=most, partition=pk
        )

    async def global_subscribers(
        self, partition: str, states: Sequence[str] = (ON,)
    ) -> list[JsonObject]:
        """Who is subscribed to the worklist."""
        found = await self._documents.query(
            WORKLIST.name,
            Eq(("type",), GLOBAL_SUBSCRIBER),
            limit=_MOST_SUBSCRIBERS,
            partition=global_pk(partition),
        )
        return [one for one in found if one["state"] in states]

    async def sweep(self) -> int:
        """Deliver what messages that were lost should have; of how many work items."""
        found = await self._documents.query(
            WORKLIST.name, Eq(("type",), EVENT), limit=1000, members=("partition", "uid")
        )
        items = {(one["partition"], one["uid"]) for one in found}
        for partition, uid in sorted(items):
            await self.deliver(partition, uid)
        return len(items)


def query_of(parameters: Parameters) -> SearchQuery:
    """The search that a filter asks for.

    Raises
    ------
    MalformedQuery
        It is malformed.
    """
    return parse_search_query([(name, value) for name, value in parameters], SCOPE, most=200)


def item_pk(partition: str, uid: str) -> str:
    """Where a work item lies, and all that belongs to it."""
    return f"{partition}|{uid}"


def global_pk(partition: str) -> str:
    """Where the subscriptions to the worklist lie."""
    return f"{partition}|subscribers"

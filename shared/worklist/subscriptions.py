"""Who is told of what happens to work items (PS3.18 11.10–11.12; PS3.4 CC.2.3).

That an AE is subscribed to an item is a document in the item's own partition, whether it came by
a subscription to the item or to the worklist: so delivery, deletion lock and the cancellation of
an item in progress look there, and nowhere else. A subscription to the worklist, filtered or not,
is a document beside them; it subscribes to what is there by a walk in pages, and to each new item
before the report of its creation is delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from shared.errors import NotFound, OperationRefused, Unavailable
from shared.index.schema import WORKLIST
from shared.ports import (
    Create,
    Delete,
    Documents,
    Ids,
    JsonObject,
    Operation,
    Replace,
    Upsert,
)
from shared.where import And, Eq, Order, Where
from shared.worklist.delivery import (
    ENDING,
    GLOBAL_SUBSCRIBER,
    ON,
    SUBSCRIBER,
    SUSPENDED,
    Delivery,
    Parameters,
    global_pk,
    item_pk,
    query_of,
)
from shared.worklist.events import outbox, state_report
from shared.worklist.keys import conditions

GLOBAL: Final = "1.2.840.10008.5.1.4.34.5"
FILTERED: Final = "1.2.840.10008.5.1.4.34.5.1"

_WORK_ITEM: Final = "workitem"
_ITEM: Final = "item"
_PAGE: Final = 50
_MOST_ATTEMPTS: Final = 20
_NEWEST_FIRST: Final = (Order(("version",), descending=True), Order(("id",)))


class NotSubscribed(NotFound):
    """There is no such subscription."""


class NothingToSubscribeTo(NotFound):
    """There is no such work item."""


class Subscriptions:
    """The subscriptions to the worklist of one tenant."""

    def __init__(self, documents: Documents, delivery: Delivery, ids: Ids) -> None:
        self._documents = documents
        self._delivery = delivery
        self._ids = ids

    @property
    def delivery(self) -> Delivery:
        """Brings the reports to those who are subscribed."""
        return self._delivery

    # One work item ------------------------------------------------------------------------

    async def subscribe(self, partition: str, uid: str, aet: str, *, lock: bool) -> None:
        """Subscribe an AE to a work item; it is told the state at once.

        Raises
        ------
        NothingToSubscribeTo
            There is no such work item.
        """
        await self._delivery.deliver(partition, uid)
        if not await self._join(item_pk(partition, uid), aet, lock=lock, own=True):
            raise NothingToSubscribeTo("The workitem instance is not found.")
        self._delivery.announce(partition, uid)

    async def unsubscribe(self, partition: str, uid: str, aet: str) -> None:
        """End the subscription of an AE to a work item.

        Raises
        ------
        NotSubscribed
            There is none.
        """
        await self._delivery.deliver(partition, uid)
        try:
            await self._documents.commit(WORKLIST.name, item_pk(partition, uid), [Delete(_id(aet))])
        except OperationRefused as refused:
            raise NotSubscribed("The AE is not subscribed to this work item.") from refused

    async def has_subscribers(self, partition: str, uid: str) -> bool:
        """Whether anybody would be told of a request to cancel a work item."""
        await self._delivery.deliver(partition, uid)
        return bool(await self._delivery.subscribers(item_pk(partition, uid), most=1))

    async def is_locked(self, partition: str, uid: str) -> bool:
        """Whether a subscriber wants a work item to be kept (PS3.4 CC.2.3.1, Deletion Lock)."""
        await self._delivery.deliver(partition, uid)
        found = await self._delivery.subscribers(item_pk(partition, uid))
        # a subscription to the worklist may be on its way to this item
        coming = await self._delivery.global_subscribers(partition, (ON, SUSPENDED))
        found += [one for one in coming if one["walk"] is not None]
        return any(one["lock"] for one in found)

    # The worklist -------------------------------------------------------------------------

    async def subscribe_all(
        self, partition: str, aet: str, *, lock: bool, filter_: Parameters | None
    ) -> None:
        """Subscribe an AE to all work items, or to those that match when they are created.

        Raises
        ------
        MalformedQuery
            The filter is malformed.
        """
        if filter_ is not None:
            conditions(query_of(filter_))
        body: JsonObject = {
            "id": _id(aet), "pk": global_pk(partition), "type": GLOBAL_SUBSCRIBER,
            "partition": partition, "aet": aet, "lock": lock,
            "filter": None if filter_ is None else [list(pair) for pair in filter_],
            "state": ON, "generation": self._ids.unique(), "walk": [],
        }  # fmt: skip
        await self._documents.commit(WORKLIST.name, body["pk"], [Upsert(body)])
        await self.walk(partition, aet)

    async def unsubscribe_all(self, partition: str, aet: str, *, filtered: bool) -> None:
        """End the subscription of an AE to the worklist, and to every work item.

        Raises
        ------
        NotSubscribed
            There is none.
        """
        await self._turn(partition, aet, filtered=filtered, state=ENDING, unless=(ENDING,))
        await self.walk(partition, aet)

    async def suspend(self, partition: str, aet: str, *, filtered: bool) -> None:
        """Subscribe an AE to no more new work items.

        Raises
        ------
        NotSubscribed
            It is not subscribed to the worklist.
        """
        await self._turn(
            partition, aet, filtered=filtered, state=SUSPENDED, unless=(ENDING, SUSPENDED)
        )

    async def _turn(
        self, partition: str, aet: str, *, filtered: bool, state: str, unless: Sequence[str]
    ) -> None:
        for _ in range(_MOST_ATTEMPTS):
            found = await self._documents.get(WORKLIST.name, global_pk(partition), _id(aet))
            if (
                found is None
                or found.body["state"] in unless
                or (found.body["filter"] is not None) is not filtered
            ):
                raise NotSubscribed("The AE is not subscribed to this worklist.")
            after = {
                **found.body, "state": state, "generation": self._ids.unique(),
                "walk": [] if state == ENDING else found.body["walk"],
            }  # fmt: skip
            try:
                await self._documents.commit(
                    WORKLIST.name, after["pk"], [Replace(after, found.etag)]
                )
            except OperationRefused:
                continue
            return
        raise Unavailable

    async def walk(self, partition: str, aet: str) -> None:
        """Bring one page of work items to what a subscription to the worklist asks for.

        More pages go by messages. Where it has come to is in the document.
        """
        pk = global_pk(partition)
        found = await self._documents.get(WORKLIST.name, pk, _id(aet))
        if found is None or found.body["walk"] is None:
            return
        body = found.body
        after = await (self._leave_page(body) if body["state"] == ENDING else self._join_page(body))
        last = Replace({**body, "walk": after}, found.etag)
        done: Operation = (
            Delete(body["id"], found.etag) if after is None and body["state"] == ENDING else last
        )
        try:
            await self._documents.commit(WORKLIST.name, pk, [done])
        except OperationRefused:
            after = []  # it was changed meanwhile: see what it asks for now
        if after is not None:
            await self._delivery.ask({"partition": partition, "walk": aet})

    async def _join_page(self, subscriber: JsonObject) -> list[Any] | None:
        terms: list[Where] = [
            Eq(("type",), _WORK_ITEM), Eq(("partition",), subscriber["partition"]),
        ]  # fmt: skip
        if subscriber["filter"] is not None:
            terms += conditions(query_of(subscriber["filter"]))
        page = await self._documents.query(
            WORKLIST.name,
            And(tuple(terms)),
            order=_NEWEST_FIRST,
            limit=_PAGE,
            after=subscriber["walk"] or None,
            members=("id", "pk", "uid", "version"),
        )
        for item in page:
            lock = subscriber["lock"]
            if await self._join(item["pk"], subscriber["aet"], lock=lock, own=False):
                self._delivery.announce(subscriber["partition"], item["uid"])
        return [page[-1]["version"], page[-1]["id"]] if len(page) == _PAGE else None

    async def _leave_page(self, subscriber: JsonObject) -> list[Any] | None:
        where = And(
            (
                Eq(("type",), SUBSCRIBER),
                Eq(("partition",), subscriber["partition"]),
                Eq(("id",), subscriber["id"]),
            )
        )
        page = await self._documents.query(WORKLIST.name, where, limit=_PAGE, members=("id", "pk"))
        for one in page:
            try:
                await self._documents.commit(WORKLIST.name, one["pk"], [Delete(one["id"])])
            except OperationRefused:
                continue  # another process was faster
        return [] if len(page) == _PAGE else None

    # The state of an AE and a work item (PS3.4 Table CC.2.3-2) --------------------------------

    async def _join(self, pk: str, aet: str, *, lock: bool, own: bool) -> bool:
        """Subscribe an AE to an item; whether the item is there.

        Of a subscription to the item itself (``own``) the lock is as it says, and the state is
        reported; one to the worklist adds a lock at most, and the state is reported with a lock.
        An item that changes meanwhile is reported once more.
        """
        reported = None
        for _ in range(_MOST_ATTEMPTS):
            item = await self._documents.get(WORKLIST.name, pk, _ITEM)
            if item is None or item.body.get("type") != _WORK_ITEM:
                return False
            change = item.body.get("changes", 0)
            if reported == change:
                return True
            had = await self._documents.get(WORKLIST.name, pk, _id(aet))
            locked = lock or (not own and had is not None and had.body["lock"])
            body = {
                "id": _id(aet), "pk": pk, "type": SUBSCRIBER, "partition": item.body["partition"],
                "uid": item.body["uid"], "aet": aet, "lock": locked,
            }  # fmt: skip
            wanted: list[Operation] = [Create(body) if had is None else Replace(body, had.etag)]
            if own or lock:
                wanted.append(outbox(item.body, [state_report(item.body["d"])], self._ids, to=aet))
            if "due" in item.body:  # whoever is about to purge it has to look again
                wanted.append(Replace(item.body, item.etag))
            try:
                await self._documents.commit(WORKLIST.name, pk, wanted)
            except OperationRefused:
                continue
            reported = change
        raise Unavailable

    # Messages ---------------------------------------------------------------------------------

    async def work(self, message: JsonObject) -> None:
        """Do what a message asks for."""
        if "walk" in message:
            await self.walk(message["partition"], message["walk"])
        else:
            await self._delivery.deliver(message["partition"], message["uid"])

    async def sweep(self) -> int:
        """Do what messages that were lost should have; how much there was."""
        delivered = await self._delivery.sweep()
        found = await self._documents.query(
            WORKLIST.name,
            Eq(("type",), GLOBAL_SUBSCRIBER),
            limit=1000,
            members=("partition", "aet", "walk"),
        )
        left = [one for one in found if one["walk"] is not None]
        for one in left:
            await self.walk(one["partition"], one["aet"])
        await self._delivery.mailboxes.clear_old()
        return delivered + len(left)


def _id(aet: str) -> str:
    """In hexadecimal digits: an AE title may have what an id may not."""
    return f"{SUBSCRIBER}|{aet.encode().hex()}"

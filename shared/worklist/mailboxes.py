"""What each subscriber is to be told, in one order, kept for a week.

A mailbox is a partition of its own: a head that counts, and the reports. A report is put in once,
for its id is the document's id; whoever delivers reads behind the place that the subscriber has
reached. So the channels (a WebSocket, a webhook, a query) need no state of the sender, and a
subscriber that was away finds what it has missed.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final

from shared.errors import MalformedRequest, OperationRefused, Refusal, Unavailable
from shared.index.schema import WORKLIST
from shared.ports import (
    VERSION_EPOCH,
    VERSION_LOW_BITS,
    Clock,
    Create,
    Delete,
    Document,
    Documents,
    JsonObject,
    Operation,
    Replace,
)
from shared.where import And, Eq, Order, Range

REPORT: Final = "report"
KEPT_FOR: Final = timedelta(days=7)
MOST_REPORTS: Final = 100

_AE_TITLE: Final = re.compile(r"[ -\[\]-~]{1,16}")
_HEAD: Final = "head"
_HEAD_TYPE: Final = "mailbox"
_MOST_ATTEMPTS: Final = 60
_PAGE: Final = 90


class Mailboxes:
    """The mailboxes of one tenant.

    ``appended`` is told of the data partition and the AE that have something new.
    """

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self.appended: Callable[[str, str], None] = lambda _partition, _aet: None
        self._waiting: dict[str, asyncio.Event] = {}

    async def append(
        self, partition: str, aet: str, uid: str, reports: Sequence[JsonObject]
    ) -> None:
        """Put in the reports of one change, unless they are in already."""
        pk = _pk(partition, aet)
        for attempt in range(_MOST_ATTEMPTS):
            head = await self._documents.get(WORKLIST.name, pk, _HEAD)
            try:
                await self._documents.commit(
                    WORKLIST.name,
                    pk,
                    _operations(pk, {"partition": partition, "aet": aet}, uid, head, reports),
                )
            except OperationRefused as refused:
                if refused.index and refused.refusal is Refusal.EXISTS:
                    return  # a process that died, or is at it too
                await asyncio.sleep(random.uniform(0, min(0.002 * 1.5**attempt, 0.5)))  # noqa: S311
            else:
                self._event(pk).set()
                self.appended(partition, aet)
                return
        raise Unavailable

    async def reports(self, partition: str, aet: str, after: int, most: int) -> list[JsonObject]:
        """The reports behind a place, in order."""
        return await self._documents.query(
            WORKLIST.name,
            And((Eq(("type",), REPORT), Range(("version",), low=_place(after + 1)))),
            order=[Order(("version",))],
            limit=most,
            partition=_pk(partition, aet),
        )

    async def place_of(self, partition: str, aet: str, report: str) -> int:
        """The place of a report.

        Raises
        ------
        MalformedRequest
            There is none of that id.
        """
        if report.isascii() and report.isdigit() and len(report) <= 19:
            found = await self._documents.get(WORKLIST.name, _pk(partition, aet), report)
            if found is not None:
                return int(found.body["version"])
        raise MalformedRequest("after: no event report of that id is kept.")

    async def last(self, partition: str, aet: str) -> int:
        """The place of the newest report; 0 if there was none."""
        head = await self._documents.get(WORKLIST.name, _pk(partition, aet), _HEAD)
        return 0 if head is None else int(head.body["last"])

    async def reached(self, partition: str, aet: str) -> int:
        """The place up to which a WebSocket has brought reports."""
        head = await self._documents.get(WORKLIST.name, _pk(partition, aet), _HEAD)
        return 0 if head is None else int(head.body["reached"])

    async def set_reached(self, partition: str, aet: str, place: int) -> None:
        """Move that place on; it never goes back."""
        pk = _pk(partition, aet)
        for _ in range(_MOST_ATTEMPTS):
            head = await self._documents.get(WORKLIST.name, pk, _HEAD)
            if head is None or head.body["reached"] >= place:
                return
            after = Replace({**head.body, "reached": place}, head.etag)
            try:
                await self._documents.commit(WORKLIST.name, pk, [after])
            except OperationRefused:
                continue
            return
        raise Unavailable

    async def grown(self, partition: str, aet: str, seconds: float) -> None:
        """Wait until this process has put something in, or for so long."""
        event = self._event(_pk(partition, aet))
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        event.clear()

    async def clear_old(self) -> int:
        """Remove reports that have been kept for long enough. Returns how many."""
        moment = self._clock.now() - KEPT_FOR - VERSION_EPOCH
        oldest = f"{moment // timedelta(milliseconds=1) << VERSION_LOW_BITS:019d}"
        where = And((Eq(("type",), REPORT), Range(("id",), high=oldest)))
        removed = 0
        while found := await self._documents.query(
            WORKLIST.name, where, limit=_PAGE, members=["id", "pk"]
        ):
            for body in found:
                try:
                    await self._documents.commit(WORKLIST.name, body["pk"], [Delete(body["id"])])
                except OperationRefused:
                    continue  # another process was faster
            removed += len(found)
        return removed

    def _event(self, pk: str) -> asyncio.Event:
        return self._waiting.setdefault(pk, asyncio.Event())


def ae_title(text: str) -> str:
    """An AE title; spaces at its ends have no meaning (PS3.5 6.2).

    Raises
    ------
    MalformedRequest
        It is none.
    """
    if _AE_TITLE.fullmatch(text) is None or not text.strip(" "):
        raise MalformedRequest(
            "The AE title must have 1 to 16 characters of ASCII, without a backslash."
        )
    return text.strip(" ")


def _operations(
    pk: str,
    owner: JsonObject,
    uid: str,
    head: Document | None,
    reports: Sequence[JsonObject],
) -> list[Operation]:
    last = 0 if head is None else head.body["last"]
    new: list[Operation] = [
        Create(
            {
                **report,
                "pk": pk,
                "type": REPORT,
                "partition": owner["partition"],
                "uid": uid,
                "version": _place(last + at),
            }
        )
        for at, report in enumerate(reports, 1)
    ]
    if head is None:
        body = {
            "id": _HEAD, "pk": pk, "type": _HEAD_TYPE, **owner, "last": len(new), "reached": 0,
        }  # fmt: skip
        return [Create(body), *new]
    return [Replace({**head.body, "last": last + len(new)}, head.etag), *new]


def _pk(partition: str, aet: str) -> str:
    return f"{partition}|ae|{aet}"


def _place(number: int) -> str:
    return f"{number:019d}"

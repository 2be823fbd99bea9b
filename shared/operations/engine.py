"""Run operations in steps that survive any crash (architecture §8; spec operations.md §1, §2).

A message means "go on with this operation". Who takes it holds the operation for a while, runs
steps, and writes a checkpoint under the document's ETag after each. A holder that dies leaves
its message, which the queue delivers again and which is let in at once, for it is the same
message. Another message that finds the operation held is a duplicate, and is dropped. So a
message delivered ten times changes nothing, and no step is noted twice.

An operation is let go before the message for its next round is sent: were it the other way round,
that message could find the operation held, and be dropped. A process that dies in between leaves
its own message. Only if that is lost as well does the sweep send a new one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from shared import telemetry
from shared.errors import (
    DicomServiceError,
    OperationNotFound,
    OperationRefused,
    OperationRunning,
    Refusal,
    Unavailable,
    WrongState,
)
from shared.index.documents import iso
from shared.index.schema import CONTROL
from shared.operations.models import KIND, OPERATIONS_QUEUE, SEALED, Kind, Status, Step, Work
from shared.ports import (
    Clock,
    Create,
    Delete,
    Document,
    Documents,
    Ids,
    JsonObject,
    Operation,
    Queue,
    Replace,
)
from shared.where import And, Eq, Exists, Order

HELD_FOR = timedelta(minutes=5)
"""How long a worker that says nothing is believed to be at it."""

FORGOTTEN_AFTER = timedelta(days=7)

_ROUND_S = 60.0  # one message's work; the host gives a function ten minutes
_MOST_ATTEMPTS = 20
_PAGE = 200
_ORDER = (Order(("key",), descending=True),)
# neither input nor checkpoint: they may be large
_TOLD = ("id", "type", "status", "created", "updated", "percent", "results", "error")
_ALL = And((Eq(("kind",), KIND), Exists(("key",))))

_log = logging.getLogger("dicom.operations")


class Engine:
    """The operations of one tenant."""

    def __init__(
        self,
        documents: Documents,
        queue: Queue,
        *,
        ids: Ids,
        clock: Clock,
        tenant: str,
        kinds: Mapping[str, Kind],
        round_s: float = _ROUND_S,
    ) -> None:
        self._documents = documents
        self._queue = queue
        self._ids = ids
        self._clock = clock
        self._tenant = tenant
        self._kinds = kinds
        self._round_s = round_s

    # For callers --------------------------------------------------------------------------

    async def start(
        self, type_: str, asked: JsonObject, *, claims: Sequence[str] = (), id_: str | None = None
    ) -> str:
        """Start an operation; returns its id when it is sure to run.

        Parameters
        ----------
        type_ : str
            One of the engine's kinds.
        asked : JsonObject
            Its input. No secret but a sealed one: it is kept, and operators read it.
        claims : Sequence[str]
            Names that no other unfinished operation may hold.
        id_ : str, optional
            The id, where the caller had to know it before; a new one if absent.

        Raises
        ------
        OperationRunning
            A claim is held; the error names the operation.
        """
        now = iso(self._clock.now())
        body: JsonObject = {
            "id": id_ or self._ids.unique(),
            "kind": KIND,
            "key": self._ids.version(),
            "type": type_,
            "status": Status.NOT_STARTED.value,
            "created": now,
            "updated": now,
            "input": asked,
            "checkpoint": {},
            "results": {},
            "claims": list(claims),
        }
        held = [Create(_claim(name, body["id"])) for name in claims]
        try:
            await self._documents.commit(CONTROL.name, KIND, [*held, Create(body)])
        except OperationRefused as refused:
            if refused.index >= len(held):
                raise
            raise OperationRunning(await self._holder(claims[refused.index])) from refused
        await self._send(body["id"])
        return str(body["id"])

    async def require_free(self, claim: str) -> None:
        """Refuse what ``start`` would refuse, before anything else is looked at.

        Raises
        ------
        OperationRunning
            The claim is held.
        """
        found = await self._documents.get(CONTROL.name, KIND, f"claim|{claim}")
        if found is not None:
            raise OperationRunning(str(found.body["operation"]))

    async def get(self, id_: str) -> JsonObject:
        """The document of an operation.

        Raises
        ------
        OperationNotFound
            There is none of that id, or it is forgotten.
        """
        return (await self._read(id_)).body

    async def page(self, *, limit: int, offset: int) -> list[JsonObject]:
        """What is told of the operations, newest first."""
        return await self._documents.query(
            CONTROL.name,
            _ALL,
            order=_ORDER,
            limit=limit,
            skip=offset,
            partition=KIND,
            members=_TOLD,
        )

    async def cancel(self, id_: str) -> JsonObject:
        """Ask an operation to stop; what it has done so far stays done. Twice is once.

        Raises
        ------
        OperationNotFound
            There is none of that id.
        WrongState
            It is over.
        """
        for _ in range(_MOST_ATTEMPTS):
            document = await self._read(id_)
            if Status(document.body["status"]).final:
                raise WrongState(f"The operation has ended: it is {document.body['status']}.")
            body = {**document.body, "canceling": True}
            if await self._replace(document, body):
                await self._send(id_)
                return body
        raise Unavailable

    # For the queues and the sweep -----------------------------------------------------------

    async def work(self, id_: str, message: str) -> None:
        """Go on with an operation.

        Parameters
        ----------
        id_ : str
            The operation.
        message : str
            What names the message, the same whenever the queue delivers it again.
        """
        document = await self._hold(id_, message)
        if document is None:
            return
        try:
            again = await self._round(document)
        except Exception as error:
            await self._note_trouble(id_, message, error)
            raise
        if again:
            await self._send(id_)

    async def give_up(self, id_: str) -> None:
        """Fail an operation whose message could not be worked on, time after time."""
        for _ in range(_MOST_ATTEMPTS):
            document = await self._documents.get(CONTROL.name, KIND, id_)
            if document is None or Status(document.body["status"]).final:
                return
            trouble = document.body.get("trouble") or "no attempt came to an end"
            reason = f"It was given up after several attempts: {trouble.rstrip('.')}."
            if await self._end(document, Status.FAILED, error=reason):
                return
        raise Unavailable

    async def tidy(self) -> int:
        """Wake operations that nobody works on, and forget old ones. Returns how many."""
        now = self._clock.now()
        stale, old = iso(now - 2 * HELD_FOR), iso(now - FORGOTTEN_AFTER)
        touched = 0
        skip = 0
        while page := await self.page(limit=_PAGE, offset=skip):
            forgotten = 0
            for body in page:
                final = Status(body["status"]).final
                if final and body["updated"] < old:
                    await self._forget(body["id"])
                    forgotten += 1
                elif not final and body["updated"] < stale:
                    await self._send(body["id"])
                    touched += 1
            touched += forgotten
            skip += len(page) - forgotten
        return touched

    # One round ----------------------------------------------------------------------------

    async def _hold(self, id_: str, message: str) -> Document | None:
        """Take an operation, or ``None``: it is over, or another message is at it."""
        for _ in range(_MOST_ATTEMPTS):
            document = await self._documents.get(CONTROL.name, KIND, id_)
            if document is None or Status(document.body["status"]).final:
                return None
            body, now = document.body, self._clock.now()
            if body.get("holder") not in (None, message) and body["heldUntil"] > iso(now):
                return None
            held = {**body, "status": Status.RUNNING.value, **_held(message, now)}
            if await self._replace(document, held):
                return await self._read(id_)
        raise Unavailable

    async def _round(self, document: Document) -> bool:
        """Run steps for a while. Whether there are more to run, by another message."""
        began = time.monotonic()
        holder = document.body["holder"]
        step: Step | None = None
        while True:
            body = document.body
            if step is None or not step.done:  # who asks to stop after the last step is too late
                step = None if body.get("canceling") else await self._step(body)
            if step is None or step.done:
                if await self._end(document, _status_after(step), step):
                    return False
            else:
                over = time.monotonic() - began >= self._round_s
                after = {**_after(body, step), **_held(holder, self._clock.now())}
                telemetry.OPERATION_PERCENT.set(after.get("percent") or 0, {"type": body["type"]})
                for name in ("trouble", *(["holder"] if over else [])):
                    after.pop(name, None)
                if await self._replace(document, after) and over:
                    return True
            # if it was not written, someone asked to stop, or another message holds it now
            document = await self._read(body["id"])
            ended = Status(document.body["status"]).final
            if ended or document.body.get("holder") != holder:
                return False

    async def _step(self, body: JsonObject) -> Step:
        return await self._kinds[body["type"]].step(_work(body))

    async def _end(
        self,
        document: Document,
        status: Status,
        step: Step | None = None,
        *,
        error: str | None = None,
    ) -> bool:
        """Write the end; ``False`` if the operation has changed meanwhile."""
        body = document.body if step is None else _after(document.body, step)
        kind = self._kinds.get(body["type"])
        if kind is not None:
            await kind.end(_work(body), status)
        asked = {name: value for name, value in body["input"].items() if name != SEALED}
        after = {**body, "status": status.value, "input": asked}
        for name in ("holder", "heldUntil", "trouble", "canceling"):
            after.pop(name, None)
        if status is Status.SUCCEEDED and after.get("percent") is not None:
            after["percent"] = 100
        error = error or (step.failed if step is not None else None)
        if error is not None:
            after["error"] = error
        released = [Delete(f"claim|{name}") for name in body["claims"]]
        if not await self._replace(document, after, *released):
            return False
        _log.info(
            "operation ended",
            extra={"tenant": self._tenant, "operation": body["id"], "status": status.value},
        )
        return True

    async def _note_trouble(self, id_: str, message: str, error: Exception) -> None:
        """Write down what an attempt met, for the reason if all of them fail."""
        document = await self._documents.get(CONTROL.name, KIND, id_)
        if document is not None and document.body.get("holder") == message:
            trouble = type(error).__name__
            if isinstance(error, DicomServiceError):  # the message of another may hold anything
                trouble = f"{trouble}: {error}"
            await self._replace(document, {**document.body, "trouble": trouble})

    # Documents ----------------------------------------------------------------------------

    async def _read(self, id_: str) -> Document:
        document = await self._documents.get(CONTROL.name, KIND, id_)
        if document is None or "key" not in document.body:
            raise OperationNotFound("There is no such operation.")
        return document

    async def _replace(self, before: Document, body: JsonObject, *further: Operation) -> bool:
        body = {**body, "updated": iso(self._clock.now())}
        try:
            await self._documents.commit(CONTROL.name, KIND, [Replace(body, before.etag), *further])
        except OperationRefused as refused:
            if refused.index == 0 and refused.refusal in (Refusal.CHANGED, Refusal.MISSING):
                return False
            raise
        return True

    async def _forget(self, id_: str) -> None:
        try:
            await self._documents.commit(CONTROL.name, KIND, [Delete(id_)])
        except OperationRefused:
            return  # another sweep was faster

    async def _holder(self, claim: str) -> str:
        found = await self._documents.get(CONTROL.name, KIND, f"claim|{claim}")
        if found is None:
            raise Unavailable  # it has ended this moment
        return str(found.body["operation"])

    async def _send(self, id_: str) -> None:
        await self._queue.send(OPERATIONS_QUEUE, {"tenant": self._tenant, "operation": id_})


def _claim(name: str, id_: str) -> JsonObject:
    return {"id": f"claim|{name}", "kind": KIND, "operation": id_}


def _held(message: str, now: datetime) -> JsonObject:
    return {"holder": message, "heldUntil": iso(now + HELD_FOR)}


def _work(body: JsonObject) -> Work:
    return Work(body["id"], body["input"], body["checkpoint"], body["results"])


def _after(body: JsonObject, step: Step) -> JsonObject:
    after = {**body, "checkpoint": step.checkpoint, "results": step.results}
    if step.percent is not None:
        after["percent"] = step.percent
    return after


def _status_after(step: Step | None) -> Status:
    if step is None:
        return Status.CANCELED
    return Status.FAILED if step.failed else Status.SUCCEEDED

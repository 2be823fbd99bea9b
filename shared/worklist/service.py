"""Work items of one tenant: create, find, claim, update, complete, cancel.

An item is one document, in a partition of its own. Each change replaces it under the ETag of the
document that was judged: of two claimants one wins, and the other is told. The Transaction UID of
the owner is a member beside the data set, and never leaves the service.

References
----------
Spec worklist.md §3–§9; PS3.4 CC.1.1 (states), PS3.18 11.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from shared.errors import (
    MalformedRequest,
    NotFound,
    OperationRefused,
    Purged,
    Refusal,
    StateConflict,
)
from shared.index.documents import iso
from shared.index.schema import WORKLIST
from shared.ports import Clock, Create, Document, Documents, Ids, JsonObject, Operation, Replace
from shared.search.service import Page
from shared.web.query import SearchQuery, continuation
from shared.where import And, Eq, Order, Range, Where
from shared.worklist.data_sets import CANCELED, canceled, kept, returned, text_of, value_of
from shared.worklist.delivery import item_pk
from shared.worklist.events import (
    SOP_CLASS,
    Report,
    cancel_requested,
    outbox,
    reports_of_change,
    reports_of_creation,
)
from shared.worklist.keys import conditions, terms_of
from shared.worklist.subscriptions import Subscriptions
from shared.worklist.validation import require_final, require_rules

WORK_ITEM: Final = "workitem"
RETENTION: Final = timedelta(days=30)
SCHEDULED, IN_PROGRESS, COMPLETED = "SCHEDULED", "IN PROGRESS", "COMPLETED"
ALREADY_CANCELED: Final = "The UPS is already in the requested state of CANCELED."

_ID: Final = "item"
_TRANSACTION_UID = "00081195"
_SOP_CLASS, _SOP_INSTANCE = "00080016", "00080018"
_STATE, _LABEL, _MODIFIED = "00741000", "00741202", "00404010"
_NEWEST_FIRST: Final = (Order(("version",), descending=True), Order(("id",)))
_MEMBERS: Final = ("id", "version", "uid", "d")


class WorkItemNotFound(NotFound):
    """There is no such work item."""


class WorkItemPurged(Purged):
    """There was such a work item."""


class WorkItemExists(StateConflict):
    """There is a work item of that UID."""


class InconsistentState(MalformedRequest):
    """What is asked does not go with the state or the owner of the work item."""


class CannotCancel(StateConflict):
    """The work item cannot be canceled by others."""


class AlreadyCanceled(StateConflict):
    """The work item is canceled already."""


class ChangedMeanwhile(StateConflict):
    """Somebody else has changed the work item since it was read."""


@dataclass(frozen=True, slots=True)
class StateChange:
    """What a change of state came to; ``warning`` where there was nothing to be done."""

    warning: str | None = None


class WorklistService:
    """The worklist of one tenant.

    ``subscriptions`` deliver the reports of each change; without them, they wait. ``retention`` is
    how long an item stays after it has come to its final state.
    """

    def __init__(
        self,
        documents: Documents,
        ids: Ids,
        clock: Clock,
        subscriptions: Subscriptions | None = None,
        retention: timedelta = RETENTION,
    ) -> None:
        self._documents = documents
        self._ids = ids
        self._clock = clock
        self._subscriptions = subscriptions
        self._retention = retention

    async def create(self, partition: str, uid: str | None, data_set: JsonObject) -> str:
        """Create a work item; its UID.

        Parameters
        ----------
        partition : str
            Data partition, in lower case.
        uid : str or None
            As the address names it.
        data_set : JsonObject
            In DICOM JSON.

        Raises
        ------
        MalformedRequest
            The UID is missing or ambiguous, or the data set breaks the rules.
        WorkItemExists
            There is one.
        """
        own = text_of(data_set, _SOP_INSTANCE)
        name = uid or own
        if name is None:
            raise MalformedRequest("SOPInstanceUID (0008,0018) is missing.")
        if own is not None and own != name:
            raise MalformedRequest("SOPInstanceUID (0008,0018) is not the UID of the address.")
        made = {
            **data_set,
            _SOP_INSTANCE: value_of("UI", name),
            _SOP_CLASS: value_of("UI", SOP_CLASS),
            _MODIFIED: value_of("DT", self._now()),
            _LABEL: value_of("LO", "worklist"),
            _STATE: value_of("CS", SCHEDULED),
        }
        require_rules(made, creating=True)
        made.pop(_TRANSACTION_UID)
        body: JsonObject = {
            "id": _ID,
            "pk": item_pk(partition, name),
            "type": WORK_ITEM,
            "partition": partition,
            "uid": name,
            "version": self._ids.version(),
            "owner": None,
            "changes": 0,
            "q": terms_of(made),
            "d": kept(made),
        }
        try:
            reports = outbox(body, reports_of_creation(made), self._ids)
            await self._documents.commit(WORKLIST.name, body["pk"], [Create(body), reports])
        except OperationRefused as refused:
            if refused.refusal is not Refusal.EXISTS:
                raise
            raise WorkItemExists("There is or was a work item of that UID already.") from refused
        self._announce(body)
        return name

    async def retrieve(self, partition: str, uid: str) -> JsonObject:
        """The data set of a work item, without its Transaction UID.

        Raises
        ------
        WorkItemNotFound
            There is none.
        """
        found: JsonObject = (await self._read(partition, uid)).body["d"]
        return found

    async def update(
        self, partition: str, uid: str, transaction: str | None, data_set: JsonObject
    ) -> None:
        """Put attributes in place of those of a work item.

        Raises
        ------
        WorkItemNotFound
            There is none.
        InconsistentState
            It is final, or the Transaction UID is not its owner's.
        MalformedRequest
            The data set breaks the rules.
        ChangedMeanwhile
            Somebody else was faster.
        """
        document = await self._read(partition, uid)
        state = _state(document.body)
        if state in (COMPLETED, CANCELED):
            raise InconsistentState(f"The work item is {state} and cannot be updated (C300).")
        if state == SCHEDULED and transaction is not None:
            raise InconsistentState("The work item is not in progress: it has no Transaction UID.")
        if state == IN_PROGRESS and transaction is None:
            raise InconsistentState("The Transaction UID of the owner is missing (C301).")
        if state == IN_PROGRESS and transaction != document.body["owner"]:
            raise InconsistentState("The Transaction UID is not that of the owner (C301).")
        changes = {tag: value for tag, value in data_set.items() if tag != _TRANSACTION_UID}
        changes[_MODIFIED] = value_of("DT", self._now())
        require_rules(changes, creating=False)
        await self._write(document, {**document.body["d"], **changes}, document.body["owner"])

    async def change_state(self, partition: str, uid: str, data_set: JsonObject) -> StateChange:
        """Claim, complete or cancel a work item as its owner.

        Raises
        ------
        MalformedRequest
            The Transaction UID or the state is missing or none; or the work item lacks what a final
            state needs.
        WorkItemNotFound
            There is none.
        InconsistentState
            The state cannot follow, or the Transaction UID is another one.
        ChangedMeanwhile
            Somebody else was faster.
        """
        transaction, target = text_of(data_set, _TRANSACTION_UID), text_of(data_set, _STATE)
        if not transaction:
            raise MalformedRequest("TransactionUID (0008,1195) is missing.")
        if target not in (IN_PROGRESS, COMPLETED, CANCELED):
            why = " (C303)" if target == SCHEDULED else ""
            raise MalformedRequest(
                f"ProcedureStepState (0074,1000) must be IN PROGRESS, COMPLETED or CANCELED{why}."
            )
        document = await self._read(partition, uid)
        state, owner = _state(document.body), document.body["owner"]
        claims = state == SCHEDULED and target == IN_PROGRESS
        if not claims and transaction != owner:
            raise _refusal(target, "the Transaction UID is not that of the owner", "C301")
        if state == IN_PROGRESS and target == IN_PROGRESS:
            raise _refusal(target, "the work item is in progress already", "C302")
        if state in (COMPLETED, CANCELED):
            if state == target:
                code = "B306" if state == COMPLETED else "B304"
                return StateChange(f"The work item is already {state} ({code}).")
            raise _refusal(target, f"the work item is {state}", "C300")
        after = {**document.body["d"], _STATE: value_of("CS", target)}
        if target != IN_PROGRESS:
            require_final(after, target)
        await self._write(document, after, transaction)
        return StateChange()

    async def request_cancellation(self, partition: str, uid: str, data_set: JsonObject) -> bool:
        """Cancel a work item that nobody has claimed, or ask the subscribers of one in progress.

        Returns
        -------
        bool
            Whether it is canceled; else its owner may do so, or not.

        Raises
        ------
        WorkItemNotFound
            There is none.
        AlreadyCanceled, CannotCancel
            Its state does not allow it.
        """
        document = await self._read(partition, uid)
        state = _state(document.body)
        if state == CANCELED:
            raise AlreadyCanceled(ALREADY_CANCELED)
        if state == COMPLETED:
            raise CannotCancel("The work item is COMPLETED (C311).")
        if state == IN_PROGRESS:
            await self._pass_on(document.body, cancel_requested(data_set))
            return False
        after = canceled(document.body["d"], data_set, self._now())
        require_final(after, CANCELED)
        await self._write(document, after, None)
        return True

    async def search(self, query: SearchQuery, partition: str, *, count: bool = False) -> Page:
        """One page of work items, newest first.

        Raises
        ------
        MalformedQuery
            A value is malformed.
        """
        terms: list[Where] = [Eq(("type",), WORK_ITEM), Eq(("partition",), partition)]
        where = And((*terms, *conditions(query)))
        after = query.after
        seek = where if after is None else And((where, Range(("version",), high=after[0])))
        found = await self._documents.query(
            WORKLIST.name,
            seek,
            order=_NEWEST_FIRST,
            limit=query.limit + 1,
            after=after,
            skip=query.offset,
            members=_MEMBERS,
        )
        total = await self._documents.count(WORKLIST.name, where) if count else None
        bodies, more = found[: query.limit], len(found) > query.limit
        rows = [returned(body["d"], query) for body in bodies]
        last = bodies[-1] if more else None
        return Page(rows, continuation(last["version"], last["id"]) if last else None, total)

    async def _read(self, partition: str, uid: str) -> Document:
        found = await self._documents.get(WORKLIST.name, item_pk(partition, uid), _ID)
        if found is None:
            raise WorkItemNotFound("The workitem instance is not found.")
        if found.body["type"] != WORK_ITEM:
            raise WorkItemPurged("The workitem instance is gone.")
        return found

    async def _write(self, document: Document, data_set: JsonObject, owner: str | None) -> None:
        body = {
            **document.body,
            "owner": owner,
            "changes": document.body.get("changes", 0) + 1,
            "q": terms_of(data_set),
            "d": kept(data_set),
        }
        if _state(body) in (COMPLETED, CANCELED):
            body["due"] = iso(self._clock.now() + self._retention)
        operations: list[Operation] = [Replace(body, document.etag)]
        if reports := reports_of_change(document.body["d"], body["d"]):
            operations.append(outbox(body, reports, self._ids))
        try:
            await self._documents.commit(WORKLIST.name, body["pk"], operations)
        except OperationRefused as refused:
            raise ChangedMeanwhile("Somebody else has changed the work item.") from refused
        if reports:
            self._announce(body)

    async def _pass_on(self, item: JsonObject, report: Report) -> None:
        """Report what changes nothing, to those who can do something about it."""
        listening = self._subscriptions is not None and await self._subscriptions.has_subscribers(
            item["partition"], item["uid"]
        )
        if not listening:
            raise CannotCancel("The performer of the work item cannot be asked to stop (C312).")
        kept = outbox(item, [report], self._ids)
        await self._documents.commit(WORKLIST.name, item["pk"], [kept])
        self._announce(item)

    def _announce(self, item: JsonObject) -> None:
        if self._subscriptions is not None:
            self._subscriptions.delivery.announce(item["partition"], item["uid"])

    def _now(self) -> str:
        moment: datetime = self._clock.now()
        return moment.strftime("%Y%m%d%H%M%S.%f")


def _refusal(target: str, why: str, code: str) -> InconsistentState:
    return InconsistentState(f"The state cannot become {target}: {why} ({code}).")


def _state(body: JsonObject) -> str:
    return str(text_of(body["d"], _STATE))

"""Subscriptions to the change feed, as documents of the container ``control``.

A subscription keeps its own place in the feed, so one that cannot be reached waits by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from shared.ports import JsonObject

KIND: Final = "subscription"
DEAD_LETTER: Final = "deadLetter"
FAN_OUT_QUEUE: Final = "fan-out"
ACTIONS: Final = ("Create", "Update", "Delete")


class Type(StrEnum):
    """Where events go."""

    WEBHOOK = "webhook"
    QUEUE = "queue"
    EVENT_GRID = "eventGrid"


class State(StrEnum):
    """Whether events go there."""

    ACTIVE = "active"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscriber.

    Parameters
    ----------
    id : str
        32 hexadecimal digits.
    type, endpoint
        Where events go: the address of a webhook, or the name of a queue; empty for Event Grid,
        whose topic is a setting.
    actions, partitions : tuple of str
        Only entries with these; empty: with any. Partitions in lower case.
    state : State
        See there.
    cursor : int
        Sequence number of the last entry that is settled: delivered, or not asked for, or given
        up.
    attempts : int
        Failed ones since the last success.
    next_try, failing_since : str or None
        Moments as ``iso`` writes them.
    error : str or None
        What the last attempt met.
    secrets : tuple of str
        Sealed; the first one is the newest.
    created : str
        The moment.
    busy_until : str or None
        Until when a worker that is sending is believed to be at it.
    """

    id: str
    type: Type
    endpoint: str
    created: str
    actions: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    state: State = State.ACTIVE
    cursor: int = 0
    attempts: int = 0
    next_try: str | None = None
    failing_since: str | None = None
    error: str | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    busy_until: str | None = None

    def wants(self, entry: JsonObject) -> bool:
        """Whether an entry of the feed is asked for."""
        return (not self.actions or entry["action"] in self.actions) and (
            not self.partitions or entry["partition"].lower() in self.partitions
        )

    def settled(self, sequence: int) -> Subscription:
        """After a success, up to an entry."""
        return replace(
            self,
            cursor=sequence,
            attempts=0,
            next_try=None,
            failing_since=None,
            error=None,
            busy_until=None,
        )

    def to_json(self) -> JsonObject:
        """The document."""
        return {
            "id": self.id, "kind": KIND, "type": self.type.value, "endpoint": self.endpoint,
            "created": self.created, "actions": list(self.actions),
            "partitions": list(self.partitions), "state": self.state.value,
            "cursor": self.cursor, "attempts": self.attempts, "nextTry": self.next_try,
            "failingSince": self.failing_since, "error": self.error,
            "secrets": list(self.secrets), "busyUntil": self.busy_until,
        }  # fmt: skip

    @staticmethod
    def from_json(body: dict[str, Any]) -> Subscription:
        """Read what ``to_json`` wrote."""
        return Subscription(
            body["id"], Type(body["type"]), body["endpoint"], body["created"],
            tuple(body["actions"]), tuple(body["partitions"]), State(body["state"]),
            body["cursor"], body["attempts"], body["nextTry"], body["failingSince"],
            body["error"], tuple(body["secrets"]), body["busyUntil"],
        )  # fmt: skip

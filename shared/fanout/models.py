"""Subscriptions, as documents of the container ``control``.

A subscription keeps its own place in its source, so one that cannot be reached waits by itself.
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
FEED_TOPIC: Final = "changeFeed"


class Origin(StrEnum):
    """What is subscribed to."""

    FEED = "changeFeed"
    WORKLIST = "worklist"


class Type(StrEnum):
    """Where events go."""

    WEBHOOK = "webhook"
    QUEUE = "queue"
    EVENT_GRID = "eventGrid"
    WEB_PUBSUB = "webPubSub"


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
        Where events go: the address of a webhook, the name of a queue, or a user of Web PubSub;
        empty for Event Grid, whose topic is a setting.
    actions, partitions : tuple of str
        Only entries with these; empty: with any. Partitions in lower case; of the worklist one.
    state : State
        See there.
    cursor : int
        Number of the last entry that is settled: delivered, or not asked for, or given up.
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
    origin : Origin
        See there.
    aet : str
        Of the worklist: whose event reports it gets.
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
    origin: Origin = Origin.FEED
    aet: str = ""

    @property
    def mailbox(self) -> tuple[str, str]:
        """Data partition and AE title whose event reports it gets."""
        return self.partitions[0], self.aet

    @property
    def topic(self) -> str:
        """What has to grow for it to have something to deliver."""
        return FEED_TOPIC if self.origin is Origin.FEED else mailbox_topic(*self.mailbox)

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
            "origin": self.origin.value, "aet": self.aet,
        }  # fmt: skip

    @staticmethod
    def from_json(body: dict[str, Any]) -> Subscription:
        """Read what ``to_json`` wrote."""
        return Subscription(
            body["id"], Type(body["type"]), body["endpoint"], body["created"],
            tuple(body["actions"]), tuple(body["partitions"]), State(body["state"]),
            body["cursor"], body["attempts"], body["nextTry"], body["failingSince"],
            body["error"], tuple(body["secrets"]), body["busyUntil"],
            Origin(body.get("origin", Origin.FEED)), body.get("aet", ""),
        )  # fmt: skip


def mailbox_topic(partition: str, aet: str) -> str:
    """See ``Subscription.topic``."""
    return f"{partition}|{aet}"

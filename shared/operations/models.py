"""What an operation is, and what a kind of operation has to bring (architecture §8).

The document of an operation, in the container ``control``::

    id         32 hexadecimal digits
    kind       ``operation``, the partition key
    key        a version made at the start: operations sort by it
    type       ``reconcile``, …
    status     one of ``Status``
    created, updated   UTC, ISO 8601
    input      what was asked. A secret is in it sealed only (``shared.operations.sealing``), as the
               member ``sealed``, which the end takes out
    checkpoint where the next step begins; written by the kind
    percent    0–100, or absent
    results    counts and messages for the caller; ``resources`` in it: addresses of what came of
               it, below the service (``extendedquerytags/00100020``) or absolute
    claims     names that only one unfinished operation may hold
    holder, held_until   the message that works on it, and until when that is believed
    canceling  it is to stop
    trouble    the error that the last attempt met: its class, and what it tells clients
    error      why it failed

A claim is a document of its own, ``claim|{name}``, made and removed in the same commit as the
start and the end of its operation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from shared.ports import JsonObject

KIND = "operation"
SEALED = "sealed"
RESOURCES = "resources"
OPERATIONS_QUEUE = "operations"
OPERATIONS_POISON_QUEUE = "operations-poison"


class Status(StrEnum):
    """Where an operation stands (spec operations.md §2)."""

    NOT_STARTED = "notStarted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """Whether it never changes again."""
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)


@dataclass(frozen=True, slots=True)
class Work:
    """What a step is given: the operation's input, and what the step before left."""

    id: str
    input: JsonObject
    checkpoint: JsonObject
    results: JsonObject


@dataclass(frozen=True, slots=True)
class Step:
    """What a step came to.

    Parameters
    ----------
    checkpoint : JsonObject
        Where the next step begins.
    results : JsonObject
        Counts and messages so far.
    percent : int or None
        How much is done, 0–100.
    done : bool
        This was the last step.
    failed : str or None
        The operation is over and failed, for this reason; ``done`` is then set too.
    """

    checkpoint: JsonObject
    results: JsonObject = field(default_factory=dict)
    percent: int | None = None
    done: bool = False
    failed: str | None = None


class Kind(Protocol):
    """One type of operation.

    A step may run again after it has done its work but before that was noted, and, rarely, twice
    at the same time: what must happen once is committed with what tells that it has happened.
    """

    async def step(self, work: Work) -> Step:
        """Do a bounded piece, well within the five minutes that a worker holds the operation."""
        ...

    async def end(self, work: Work, status: Status) -> None:
        """Put away what belongs to the operation, before its end is written. May run twice."""
        ...

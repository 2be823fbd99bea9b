"""The sequencer: every outbox document once, in one order, whoever appends and whatever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.feed.sequencer import Sequencer
from shared.index import shapes
from shared.ports import Create, Delete, JsonObject, Operation
from shared.where import Eq, Order
from tests.support.fakes import FixedClock, TroubledDocuments


@pytest.fixture
async def documents(tmp_path: Path) -> AsyncIterator[TroubledDocuments]:
    """An empty tenant's documents."""
    made = TroubledDocuments(tmp_path / "index.sqlite")
    yield made
    await made.close()


_made = iter(range(10**9))


def _outbox(changes: int = 1, study: str = "1.2") -> JsonObject:
    version = f"{next(_made):019d}"
    return {
        "id": f"outbox|{version}",
        "pk": f"p|{study}",
        "type": shapes.OUTBOX,
        "partition": "P",
        "study": study,
        "version": version,
        "created": "2026-01-01T00:00:00.000000Z",
        "changes": [
            {"action": "Create", "series": "1.3", "instance": f"{version}.{n}", "version": version}
            for n in range(changes)
        ],
    }


async def _commit(documents: TroubledDocuments, *outboxes: JsonObject) -> None:
    for outbox in outboxes:
        await documents.commit("index", outbox["pk"], [Create(outbox)])


async def _entries(documents: TroubledDocuments) -> list[JsonObject]:
    found = await documents.query(
        "changes", Eq(("type",), "entry"), order=[Order(("sequence",))], limit=10_000
    )
    sequences = [entry["sequence"] for entry in found]
    assert sequences == list(range(1, len(found) + 1)), "no gap, no double"
    times = [entry["timestamp"] for entry in found]
    assert times == sorted(set(times)), "the order of times is that of sequence numbers"
    return found


async def _left(documents: TroubledDocuments) -> list[JsonObject]:
    return await documents.query("index", Eq(("type",), shapes.OUTBOX), limit=10_000)


def _instances(outboxes: Sequence[JsonObject]) -> list[str]:
    return [change["instance"] for outbox in outboxes for change in outbox["changes"]]


async def test_announced_documents_become_entries_and_leave_the_outbox(
    documents: TroubledDocuments,
) -> None:
    sequencer = Sequencer(documents, FixedClock())
    outboxes = [_outbox(changes) for changes in (1, 90, 3)]
    await _commit(documents, *outboxes)
    for outbox in outboxes:
        sequencer.announce(outbox, sequencer.open_bucket)
    await sequencer.settled()
    assert [entry["instance"] for entry in await _entries(documents)] == _instances(outboxes)
    assert not await _left(documents)


async def test_those_who_commit_together_share_an_append(documents: TroubledDocuments) -> None:
    sequencer = Sequencer(documents, FixedClock())
    outboxes = [_outbox() for _ in range(40)]
    await _commit(documents, *outboxes)
    appends = 0

    def count(operations: Sequence[Operation]) -> None:
        nonlocal appends
        appends += any("sequence" in getattr(one, "body", {}) for one in operations)

    documents.failing = count
    for outbox in outboxes:
        sequencer.announce(outbox, sequencer.open_bucket)
    await sequencer.settled()
    assert len(await _entries(documents)) == 40
    assert appends == 1


@pytest.mark.spec("change-feed", 28)
async def test_many_processes_and_drains_at_once_and_buckets_that_close(
    documents: TroubledDocuments,
) -> None:
    clock = FixedClock()
    processes = [Sequencer(documents, clock, bucket_entries=7) for _ in range(4)]
    made: list[JsonObject] = []

    async def announced(sequencer: Sequencer, changes: int, drains: bool) -> None:
        outbox = _outbox(changes)
        made.append(outbox)
        bucket = sequencer.open_bucket
        await _commit(documents, outbox)
        sequencer.announce(outbox, bucket)
        if drains:
            await sequencer.drain()
        await sequencer.settled()

    rounds = [(changes, changes == drained) for drained in (1, 2, 3) for changes in (2, 3, 1, 3)]
    for changes, drains in rounds:
        await asyncio.gather(*(announced(each, changes, drains) for each in processes))
    await processes[0].drain()
    entries = await _entries(documents)
    assert sorted(entry["instance"] for entry in entries) == sorted(_instances(made))
    assert not await _left(documents)
    # however they were gathered, a round of eight or twelve entries closes one at least
    assert len({entry["bucket"] for entry in entries}) >= sum(changes > 1 for changes, _ in rounds)
    heads = await documents.query("changes", Eq(("type",), "head"), limit=100)
    assert [head["closed"] for head in sorted(heads, key=lambda head: str(head["bucket"]))][
        :-1
    ] == [True] * (len(heads) - 1)


class _Died(Exception):
    pass


@pytest.mark.parametrize("dies_at", range(1, 8))
async def test_a_process_that_dies_before_any_write_loses_and_doubles_nothing(
    documents: TroubledDocuments, dies_at: int
) -> None:
    outboxes = [_outbox(2) for _ in range(3)]
    await _commit(documents, *outboxes)
    left = dies_at

    def die(_operations: Sequence[Operation]) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise _Died

    documents.failing = die
    first = Sequencer(documents, FixedClock(), bucket_entries=4)
    try:
        for outbox in outboxes:
            await first._append([*_waiting(outbox)])
    except _Died:
        pass
    documents.failing = lambda _operations: None
    second = Sequencer(documents, FixedClock(), bucket_entries=4)
    more = _outbox()
    await _commit(documents, more)
    second.announce(more, second.open_bucket)
    await second.settled()
    await second.drain()
    entries = await _entries(documents)
    assert sorted(entry["instance"] for entry in entries) == sorted(_instances([*outboxes, more]))
    assert not await _left(documents)


def _waiting(outbox: JsonObject) -> list[Any]:
    from shared.feed.sequencer import _Waiting

    return [_Waiting(outbox, None)]


async def test_appended_by_another_as_the_last_of_a_bucket_is_not_appended_again(
    documents: TroubledDocuments,
) -> None:
    one = Sequencer(documents, FixedClock(), bucket_entries=1)
    other = Sequencer(documents, FixedClock(), bucket_entries=1)
    await _commit(documents, _outbox())
    await one.drain()
    bucket = one.open_bucket
    outbox = _outbox()
    await _commit(documents, outbox)
    documents.failing = _refuse_deletions
    with pytest.raises(Unavailable):
        await other.drain()  # appends it, closes the bucket, and dies before it deletes it
    documents.failing = lambda _operations: None
    one.announce(outbox, bucket)
    await one.settled()
    assert len(await _entries(documents)) == 2
    assert not await _left(documents)


def _refuse_deletions(operations: Sequence[Operation]) -> None:
    if isinstance(operations[0], Delete):
        raise Unavailable


async def test_trouble_leaves_it_to_the_outbox(documents: TroubledDocuments) -> None:
    sequencer = Sequencer(documents, FixedClock())
    outbox = _outbox()
    await _commit(documents, outbox)

    def away(_operations: Sequence[Operation]) -> None:
        raise Unavailable

    documents.failing = away
    sequencer.announce(outbox, None)
    await sequencer.settled()
    documents.failing = lambda _operations: None
    assert len(await _left(documents)) == 1
    assert await sequencer.drain() == 1
    assert len(await _entries(documents)) == 1


async def test_a_clock_that_runs_back_does_not_turn_time_round(
    documents: TroubledDocuments,
) -> None:
    clock = FixedClock()
    sequencer = Sequencer(documents, clock)
    for step in (0.0, -3600.0, 1.0):
        clock.pass_by(seconds=step)
        await _commit(documents, _outbox(2))
        await sequencer.drain()
    assert len(await _entries(documents)) == 6

"""Operations: each step is noted once, whatever dies, comes twice or comes late."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.adapters.system import RandomIds
from shared.errors import OperationNotFound, OperationRunning, Unavailable, WrongState
from shared.operations.engine import Engine
from shared.operations.models import OPERATIONS_QUEUE, Status, Step, Work
from tests.support.fakes import FixedClock, MemoryQueue, TroubledDocuments

_STEPS = 3


class Died(BaseException):
    """The process is gone: nothing may catch it."""


@dataclass
class Counting:
    """Counts to three; ``during`` is called within each step."""

    ended: list[Status] = field(default_factory=list)
    ran: list[int] = field(default_factory=list)
    during: Callable[[], None] = lambda: None
    failed: str | None = None

    async def step(self, work: Work) -> Step:
        at = work.checkpoint.get("at", 0) + 1
        self.ran.append(at)
        self.during()
        last = at == _STEPS
        return Step({"at": at}, {"counted": at}, at * 100 // _STEPS, last, self.failed)

    async def end(self, work: Work, status: Status) -> None:
        self.ended.append(status)


@dataclass
class Bench:
    """An engine and what it stands on."""

    engine: Engine
    kind: Counting
    documents: TroubledDocuments
    queue: MemoryQueue
    clock: FixedClock

    async def deliver(self, most: int = 20) -> None:
        """Deliver messages until there are none."""
        for number in range(most):
            if not self.queue.sent:
                return
            _, message, _ = self.queue.sent.pop(0)
            await self.engine.work(message["operation"], f"delivery {number}")
        raise AssertionError("messages without end")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    documents, queue = TroubledDocuments(tmp_path / "index.sqlite"), MemoryQueue()
    clock, kind = FixedClock(datetime(2026, 1, 1, tzinfo=UTC)), Counting()
    engine = Engine(
        documents,
        queue,
        ids=RandomIds(),
        clock=clock,
        tenant="main",
        kinds={"count": kind},
        round_s=0,  # one step a message
    )
    yield Bench(engine, kind, documents, queue, clock)
    await documents.close()


async def test_it_runs_to_its_end_a_step_a_message(bench: Bench) -> None:
    id_ = await bench.engine.start("count", {"to": 3})
    assert (await bench.engine.get(id_))["status"] == "notStarted"
    assert bench.queue.sent == [(OPERATIONS_QUEUE, {"tenant": "main", "operation": id_}, 0)]
    await bench.deliver()
    body = await bench.engine.get(id_)
    assert (body["status"], body["percent"]) == ("succeeded", 100)
    assert body["results"] == {"counted": 3}
    assert bench.kind.ran == [1, 2, 3]
    assert bench.kind.ended == [Status.SUCCEEDED]


async def test_a_message_delivered_ten_times_changes_nothing(bench: Bench) -> None:
    id_ = await bench.engine.start("count", {})
    bench.queue.sent *= 10
    await bench.deliver(60)
    assert bench.kind.ran == [1, 2, 3]
    before = await bench.engine.get(id_)
    for _ in range(10):
        await bench.engine.work(id_, "late")
    assert await bench.engine.get(id_) == before


@pytest.mark.spec("operations", 41)
@pytest.mark.parametrize("survived", range(5))
@pytest.mark.parametrize("written", [False, True])
async def test_a_death_at_each_commit_is_survived(
    bench: Bench, survived: int, *, written: bool
) -> None:
    """Killed before or just after a commit: the same message comes again, and it goes on."""
    id_ = await bench.engine.start("count", {})
    bench.queue.sent.clear()
    bench.engine._round_s = 3600  # all of it in one round, so that each commit is met
    left = survived
    real = bench.documents.commit

    async def dying(container: str, partition: str, operations: object) -> None:
        nonlocal left
        left -= 1
        if left < 0 and not written:
            raise Died
        await real(container, partition, operations)  # type: ignore[arg-type]
        if left < 0:
            raise Died

    bench.documents.commit = dying  # type: ignore[method-assign]
    if survived < 4:
        with pytest.raises(Died):
            await bench.engine.work(id_, "message")
    bench.documents.commit = real  # type: ignore[method-assign]
    await bench.engine.work(id_, "message")
    body = await bench.engine.get(id_)
    assert body["status"] == "succeeded"
    assert body["results"] == {"counted": 3}
    assert sorted(set(bench.kind.ran)) == [1, 2, 3]
    assert len(bench.kind.ran) <= 4, "at most the step that was cut off ran again"


async def test_another_message_is_dropped_while_one_holds_it(bench: Bench) -> None:
    id_ = await bench.engine.start("count", {})

    def die() -> None:
        raise Died

    bench.kind.during = die
    with pytest.raises(Died):
        await bench.engine.work(id_, "first")
    bench.kind.during = lambda: None
    await bench.engine.work(id_, "second")
    assert bench.kind.ran == [1]
    bench.clock.pass_by(minutes=6)
    await bench.engine.work(id_, "second")
    assert bench.kind.ran == [1, 1], "nothing heard from the holder: another may take it"


async def test_a_lost_message_is_sent_again_by_the_sweep(bench: Bench) -> None:
    id_ = await bench.engine.start("count", {})
    bench.queue.sent.clear()
    assert await bench.engine.tidy() == 0
    bench.clock.pass_by(minutes=11)
    assert await bench.engine.tidy() == 1
    await bench.deliver()
    assert (await bench.engine.get(id_))["status"] == "succeeded"


async def test_after_five_failures_it_is_failed_with_the_reason(bench: Bench) -> None:
    id_ = await bench.engine.start("count", {}, claims=("one",))

    def away() -> None:
        raise Unavailable

    bench.kind.during = away
    for _ in range(5):
        with pytest.raises(Unavailable):
            await bench.engine.work(id_, "message")
    await bench.engine.give_up(id_)
    body = await bench.engine.get(id_)
    assert body["status"] == "failed"
    assert "Unavailable" in body["error"]
    assert bench.kind.ended == [Status.FAILED]
    await bench.engine.start("count", {}, claims=("one",))


async def test_a_kind_can_fail_for_a_reason(bench: Bench) -> None:
    id_ = await bench.engine.start("count", {})
    bench.kind.failed = "The destination is gone."
    await bench.deliver()
    body = await bench.engine.get(id_)
    assert (body["status"], body["error"]) == ("failed", "The destination is gone.")


async def test_one_at_a_time_and_free_again_at_the_end(bench: Bench) -> None:
    first = await bench.engine.start("count", {}, claims=("one",))
    with pytest.raises(OperationRunning) as refused:
        await bench.engine.start("count", {}, claims=("other", "one"))
    assert refused.value.operation == first
    await bench.deliver()
    second = await bench.engine.start("count", {}, claims=("other", "one"))
    listed = await bench.engine.page(limit=10, offset=0)
    assert [body["id"] for body in listed] == [second, first], "claims are not in the list"


async def test_cancel_before_and_while_it_runs(bench: Bench) -> None:
    waiting = await bench.engine.start("count", {})
    await bench.engine.cancel(waiting)
    await bench.engine.cancel(waiting)
    await bench.deliver()
    assert (await bench.engine.get(waiting))["status"] == "canceled"
    assert bench.kind.ran == []

    running = await bench.engine.start("count", {}, claims=("one",))
    bench.engine._round_s = 3600
    bench.queue.sent.clear()
    real = bench.kind.step

    async def canceled_meanwhile(work: Work) -> Step:
        bench.kind.step = real  # type: ignore[method-assign]
        await bench.engine.cancel(running)
        return await real(work)

    bench.kind.step = canceled_meanwhile  # type: ignore[method-assign]
    await bench.engine.work(running, "message")
    body = await bench.engine.get(running)
    assert body["status"] == "canceled"
    assert bench.kind.ran == [1]
    with pytest.raises(WrongState):
        await bench.engine.cancel(running)
    await bench.engine.start("count", {}, claims=("one",))


async def test_who_asks_to_stop_during_the_last_step_is_too_late(bench: Bench) -> None:
    """All is done by then: it has succeeded, and does not run again."""
    id_ = await bench.engine.start("count", {}, claims=("one",))
    bench.engine._round_s = 3600
    real = bench.kind.step

    async def canceled_meanwhile(work: Work) -> Step:
        step = await real(work)
        if step.done:
            await bench.engine.cancel(id_)
        return step

    bench.kind.step = canceled_meanwhile  # type: ignore[method-assign]
    await bench.engine.work(id_, "message")
    body = await bench.engine.get(id_)
    assert (body["status"], body["results"]) == ("succeeded", {"counted": 3})
    assert "canceling" not in body
    assert bench.kind.ran == [1, 2, 3]
    await bench.engine.start("count", {}, claims=("one",))


async def test_finished_ones_are_forgotten_after_a_week(bench: Bench) -> None:
    id_ = await bench.engine.start("count", {})
    await bench.deliver()
    bench.clock.pass_by(days=6)
    assert await bench.engine.tidy() == 0
    bench.clock.pass_by(days=2)
    assert await bench.engine.tidy() == 1
    with pytest.raises(OperationNotFound):
        await bench.engine.get(id_)

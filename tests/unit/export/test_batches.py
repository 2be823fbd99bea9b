"""Each file is written once and noted once, whatever dies or fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors import DestinationTrouble, DestinationUnusable, Unavailable
from shared.export import batch, service
from shared.export.models import Progress
from shared.export.ports import Copied
from tests.support import dicom
from tests.support.export import check_manifest, lines
from tests.unit.export.conftest import Bench

_UNKNOWN = "2.25.404"


class Died(BaseException):
    """The process is gone: nothing may catch it."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_FILES", 4)
    monkeypatch.setattr(batch, "_PAUSES_S", (0.0, 0.0))


async def _archive(bench: Bench) -> dict[str, bytes]:
    """Two studies of three and two series of them, seven instances; their files by name."""
    files = {}
    for study, series, instances in (("1.1", "1.1.1", 3), ("1.1", "1.1.2", 2), ("1.2", "1.2.1", 2)):
        for number in range(1, instances + 1):
            data = dicom.base(
                StudyInstanceUID=study,
                SeriesInstanceUID=series,
                SOPInstanceUID=f"{series}.{number}",
            )
            await bench.tenant.store(data)
            files[f"results/{study}/{series}/{series}.{number}.dcm"] = data
    return files


def _check(bench: Bench, id_: str, files: dict[str, bytes], errors: list[str]) -> None:
    content = bench.folder(id_)
    assert {name: data for name, data in content.items() if name.endswith(".dcm")} == files
    assert not list(check_manifest(content))
    assert sorted(line["identifier"] for line in lines(content["errors.log"])) == sorted(errors)
    assert set(bench.destination.writes.values()) <= {1}


async def test_batches_one_after_the_other(bench: Bench) -> None:
    files = await _archive(bench)
    id_ = await bench.start("1.1", _UNKNOWN, "1.2/1.2.1")
    body = await bench.ended(id_)
    assert body["status"] == "succeeded"
    assert (body["results"]["exported"], body["results"]["skipped"]) == (7, 1)
    _check(bench, id_, files, [_UNKNOWN])
    assert "sealed" not in body["input"]


def _dying(after: int, *, when: str) -> Callable[[str, str], None]:
    left = after

    def meet(call: str, _name: str) -> None:
        nonlocal left
        if call == when:
            left -= 1
            if left == 0:
                raise Died

    return meet


@pytest.mark.spec("operations", 41)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_killed_anywhere_and_gone_on_with(bench: Bench, when: str, *, streamed: bool) -> None:
    """Killed before or after each write to the destination in turn; the message comes again."""
    files = await _archive(bench)
    bench.destination.copies = Copied.NEVER if streamed else Copied.DONE
    deaths = 0
    for number in range(1, 30):
        bench.destination.content.clear()
        bench.destination.writes.clear()
        id_ = await bench.start("1.1", "1.1/1.1.2", _UNKNOWN, "1.2", "1.2/1.2.1/1.2.1.9")
        bench.destination.meets = _dying(number, when=when)
        died = await _deliver_with_deaths(bench)
        bench.destination.meets = lambda _call, _name: None
        body = await bench.ended(id_)
        assert body["status"] == "succeeded"
        assert (body["results"]["exported"], body["results"]["skipped"]) == (9, 2)
        _check(bench, id_, files, [_UNKNOWN, "1.2/1.2.1/1.2.1.9"])
        deaths += died
        if not died:
            break
    assert deaths >= 10


async def _deliver_with_deaths(bench: Bench) -> int:
    """Deliver messages; one that was being worked on at a death is delivered again."""
    deaths = 0
    while bench.queue.sent:
        _, message, _ = bench.queue.sent[0]
        try:
            await bench.engine.work(message["operation"], f"message {id(message)}")
        except (Died, BaseExceptionGroup):
            deaths += 1
        else:
            bench.queue.sent.pop(0)
    return deaths


@pytest.mark.parametrize("written", [False, True])
async def test_killed_at_each_checkpoint(bench: Bench, *, written: bool) -> None:
    """Killed before or just after each commit of the operation's document."""
    files = await _archive(bench)
    real = bench.tenant.documents.commit
    for number in range(1, 30):
        bench.destination.content.clear()
        bench.destination.writes.clear()
        id_ = await bench.start("1.1", _UNKNOWN, "1.2")
        left = number

        async def dying(container: str, partition: str, operations: object) -> None:
            nonlocal left
            left -= 1
            if left == 0 and not written:
                raise Died
            await real(container, partition, operations)  # type: ignore[arg-type]
            if left == 0:
                raise Died

        bench.tenant.documents.commit = dying  # type: ignore[method-assign]
        died = await _deliver_with_deaths(bench)
        bench.tenant.documents.commit = real  # type: ignore[method-assign]
        body = await bench.ended(id_)
        assert body["status"] == "succeeded"
        assert (body["results"]["exported"], body["results"]["skipped"]) == (7, 1)
        _check(bench, id_, files, [_UNKNOWN])
        if not died:
            return
    pytest.fail("there is no end of commits")


async def test_two_workers_at_the_same_batch(bench: Bench) -> None:
    """What the one has noted the other does not note again."""
    await _archive(bench)
    id_ = await bench.start("1.1", _UNKNOWN)
    await bench.engine.work(id_, "plan")
    progress = Progress.from_json((await bench.engine.get(id_))["checkpoint"])
    copier = bench.exporter._copier
    runs = [batch.Batch(copier, bench.destination, id_, progress) for _ in range(2)]
    outcomes = await asyncio.gather(*(run.run() for run in runs), return_exceptions=True)
    assert any(isinstance(outcome, Progress) for outcome in outcomes)
    assert all(isinstance(outcome, Progress | DestinationTrouble) for outcome in outcomes)
    bench.queue.sent = bench.queue.sent[:1]
    _, message, _ = bench.queue.sent[0]
    assert message["operation"] == id_
    body = await bench.ended(id_)
    assert (body["results"]["exported"], body["results"]["skipped"]) == (5, 1)
    assert not list(check_manifest(bench.folder(id_)))
    assert len(lines(bench.folder(id_)["errors.log"])) == 1


async def test_what_is_named_twice_is_written_once_and_counts_twice(bench: Bench) -> None:
    files = await _archive(bench)
    id_ = await bench.start("1.1", "1.1/1.1.1", "1.1/1.1.1/1.1.1.2", "1.2", "1.2", _UNKNOWN)
    body = await bench.ended(id_)
    assert (body["results"]["exported"], body["results"]["skipped"]) == (13, 1)
    _check(bench, id_, files, [_UNKNOWN])


async def test_time_is_over_within_a_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not begun stays in the plan; a death there loses and doubles nothing."""
    files = await _archive(bench)
    ticks = iter(range(10_000))
    monkeypatch.setattr(batch, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    monkeypatch.setattr(batch, "_BEGIN_FOR_S", 2.0)
    id_ = await bench.start("1.1", "1.2")
    await bench.engine.work(id_, "plan")
    await bench.engine.work(id_, "copy")
    checkpoint = (await bench.engine.get(id_))["checkpoint"]
    assert checkpoint["batch"] == 0
    assert 0 < len(checkpoint["plan"]) < 4
    bench.destination.meets = _dying(1, when="after")
    await _deliver_with_deaths(bench)
    body = await bench.ended(id_)
    assert body["results"]["exported"] == 7
    _check(bench, id_, files, [])


async def test_a_file_that_the_destination_never_takes_is_skipped(bench: Bench) -> None:
    files = await _archive(bench)
    bad = "results/1.1/1.1.2/1.1.2.1.dcm"
    tries = 0

    def meet(call: str, name: str) -> None:
        nonlocal tries
        if call == "before" and name.endswith(bad):
            tries += 1
            raise DestinationTrouble("The container c of account a did not take it.")

    bench.destination.meets = meet
    id_ = await bench.start("1.1", "1.2")
    body = await bench.ended(id_)
    assert (body["results"]["exported"], body["results"]["skipped"]) == (6, 1)
    del files[bad]
    _check(bench, id_, files, ["1.1/1.1.2/1.1.2.1"])
    assert tries == 3


async def test_a_destination_that_is_away_is_waited_for(bench: Bench) -> None:
    """Nothing is skipped for it: not even the log can be written."""
    files = await _archive(bench)
    id_ = await bench.start("1.1", "1.2")
    await bench.engine.work(id_, "plan")

    def away(_call: str, _name: str) -> None:
        raise DestinationTrouble("The container c of account a does not answer.")

    bench.destination.meets = away
    for _ in range(2):
        with pytest.raises(DestinationTrouble):
            await bench.engine.work(id_, "message")
    assert "does not answer" in (await bench.engine.get(id_))["trouble"]
    bench.destination.meets = lambda _call, _name: None
    body = await bench.ended(id_)
    assert body["status"] in ("running", "succeeded")
    bench.queue.sent.append(("operations", {"operation": id_}, 0))
    await bench.engine.work(id_, "message")
    body = await bench.ended(id_)
    assert (body["results"]["exported"], body["results"]["skipped"]) == (7, 0)
    _check(bench, id_, files, [])


async def test_a_destination_that_stays_away_fails_the_export_and_is_named(bench: Bench) -> None:
    await _archive(bench)
    id_ = await bench.start("1.1")
    await bench.engine.work(id_, "plan")

    def away(_call: str, _name: str) -> None:
        raise DestinationTrouble("The container c of account a does not answer.")

    bench.destination.meets = away
    with pytest.raises(DestinationTrouble):
        await bench.engine.work(id_, "message")
    await bench.engine.give_up(id_)
    body = await bench.engine.get(id_)
    assert body["status"] == "failed"
    assert body["error"].endswith("The container c of account a does not answer.")
    assert "sealed" not in body["input"]


async def test_a_destination_that_is_lost_fails_the_export(bench: Bench) -> None:
    await _archive(bench)
    id_ = await bench.start("1.1", "1.2")

    def lost(call: str, name: str) -> None:
        if call == "before" and name.endswith("1.1.2.1.dcm"):
            raise DestinationUnusable("The container c of account a does not let the service in.")

    bench.destination.meets = lost
    body = await bench.ended(id_)
    assert body["status"] == "failed"
    assert "does not let the service in" in body["error"]
    assert "sealed" not in body["input"]
    content = bench.folder(id_)
    noted = {line["file"] for line in lines(content["manifest.jsonl"])}
    assert noted <= {name for name in content if name.endswith(".dcm")}


async def test_our_own_store_that_is_away_skips_nothing(bench: Bench) -> None:
    files = await _archive(bench)
    bench.destination.copies = Copied.NEVER
    id_ = await bench.start("1.1", "1.2")
    await bench.engine.work(id_, "plan")

    def away(call: str, _key: str) -> None:
        if call == "read":
            raise Unavailable

    bench.tenant.blobs.failing = away
    with pytest.raises(Unavailable):
        await bench.engine.work(id_, "message")
    bench.tenant.blobs.failing = lambda _call, _key: None
    await bench.engine.work(id_, "message")
    body = await bench.ended(id_)
    assert (body["results"]["exported"], body["results"]["skipped"]) == (7, 0)
    _check(bench, id_, files, [])


@pytest.mark.parametrize("copies", [Copied.DONE, Copied.NEVER, Copied.NOT_THIS])
async def test_what_was_deleted_replaced_or_damaged_since_it_was_planned(
    bench: Bench, copies: Copied
) -> None:
    files = await _archive(bench)
    bench.destination.copies = copies
    id_ = await bench.start("1.2", "1.1/1.1.2")
    await bench.engine.work(id_, "plan")
    blobs = bench.tenant.blobs.content
    keys = {name.split("/")[4]: name for name in blobs}
    await bench.tenant.delete.delete("Microsoft.Default", "1.2", "1.2.1", "1.2.1.1")
    del blobs[keys["1.2.1.1"]]
    new = dicom.base(
        StudyInstanceUID="1.2",
        SeriesInstanceUID="1.2.1",
        SOPInstanceUID="1.2.1.2",
        PatientID="NEW",
    )
    await bench.tenant.store(new, upsert=True)
    del blobs[keys["1.2.1.2"]]
    del blobs[keys["1.1.2.1"]]  # lost
    if copies is not Copied.DONE:  # else it is copied as it is
        blobs[keys["1.1.2.2"]] = b"x" * len(blobs[keys["1.1.2.2"]])
    bench.queue.sent[:] = [one for one in bench.queue.sent if one[1].get("operation") == id_]
    body = await bench.ended(id_)
    content = bench.folder(id_)
    assert content["results/1.2/1.2.1/1.2.1.2.dcm"] == new
    assert not list(check_manifest(content))
    told = {line["identifier"]: line["error"] for line in lines(content["errors.log"])}
    assert "deleted" in told.pop("1.2/1.2.1/1.2.1.1")
    assert "lost" in told.pop("1.1/1.1.2/1.1.2.1")
    if copies is Copied.DONE:
        assert body["results"]["exported"] == 2
    else:
        assert "not what was stored" in told.pop("1.1/1.1.2/1.1.2.2")
        assert body["results"]["exported"] == 1
    assert not told
    assert files


async def test_a_file_that_is_there_already_is_not_left_open(bench: Bench) -> None:
    """The destination looks at its name before it reads anything of ours."""
    await _archive(bench)
    bench.destination.copies = Copied.NEVER
    closed: list[str] = []
    read = bench.tenant.blobs.read

    class Reading(AsyncGenerator[bytes, None]):
        def __init__(self, key: str, content: AsyncIterator[bytes]) -> None:
            self.key, self.content = key, content

        async def asend(self, _: None) -> bytes:
            return await anext(self.content)

        async def athrow(self, *_: Any) -> bytes:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            closed.append(self.key)

    async def noting(key: str) -> AsyncIterator[bytes]:
        return Reading(key, await read(key))

    bench.tenant.blobs.read = noting  # type: ignore[assignment,method-assign]
    id_ = await bench.start("1.1", "1.2", "1.1")
    body = await bench.ended(id_)
    assert body["results"]["exported"] == 12
    assert len(closed) == 12


async def test_the_destination_fetches_files_itself_where_it_can(bench: Bench) -> None:
    await _archive(bench)
    await bench.ended(await bench.start("1.1", "1.2"))
    assert {call for call, _ in bench.destination.calls} == {"copy"}
    bench.destination.calls.clear()
    bench.destination.copies = Copied.NEVER
    await bench.ended(await bench.start("1.1", "1.2"))
    calls = [call for call, _ in bench.destination.calls]
    assert calls.count("put") == 7
    assert calls.count("copy") <= 3, "after the first no, no more are asked for"


async def test_a_file_that_no_store_copies_at_once_passes_through(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await _archive(bench)
    monkeypatch.setattr(batch, "_MOST_COPIED", 10)
    id_ = await bench.start("1.1", "1.2")
    await bench.ended(id_)
    _check(bench, id_, files, [])
    assert {call for call, _ in bench.destination.calls} == {"put"}

"""From the feed to messages (spec dicomcast.md §2)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.cast.dispatch import Dispatcher
from shared.cast.worker import CAST_QUEUE
from shared.errors import Unavailable
from shared.feed.sequencer import Sequencer
from shared.feed.shapes import ENTRY
from shared.ports import Create
from tests.support import dicom
from tests.unit.store.conftest import Tenant, tenant

__all__ = ["tenant"]


async def _ready() -> bool:
    return True


async def _away() -> bool:
    return False


def _dispatcher(tenant: Tenant) -> Dispatcher:
    sequencer = Sequencer(tenant.documents, tenant.clock)
    return Dispatcher(tenant.documents, sequencer, tenant.queue, tenant.clock, "main")


def _sent(tenant: Tenant) -> list[dict[str, Any]]:
    sent = [message for queue, message, _ in tenant.queue.sent if queue == CAST_QUEUE]
    tenant.queue.sent.clear()
    return sent


async def _entries(tenant: Tenant, sequences: range) -> None:
    """Entries as another process may have written them."""
    for number in sequences:
        entry = {
            "id": f"x|{number}", "bucket": "0000000001", "type": ENTRY, "sequence": number,
            "timestamp": tenant.clock.now().isoformat(), "partition": "p", "study": f"1.{number}",
        }  # fmt: skip
        await tenant.documents.commit("changes", "0000000001", [Create(entry)])


@pytest.mark.spec("dicomcast", 2, 41)
async def test_an_empty_feed_sends_and_writes_nothing(tenant: Tenant) -> None:
    before = tenant.documents.commits
    assert await _dispatcher(tenant).run(_ready) == 0
    assert tenant.documents.commits == before
    assert await _dispatcher(tenant).position() == (0, 0)


@pytest.mark.spec("dicomcast", 3, 41)
async def test_all_that_is_there_is_sent_once_a_study(tenant: Tenant) -> None:
    first, second = dicom.ct(), dicom.ct()
    third = dicom.ct(StudyInstanceUID=str(first.StudyInstanceUID))
    await tenant.store(*map(dicom.part10, (first, second, third)))
    dispatcher = _dispatcher(tenant)
    assert await dispatcher.run(_ready) == 2
    sent = {one["study"]: one for one in _sent(tenant)}
    assert sent.keys() == {str(first.StudyInstanceUID), str(second.StudyInstanceUID)}
    assert max(one["sequence"] for one in sent.values()) == 3
    assert sent[str(first.StudyInstanceUID)]["partition"] == "Microsoft.Default"
    assert await dispatcher.position() == (3, 3)
    assert await dispatcher.run(_ready) == 0


@pytest.mark.spec("dicomcast", 3)
async def test_several_pages(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.cast.dispatch._PAGE", 3)
    await _entries(tenant, range(1, 9))
    assert await _dispatcher(tenant).run(_ready) == 8
    assert [one["study"] for one in _sent(tenant)] == [f"1.{number}" for number in range(1, 9)]


@pytest.mark.spec("dicomcast", 4)
async def test_a_gap_is_waited_for_and_then_passed_and_never_more(tenant: Tenant) -> None:
    await _entries(tenant, range(1, 3))
    await _entries(tenant, range(30, 31))
    dispatcher = _dispatcher(tenant)
    await dispatcher.run(_ready)
    assert await dispatcher.position() == (2, 30)
    tenant.clock.pass_by(minutes=2)
    await dispatcher.run(_ready)
    assert await dispatcher.position() == (30, 30)
    assert [one["study"] for one in _sent(tenant)] == ["1.1", "1.2", "1.30"]


@pytest.mark.spec("dicomcast", 3)
async def test_a_process_that_ends_in_between_sends_again(tenant: Tenant) -> None:
    await _entries(tenant, range(1, 4))
    tenant.queue.failing = _fail_after(2)
    with pytest.raises(Unavailable):
        await _dispatcher(tenant).run(_ready)
    assert await _dispatcher(tenant).position() == (0, 3)
    tenant.queue.failing = lambda: None
    await _dispatcher(tenant).run(_ready)
    assert {one["study"] for one in _sent(tenant)} == {"1.1", "1.2", "1.3"}


def _fail_after(calls: int) -> Any:
    left = [calls]

    def fail() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Unavailable

    return fail


async def test_replay_from_a_sequence_number(tenant: Tenant) -> None:
    await _entries(tenant, range(1, 6))
    dispatcher = _dispatcher(tenant)
    await dispatcher.replay(4)  # before there is a checkpoint
    await dispatcher.run(_ready)
    assert [one["study"] for one in _sent(tenant)] == ["1.4", "1.5"]
    await dispatcher.replay(1)
    assert await dispatcher.position() == (0, 5)
    await dispatcher.run(_ready)
    assert len(_sent(tenant)) == 5


async def test_while_fhir_is_away_changes_wait_in_the_feed(tenant: Tenant) -> None:
    await _entries(tenant, range(1, 4))
    dispatcher = _dispatcher(tenant)
    assert await dispatcher.run(_away) == 0
    assert _sent(tenant) == []
    assert await dispatcher.position() == (0, 3)
    assert await dispatcher.run(_ready) == 3

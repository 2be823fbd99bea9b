"""What triggers and operators ask of DICOMcast."""

from __future__ import annotations

from typing import Any

import pytest

from shared.cast.archive import Archive
from shared.cast.dispatch import Dispatcher
from shared.cast.failures import Failure
from shared.cast.resync import Resync
from shared.cast.service import CastService
from shared.cast.sync import StudySync
from shared.cast.worker import Worker
from shared.feed.sequencer import Sequencer
from shared.index.partitions import Partitions
from tests.support import dicom
from tests.support.fakes import MemoryFailures
from tests.unit.cast.conftest import PARTITION, URL, Cast


def _service(cast: Cast, failures: MemoryFailures) -> CastService:
    tenant = cast.tenant
    documents, clock, queue = tenant.documents, tenant.clock, tenant.queue
    sync = StudySync(Archive(documents, tenant.blobs), cast.client, cast.settings, URL)
    dispatcher = Dispatcher(documents, Sequencer(documents, clock), queue, clock, "main")
    return CastService(
        "main",
        cast.settings,
        dispatcher=dispatcher,
        worker=Worker("main", sync.sync, failures, queue, clock),
        failures=failures,
        resync=Resync(
            "main",
            documents,
            partitions=Partitions(documents, clock),
            dispatcher=dispatcher,
            sync=sync,
            fhir=cast.client,
        ),
        queue=queue,
        fhir=cast.client,
    )


def _messages(cast: Cast) -> list[tuple[dict[str, Any], float]]:
    sent = [(message, delay) for queue, message, delay in cast.tenant.queue.sent if queue == "cast"]
    cast.tenant.queue.sent.clear()
    return sent


async def test_turned_off_changes_and_messages_wait(cast: Cast) -> None:
    await cast.store(dicom.ct())
    off = _service(cast.with_settings(enabled=False), MemoryFailures())
    assert await off.dispatch() == 0
    assert (await off.state()).sent == 0
    message = {"tenant": "main", "partition": PARTITION, "study": "1.2"}
    await off.handle(message)
    assert _messages(cast) == [(message, 600.0)]
    on = _service(cast, MemoryFailures())
    assert await on.dispatch() == 1


@pytest.mark.parametrize("how", [{"status": 503}, {"status": 401}])
async def test_while_fhir_is_away_the_state_says_so_and_nothing_is_sent(
    cast: Cast, how: dict[str, Any]
) -> None:
    await cast.store(dicom.ct())
    service = _service(cast, MemoryFailures())
    cast.server.trouble(count=3, **how)
    assert await service.dispatch() == 0
    assert str(how["status"]) in str((await service.state()).trouble)
    cast.server.trouble()
    assert await service.dispatch() == 1
    assert (await service.state()).trouble is None


async def test_a_server_that_only_listens_is_not_waited_for(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.cast.service._PROBE_S", 0.1)
    cast.server.settings(delay=2000)
    state = await _service(cast, MemoryFailures()).state()
    cast.server.settings(delay=0)
    assert "does not answer within" in str(state.trouble)


async def test_retry_asks_for_each_study_once(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.cast.service._PAGE", 2)
    failures = MemoryFailures()
    for study in ("1.1", "1.2", "1.3"):
        rows = [Failure("p", study, "refused", "why", instance=str(n), sequence=n) for n in (1, 2)]
        await failures.put("p", study, rows)
    assert await _service(cast, failures).retry() == 3
    assert sorted(message["study"] for message, _ in _messages(cast)) == ["1.1", "1.2", "1.3"]

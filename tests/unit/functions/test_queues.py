"""Work that meets a store which is away is put off, and does not use up the host's deliveries."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest
from azure.functions.queue import QueueMessage

from functions import _queues, indexing
from shared.errors import CorruptData, Throttled, Unavailable
from shared.ports import JsonObject

QUEUE = "work"


class _Queue:
    def __init__(self) -> None:
        self.sent: list[tuple[str, JsonObject, float]] = []
        self.away = False

    async def send(self, queue: str, message: JsonObject, *, delay_s: float = 0) -> None:
        if self.away:
            raise Unavailable
        self.sent.append((queue, message, delay_s))


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Any:
    app = SimpleNamespace(queue=_Queue())

    async def services() -> Any:
        return app

    monkeypatch.setattr(_queues, "services", services)
    return app


def _message(body: JsonObject, name: str = "first") -> func.QueueMessage:
    return QueueMessage(id=name, body=json.dumps(body).encode())


def _raising(error: Exception) -> Any:
    async def work(_app: object, _body: JsonObject) -> None:
        raise error

    return work


@pytest.mark.parametrize("trouble", [Unavailable(), Throttled()], ids=str)
async def test_trouble_of_a_store_sends_the_message_anew(app: Any, trouble: Exception) -> None:
    await _queues.work_off(_message({"tenant": "main"}), QUEUE, _raising(trouble))
    [(queue, body, delay_s)] = app.queue.sent
    assert queue == QUEUE
    assert body == {"tenant": "main", "firstId": "first", "deferred": 1}
    assert 4 <= delay_s <= 6


async def test_it_waits_longer_each_time_and_keeps_its_first_name(app: Any) -> None:
    body: JsonObject = {"tenant": "main"}
    delays = []
    for number in range(12):
        await _queues.work_off(_message(body, f"id-{number}"), QUEUE, _raising(Unavailable()))
        _, body, delay_s = app.queue.sent[-1]
        delays.append(delay_s)
    assert _queues.first_id(body) == "id-0"
    assert delays[3] > delays[0]
    assert all(480 <= delay_s <= 720 for delay_s in delays[8:])


async def test_it_is_not_put_off_for_ever(app: Any) -> None:
    body = {"tenant": "main", "deferred": 60}
    with pytest.raises(Unavailable):
        await _queues.work_off(_message(body), QUEUE, _raising(Unavailable()))
    assert not app.queue.sent


async def test_what_cannot_be_done_is_the_business_of_the_host(app: Any) -> None:
    with pytest.raises(CorruptData):
        await _queues.work_off(_message({}), QUEUE, _raising(CorruptData("no")))
    assert not app.queue.sent


async def test_a_queue_that_is_away_too_leaves_the_message_to_the_host(app: Any) -> None:
    app.queue.away = True
    with pytest.raises(Unavailable):
        await _queues.work_off(_message({}), QUEUE, _raising(Unavailable()))


async def test_a_blob_event_during_an_outage_is_looked_at_later(app: Any) -> None:
    """First by the trigger, whose work is put off; then by the queue, when the index is back."""
    seen: list[str] = []
    is_away = True

    async def look(name: str) -> None:
        if is_away:
            raise Unavailable
        seen.append(name)

    tenant = SimpleNamespace(
        completer=SimpleNamespace(complete=look), importer=SimpleNamespace(take_in=look)
    )

    async def of_name(_name: str) -> Any:
        return tenant

    app.tenant = of_name
    names = ["instances/a.dcm", "import/b.dcm", "elsewhere/c"]
    body = {"tenant": "main", "blobs": names}
    await _queues.or_later(indexing.COMPLETE_QUEUE, body, indexing._take_in)
    [(queue, later, _)] = app.queue.sent
    is_away = False
    await _queues.work_off(_message(later), queue, indexing._take_in)
    assert seen == names[:2]

"""An operation whose message fails time after time ends as failed, and says why.

Through Azurite's queues, with the host's own count of deliveries.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from azure.storage.queue import QueueClient

from devtools.process import ROOT
from shared.adapters.azure.clients import queue_service
from shared.adapters.azure.queues import AzureQueue
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.system import RandomIds, SystemClock
from shared.config import StorageConnection
from shared.operations.engine import Engine
from shared.operations.models import OPERATIONS_POISON_QUEUE, OPERATIONS_QUEUE
from shared.operations.reconcile import RECONCILE
from shared.ports import JsonObject
from tests.support.server import Server

pytestmark = pytest.mark.azurite

_MOST_DELIVERIES = 5
_ENDED_S = 60.0
_APP = f"""
import os
import sys

import azure.functions as func

sys.path.insert(0, {str(ROOT)!r})

from functions import operations
from shared.errors import CorruptData
from shared.operations.reconcile import Reconciler


async def step(self, work):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(work.id + "\\n")
    raise CorruptData("it cannot be done")


Reconciler.step = step
app = func.FunctionApp()
app.register_functions(operations.bp)
"""


@pytest.fixture
def server(new_account: Callable[[], str], tmp_path: Path) -> Server:
    """The operations of the app, each attempt at which fails, with little time between them."""
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").write_text(_APP)
    host = json.loads((ROOT / "host.json").read_text("utf-8"))
    host["extensions"]["queues"] |= {
        "visibilityTimeout": "00:00:00",
        "maxPollingInterval": "00:00:01",
        "maxDequeueCount": _MOST_DELIVERIES,
    }
    (app / "host.json").write_text(json.dumps(host))
    return Server(
        connection=new_account(),
        data=tmp_path / "data",
        app=app,
        seed=True,
        environment={"NOTES": str(tmp_path / "notes")},
    )


def _ended(href: str) -> JsonObject:
    deadline = time.monotonic() + _ENDED_S
    while (answer := httpx.get(href)).status_code == 202:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    body: JsonObject = answer.json()
    return body


def _messages(connection: str, queue: str) -> int:
    client = QueueClient.from_connection_string(connection, queue)
    with client:
        return int(client.get_queue_properties().approximate_message_count or 0)


def test_each_attempt_fails(server: Server, tmp_path: Path) -> None:
    with server:
        base = f"{server.base_url}/main/v2"
        href = httpx.post(f"{base}/$reconcile").json()["href"]
        body = _ended(href)
        assert body["status"] == "failed"
        assert "given up" in body["error"]
        assert "CorruptData" in body["error"]
        attempts = (tmp_path / "notes").read_text().splitlines()
        assert attempts == [body["operationId"]] * _MOST_DELIVERIES
        for queue in (OPERATIONS_QUEUE, OPERATIONS_POISON_QUEUE):
            assert _messages(server.connection, queue) == 0
        assert httpx.post(f"{base}/$reconcile").status_code == 202, "its claim is free"


async def test_no_attempt_comes_to_an_end(server: Server, tmp_path: Path) -> None:
    """Each process died with it: the count alone tells, and it is not tried once more."""
    server.start()  # makes the stores
    server.stop()
    documents = SqliteDocuments(tmp_path / "data" / "index" / "dicom-main.sqlite")
    service = queue_service(StorageConnection(connection_string=server.connection))
    async with service:
        engine = Engine(
            documents,
            AzureQueue(service),
            ids=RandomIds(),
            clock=SystemClock(),
            tenant="main",
            kinds={},
        )
        id_ = await engine.start(RECONCILE, {"repair": False}, claims=(RECONCILE,))
    await documents.close()
    with QueueClient.from_connection_string(server.connection, OPERATIONS_QUEUE) as client:
        for count in range(1, _MOST_DELIVERIES + 1):
            message = client.receive_message(visibility_timeout=1)
            assert message is not None
            assert message.dequeue_count == count
            client.update_message(message, visibility_timeout=0)
    with server:
        body = _ended(f"{server.base_url}/main/v2/operations/{id_}")
        assert body["status"] == "failed"
        assert "no attempt came to an end" in body["error"]
        assert not (tmp_path / "notes").exists()

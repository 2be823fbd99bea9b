"""local_host against Azurite: queue, blob and timer triggers with the rules of the real host."""

from __future__ import annotations

import base64
import itertools
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient
from azure.storage.queue import QueueServiceClient

from tests.support.azurite import azurite_running
from tests.support.server import Server

pytestmark = pytest.mark.azurite

APP = """
from __future__ import annotations

import asyncio
import json
import os
import time

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def note(kind, **what):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps({"kind": kind, "at": time.time(), **what}) + "\\n")


@app.queue_trigger(arg_name="msg", queue_name="%QUEUE%", connection="Work")
async def work(msg: func.QueueMessage) -> None:
    body = msg.get_json()
    note("begin", id=msg.id, count=msg.dequeue_count, body=body)
    await asyncio.sleep(body.get("sleep", 0))
    if body.get("fail"):
        raise ValueError("as asked")
    note("end", id=msg.id, count=msg.dequeue_count, body=body)


@app.queue_trigger(arg_name="msg", queue_name="%QUEUE%-sync", connection="Work")
def in_thread(msg: func.QueueMessage) -> None:
    import threading
    note("sync", thread=threading.current_thread().name, body=msg.get_json(),
         inserted=msg.insertion_time.isoformat(), expires=msg.expiration_time.isoformat(),
         receipt=bool(msg.pop_receipt))
    time.sleep(msg.get_json().get("sleep", 0.3))


@app.blob_trigger(arg_name="blob", path="%CONTAINER%/in/{folder}/{name}", connection="Work",
                  source=func.BlobSource.EVENT_GRID)
def arrived(blob: func.InputStream) -> None:
    content = blob.read()
    note("blob", name=blob.name, length=blob.length, uri=blob.uri, content=content.decode())
    if content.startswith(b"fail"):
        raise ValueError("as asked")


@app.timer_trigger(arg_name="timer", schedule="*/2 * * * * *")
async def often(timer: func.TimerRequest) -> None:
    note("often", past_due=timer.past_due)


@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
async def at_start(timer: func.TimerRequest) -> None:
    note("start", past_due=timer.past_due)
"""


class Hosted:
    """The app above, running, with its notes and stores."""

    def __init__(self, folder: Path, connection: str, queues: dict[str, Any]) -> None:
        self.queue_name = f"q{uuid.uuid4().hex[:12]}"
        self.container_name = f"c{uuid.uuid4().hex[:12]}"
        self._notes = folder / "notes.jsonl"
        app = folder / "app"
        app.mkdir()
        (app / "function_app.py").write_text(APP)
        options = {"maxPollingInterval": "00:00:01", "visibilityTimeout": "00:00:01", **queues}
        document = {"functionTimeout": "00:00:03", "extensions": {"queues": options}}
        (app / "host.json").write_text(json.dumps(document))
        self.server = Server(
            connection=connection,
            data=folder / "data",
            app=app,
            environment={
                "Work": connection,
                "QUEUE": self.queue_name,
                "CONTAINER": self.container_name,
                "NOTES": str(self._notes),
            },
        )
        self.queues = QueueServiceClient.from_connection_string(connection)
        self.blobs = BlobServiceClient.from_connection_string(connection)

    def notes(self, kind: str) -> list[dict[str, Any]]:
        if not self._notes.exists():
            return []
        rows = [json.loads(line) for line in self._notes.read_text().splitlines()]
        return [row for row in rows if row["kind"] == kind]

    def wait_for(self, kind: str, count: int, within_s: float = 20) -> list[dict[str, Any]]:
        return eventually(lambda: len(self.notes(kind)) >= count and self.notes(kind), within_s)

    def send(self, body: Any, queue: str = "") -> None:
        text = base64.b64encode(json.dumps(body).encode()).decode()
        self.queues.get_queue_client(self.queue_name + queue).send_message(text)

    def poisoned(self, name: str) -> list[Any]:
        try:
            return list(self.queues.get_queue_client(name).peek_messages(max_messages=32))
        except ResourceNotFoundError:
            return []

    def left(self) -> int:
        properties = self.queues.get_queue_client(self.queue_name).get_queue_properties()
        return int(properties.approximate_message_count or 0)

    @property
    def container(self) -> ContainerClient:
        return self.blobs.get_container_client(self.container_name)


def eventually(look: Callable[[], Any], within_s: float = 20) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def make(azurite, tmp_path) -> Iterator[Callable[..., Hosted]]:
    made: list[Hosted] = []

    def one(connection: str = azurite, **queues: Any) -> Hosted:
        made.append(Hosted(tmp_path, connection, queues))
        made[-1].server.start()
        return made[-1]

    yield one
    for hosted in made:
        hosted.server.stop()
        hosted.queues.close()
        hosted.blobs.close()


@pytest.fixture
def hosted(make) -> Hosted:
    one: Hosted = make()
    eventually(lambda: one.queue_name in [queue.name for queue in one.queues.list_queues()])
    return one


# Queues -----------------------------------------------------------------------------------


def test_a_message_is_processed_once_and_deleted(hosted):
    hosted.send({"n": 1})
    assert hosted.wait_for("end", 1)[0]["body"] == {"n": 1}
    eventually(lambda: hosted.left() == 0)
    time.sleep(1.5)
    assert len(hosted.notes("begin")) == 1


def test_a_failure_is_tried_again_after_the_visibility_timeout_then_poisoned(hosted):
    hosted.send({"fail": True, "n": 2})
    tries = hosted.wait_for("begin", 5)
    assert [one["count"] for one in tries] == [1, 2, 3, 4, 5]
    assert all(b["at"] - a["at"] >= 0.9 for a, b in itertools.pairwise(tries))
    (message,) = eventually(lambda: hosted.poisoned(f"{hosted.queue_name}-poison"))
    assert json.loads(base64.b64decode(message.content)) == {"fail": True, "n": 2}
    assert hosted.left() == 0


def test_what_is_no_base64_is_poisoned_unseen(hosted):
    hosted.queues.get_queue_client(hosted.queue_name).send_message("{not base64}")
    (message,) = eventually(lambda: hosted.poisoned(f"{hosted.queue_name}-poison"))
    assert message.content == "{not base64}"
    assert hosted.notes("begin") == []


def test_a_function_that_takes_too_long_has_failed(make):
    hosted = make(maxDequeueCount=1)
    eventually(lambda: hosted.queue_name in [queue.name for queue in hosted.queues.list_queues()])
    hosted.send({"sleep": 60})
    eventually(lambda: hosted.poisoned(f"{hosted.queue_name}-poison"))
    assert hosted.notes("end") == []
    [milliseconds] = re.findall(r"work failed (\d+)", hosted.server.log_text())
    assert 2_900 <= int(milliseconds) < 30_000, "the host's limit of 3 s, not the function's minute"


def test_batch_size_and_threshold_bound_how_many_run_at_once(make):
    hosted = make(batchSize=2, newBatchThreshold=1)
    eventually(lambda: hosted.queue_name in [queue.name for queue in hosted.queues.list_queues()])
    for number in range(9):
        hosted.send({"n": number, "sleep": 0.2 + 0.3 * (number % 3)})
    hosted.wait_for("end", 9)
    begins = [(row["at"], 1) for row in hosted.notes("begin")]
    ends = [(row["at"], -1) for row in hosted.notes("end")]
    running = most = 0
    for _, change in sorted(begins + ends):
        running += change
        most = max(most, running)
    assert most == 3


def test_a_synchronous_function_runs_in_a_thread_with_the_message_whole(hosted):
    hosted.send({"n": 1}, queue="-sync")
    hosted.send({"n": 2}, queue="-sync")
    first, second = hosted.wait_for("sync", 2)[:2]
    assert first["thread"].startswith("function")
    assert {first["body"]["n"], second["body"]["n"]} == {1, 2}
    assert first["expires"] > first["inserted"]
    assert first["receipt"]
    assert abs(first["at"] - second["at"]) < 0.25


def test_a_stop_lets_a_running_function_finish(hosted):
    hosted.send({"sleep": 1.5})
    hosted.wait_for("begin", 1)
    assert hosted.server.stop() == 0
    assert len(hosted.notes("end")) == 1
    assert hosted.left() == 0


def test_a_thread_that_does_not_end_holds_a_stop_up_for_ten_seconds_at_most(hosted):
    hosted.send({"n": 1, "sleep": 60}, queue="-sync")
    hosted.wait_for("sync", 1)
    began = time.monotonic()
    assert hosted.server.stop() == 0
    assert time.monotonic() - began < 12.5


def test_a_store_that_is_gone_does_not_hold_a_stop_up(make, tmp_path):
    with azurite_running(tmp_path) as connection:
        hosted = make(connection=connection)
    time.sleep(2)
    began = time.monotonic()
    assert hosted.server.stop() == 0
    assert time.monotonic() - began < 5


def test_a_message_of_a_killed_host_stays_hidden_and_is_not_lost(hosted):
    hosted.send({"sleep": 2})
    hosted.wait_for("begin", 1)
    hosted.server.kill()
    assert hosted.left() == 1
    assert hosted.poisoned(hosted.queue_name) == []  # until its lease is over


# Blobs ------------------------------------------------------------------------------------


def upload(hosted: Hosted, name: str, content: bytes) -> None:
    hosted.container.upload_blob(name, content, overwrite=True)


def test_a_blob_is_announced_once_with_its_content(hosted):
    hosted.container.create_container()
    upload(hosted, "in/a/b/c.txt", b"hello")
    upload(hosted, "elsewhere/a/b", b"no")
    (row,) = hosted.wait_for("blob", 1)
    assert row["name"] == f"{hosted.container_name}/in/a/b/c.txt"
    assert (row["length"], row["content"]) == (5, "hello")
    assert row["uri"].endswith(f"/{hosted.container_name}/in/a/b/c.txt")
    time.sleep(3)
    assert len(hosted.notes("blob")) == 1


def test_a_blob_is_announced_within_about_a_second_while_there_is_work(hosted):
    hosted.container.create_container()
    upload(hosted, "in/a/first", b"1")
    hosted.wait_for("blob", 1)
    began = time.time()
    upload(hosted, "in/a/second", b"2")
    assert hosted.wait_for("blob", 2)[1]["at"] - began < 2.5


def test_a_blob_that_is_written_over_is_announced_again(hosted):
    hosted.container.create_container()
    upload(hosted, "in/a/x", b"1")
    hosted.wait_for("blob", 1)
    upload(hosted, "in/a/x", b"2")
    assert [row["content"] for row in hosted.wait_for("blob", 2)] == ["1", "2"]


def test_a_restart_announces_only_what_came_meanwhile(hosted):
    hosted.container.create_container()
    upload(hosted, "in/a/old", b"1")
    hosted.wait_for("blob", 1)
    hosted.server.stop()
    upload(hosted, "in/a/new", b"2")
    hosted.server.restart()
    hosted.wait_for("blob", 2)
    time.sleep(2)
    assert [row["content"] for row in hosted.notes("blob")] == ["1", "2"]


def test_a_blob_that_fails_five_times_is_reported(hosted):
    hosted.container.create_container()
    upload(hosted, "in/a/bad", b"fail")
    hosted.wait_for("blob", 5, within_s=40)

    def report() -> list[dict[str, Any]]:
        messages = hosted.poisoned("webjobs-blobtrigger-poison")
        rows = [json.loads(base64.b64decode(one.content)) for one in messages]
        return [row for row in rows if row["ContainerName"] == hosted.container_name]

    (row,) = eventually(report)
    assert row["BlobName"] == "in/a/bad"
    assert row["FunctionId"] == "Host.Functions.arrived"
    assert row["Type"] == "BlobTrigger"
    time.sleep(2)
    assert len(hosted.notes("blob")) == 5


# Timers -----------------------------------------------------------------------------------


def test_a_timer_keeps_its_times_and_one_may_run_at_start(hosted):
    rows = hosted.wait_for("often", 3)
    assert all(0 <= row["at"] % 2 < 0.5 for row in rows)
    assert all(row["past_due"] is False for row in rows)
    assert hosted.notes("start")[0]["past_due"] is False


def test_a_timer_that_was_due_while_the_host_was_down_is_past_due(hosted):
    hosted.wait_for("start", 1)
    hosted.server.stop()
    state = hosted.server.log.parent / "host" / "timers.json"
    rows = json.loads(state.read_text())
    assert set(rows) == {"at_start"}  # schedules below a minute are not watched
    rows["at_start"]["due"] = "2020-01-01T00:00:00+00:00"
    state.write_text(json.dumps(rows))
    hosted.server.restart()
    assert hosted.wait_for("start", 2)[1]["past_due"] is True

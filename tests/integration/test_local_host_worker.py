"""A small app under Microsoft's own worker library: every kind of trigger goes through it."""

from __future__ import annotations

import base64
import json
import time
import uuid

import httpx
import pytest
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from tests.support.server import NoWorker, Server, worker_python

pytestmark = [pytest.mark.azurite, pytest.mark.real_worker]

APP = """
from __future__ import annotations

import os

import azure.functions as func
import azurefunctions.extensions.http.fastapi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
seen = {}


@app.route(route="{tenant}/v{version}/echo/{name}", methods=["POST"])
async def echo(req: Request) -> Response:
    size = 0
    async for piece in req.stream():
        size += len(piece)
    query = req.query_params.multi_items()
    return JSONResponse({"params": req.path_params, "query": query, "size": size})


@app.route(route="stream", methods=["GET"])
async def stream(req: Request) -> Response:
    async def pieces():
        for _ in range(64):
            yield b"x" * 65_536
    return StreamingResponse(pieces(), headers={"x-mine": "1"})


@app.route(route="fails", methods=["GET"])
async def fails(req: Request) -> Response:
    raise ValueError("no")


@app.route(route="seen", methods=["GET"])
async def what(req: Request) -> Response:
    return JSONResponse(seen)


@app.queue_trigger(arg_name="msg", queue_name="%NAME%", connection="DicomStorage")
async def work(msg: func.QueueMessage) -> None:
    seen["queue"] = [msg.get_json(), msg.dequeue_count, bool(msg.id), bool(msg.insertion_time)]
    if msg.get_json().get("fail"):
        raise ValueError("as asked")


@app.blob_trigger(arg_name="blob", path="%NAME%/{name}", connection="DicomStorage")
def arrived(blob: func.InputStream) -> None:
    seen["blob"] = [blob.name, blob.length, blob.read().decode()]


@app.timer_trigger(arg_name="timer", schedule="*/2 * * * * *", run_on_startup=True)
async def often(timer: func.TimerRequest) -> None:
    seen["timer"] = timer.past_due
"""


@pytest.fixture(scope="module", autouse=True)
def _worker():
    try:
        worker_python()
    except NoWorker as reason:
        pytest.skip(str(reason))


@pytest.fixture
def name() -> str:
    return f"w{uuid.uuid4().hex[:12]}"


@pytest.fixture
def server(azurite, tmp_path, name):
    app = tmp_path / "app"
    app.mkdir()
    (app / "function_app.py").write_text(APP)
    options = {"visibilityTimeout": "00:00:01", "maxPollingInterval": "00:00:01"}
    extensions = {"http": {"routePrefix": ""}, "queues": options}
    (app / "host.json").write_text(json.dumps({"extensions": extensions}))
    with Server(
        connection=azurite,
        data=tmp_path / "data",
        app=app,
        host="worker",
        environment={"NAME": name},
    ) as running:
        yield running


def seen(server: Server, kind: str, accept=lambda value: True):
    deadline = time.monotonic() + 20
    while True:
        found = httpx.get(f"{server.base_url}/seen").json()
        if kind in found and accept(found[kind]):
            return found[kind]
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_requests_go_through_the_worker(server):
    base = server.base_url
    answer = httpx.post(f"{base}/main/v2/echo/a%2Fb?x=1&x=2", content=iter([b"ab", b"c"])).json()
    assert answer["params"] == {"tenant": "main", "version": "2", "name": "a%2Fb"}
    assert answer["query"] == [["x", "1"], ["x", "2"]]
    assert answer["size"] == 3
    streamed = httpx.get(f"{base}/stream")
    assert (len(streamed.content), streamed.headers["x-mine"]) == (64 * 65_536, "1")
    assert httpx.get(f"{base}/fails").status_code == 500
    assert httpx.get(f"{base}/nothing").status_code == 404
    assert httpx.get(f"{base}/main/v2/echo/a").headers["allow"] == "POST"


def test_messages_blobs_and_timers_go_through_the_worker(server, azurite, name):
    assert seen(server, "timer") is False
    with BlobServiceClient.from_connection_string(azurite) as blobs:
        blobs.create_container(name).upload_blob("a/b", b"hello")
    assert seen(server, "blob") == [f"{name}/a/b", 5, "hello"]
    with QueueServiceClient.from_connection_string(azurite) as queues:
        text = base64.b64encode(json.dumps({"fail": True}).encode()).decode()
        queues.get_queue_client(name).send_message(text)
    assert seen(server, "queue", lambda one: one[1] >= 2)[0] == {"fail": True}
    assert seen(server, "queue")[2:] == [True, True]
    assert server.stop() == 0


def test_an_app_that_the_worker_refuses_does_not_start(azurite, tmp_path):
    (tmp_path / "function_app.py").write_text(
        "import azure.functions as func\napp = func.FunctionApp()\n"
        '@app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")\n'
        "def f(timer: func.TimerRequest, surplus: int) -> None: ...\n"
    )
    server = Server(connection=azurite, data=tmp_path / "data", app=tmp_path, host="worker")
    with pytest.raises(RuntimeError, match="surplus"):
        server.start()

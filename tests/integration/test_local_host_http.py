"""local_host over real HTTP: a small app in a process of its own, no storage needed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from devtools.process import ROOT
from tests.support.server import Server

APP = """
from __future__ import annotations

import asyncio

import azure.functions as func
import azurefunctions.extensions.http.fastapi
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
seen = []


@app.route(route="{tenant}/v{version}/echo/{name}", methods=["GET", "POST"])
async def echo(req: Request) -> Response:
    size = 0
    async for piece in req.stream():
        size += len(piece)
    return JSONResponse(
        {
            "params": req.path_params,
            "query": req.query_params.multi_items(),
            "size": size,
            "id": req.headers["x-ms-invocation-id"],
        }
    )


@app.route(route="count", methods=["GET"])
async def count(req: Request) -> Response:
    async def pieces():
        for number in range(3):
            yield f"{number};".encode()
            await asyncio.sleep(0.3)
    return StreamingResponse(pieces())


@app.route(route="slow", methods=["GET"])
async def slow(req: Request) -> Response:
    await asyncio.sleep(2)
    return Response("done")


@app.route(route="fails", methods=["GET"])
async def fails(req: Request) -> Response:
    raise ValueError("secret of the patient")


@app.route(route="breaks", methods=["GET"])
async def breaks(req: Request) -> Response:
    async def pieces():
        yield b"x"
        raise ValueError("too late")
    return StreamingResponse(pieces())


@app.route(route="none", methods=["GET"])
async def none(req: Request) -> Response:
    return None


@app.route(route="catches", methods=["POST"])
async def catches(req: Request) -> Response:
    try:
        async for piece in req.stream():
            pass
    except Exception as error:
        seen.append(type(error).__name__)
        return Response(status_code=400)
    return Response()


@app.route(route="seen", methods=["GET"])
async def seen_(req: Request) -> Response:
    return JSONResponse(seen)
"""
STORAGE = "UseDevelopmentStorage=true"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    (folder / "function_app.py").write_text(APP)
    (folder / "host.json").write_text(json.dumps({"extensions": {"http": {"routePrefix": ""}}}))
    return folder


@pytest.fixture(scope="module")
def server(app, tmp_path_factory):
    limit = {"FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": "1000000"}
    data = tmp_path_factory.mktemp("data")
    with Server(connection=STORAGE, data=data, app=app, environment=limit) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.base_url, timeout=30) as one:
        yield one


def exchange(server: Server, request: bytes) -> bytes:
    """What the server sends back for bytes on a connection of their own."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


def test_path_and_query_reach_the_function(client):
    answer = client.post("/main/V2/Echo/a%2Fb%20c?x=1&x=2", content=b"abc").json()
    assert answer["params"] == {"tenant": "main", "version": "2", "name": "a%2Fb c"}
    assert answer["query"] == [["x", "1"], ["x", "2"]]
    assert answer["size"] == 3


def test_a_chunked_body_reaches_the_function(client):
    answer = client.post("/main/v2/echo/x", content=iter([b"ab", b"cde"]))
    assert answer.json()["size"] == 5


def test_an_invocation_id_of_the_client_is_replaced(client):
    answer = client.get("/main/v2/echo/x", headers={"x-ms-invocation-id": "mine"}).json()
    assert answer["id"] != "mine"
    assert len(answer["id"]) == 36


def test_a_response_is_streamed(client):
    began = time.monotonic()
    with client.stream("GET", "/count") as response:
        pieces = response.iter_bytes()
        assert next(pieces) == b"0;"
        first_s = time.monotonic() - began
        assert b"".join(pieces) == b"1;2;"
    assert first_s < time.monotonic() - began - 0.3


def test_what_no_route_fits_is_404_and_empty(client):
    answer = client.get("/main/v2/other")
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize(("method", "allow"), [("DELETE", "GET, POST"), ("HEAD", "GET, POST")])
def test_a_wrong_method_is_405_with_the_right_ones(client, method, allow):
    answer = client.request(method, "/main/v2/echo/x")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, allow, b"")


@pytest.mark.parametrize("path", ["/fails", "/none"])
def test_a_function_that_fails_is_500_and_says_nothing(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.content) == (500, b"")


def test_a_body_that_breaks_off_is_seen_by_the_client(client):
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/breaks")
    assert client.get("/seen").status_code == 200


def test_each_invocation_has_one_line_without_the_query(server, client):
    name = f"n{time.time_ns()}"
    invocation = client.get(f"/main/v2/echo/{name}?PatientName=secret").json()["id"]
    client.get("/seen")
    lines = [line for line in server.log_text().splitlines() if invocation in line]
    assert len(lines) == 1
    assert " INFO local_host echo 200 " in lines[0]
    assert "secret" not in server.log_text().replace("secret of the patient", "")
    assert name not in server.log_text()


def test_a_body_beyond_the_limit_is_413_before_the_function_runs(client):
    answer = client.post("/main/v2/echo/x", content=b"x" * 1_000_001)
    assert (answer.status_code, answer.content) == (413, b"")
    assert client.post("/main/v2/echo/x", content=b"x" * 1_000_000).json()["size"] == 1_000_000


@pytest.mark.parametrize("path", ["/main/v2/echo/x", "/catches"])
def test_a_chunked_body_beyond_the_limit_is_413(client, path):
    answer = client.post(path, content=iter([b"x" * 600_000] * 2))
    assert answer.status_code == 413


def test_a_client_that_goes_away_is_seen_by_the_function(server, client):
    request = b"POST /catches HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
    before = len(client.get("/seen").json())
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(request)
    deadline = time.monotonic() + 10
    while len(seen := client.get("/seen").json()) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert seen[-1] == "ClientDisconnect"


def test_a_request_line_beyond_8_kib_is_414(client):
    assert client.get("/main/v2/echo/x?a=" + "b" * 8_192).status_code == 414
    assert client.get("/main/v2/echo/x?a=" + "b" * 8_000).status_code == 200


def test_a_short_answer_is_not_held_back(client):
    # Nagle's algorithm and a delayed acknowledgement together cost 40 ms a request
    times = []
    for _ in range(20):
        began = time.perf_counter()
        client.get("/seen")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.03


def test_a_nul_in_the_path_is_refused(client):
    assert client.get("/main/v2/echo/%00").status_code == 400


def test_a_request_that_is_no_http_does_not_end_the_server(server, client):
    assert b" 400 " in exchange(server, b"\x16\x03\x01\r\n\r\n")
    assert client.get("/seen").status_code == 200


def test_dots_in_the_path_do_not_climb(server):
    request = b"GET /x/../seen HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert exchange(server, request).startswith(b"HTTP/1.1 200")


async def test_requests_run_side_by_side(server):
    async with httpx.AsyncClient(base_url=server.base_url, timeout=30) as client:
        began = time.monotonic()
        answers = await asyncio.gather(*(client.get("/slow") for _ in range(5)))
    assert [answer.text for answer in answers] == ["done"] * 5
    assert time.monotonic() - began < 8


def test_a_stop_lets_a_running_request_finish(app, tmp_path):
    with Server(connection=STORAGE, data=tmp_path, app=app) as running:
        answers: list[httpx.Response] = []
        url = f"{running.base_url}/slow"
        caller = threading.Thread(target=lambda: answers.append(httpx.get(url, timeout=30)))
        caller.start()
        time.sleep(0.5)
        os.kill(running.pid, signal.SIGTERM)
        caller.join()
        assert running.stop() == 0
    assert answers[0].text == "done"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_kill_and_a_restart_keep_the_port(app, tmp_path):
    with Server(connection=STORAGE, data=tmp_path, app=app) as running:
        first = running.pid
        assert running.rss_peak() >= running.rss() > 10_000_000
        running.kill()
        running.restart()
        assert running.pid != first
        assert httpx.get(f"{running.base_url}/seen").status_code == 200


def host(folder, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "local_host", "--app", str(folder), *words]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_port_that_is_taken_is_named(server, app):
    done = host(app, "--port", str(server.port))
    assert done.returncode == 2
    assert f"port {server.port} cannot be used" in done.stderr
    assert "--port" in done.stderr


def test_an_app_that_cannot_be_hosted_ends_with_its_reason(tmp_path):
    (tmp_path / "function_app.py").write_text(
        "import azure.functions as func\napp = func.FunctionApp()\n"
        '@app.event_grid_trigger(arg_name="event")\ndef announced(event): ...\n'
    )
    done = host(tmp_path, "--port", "0")
    assert done.returncode == 2
    assert "local_host: function announced: eventGridTrigger is not one of" in done.stderr
    assert "Traceback" not in done.stderr

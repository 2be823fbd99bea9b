"""The smoke test of a deployment, run against the service of this machine with sign-in on."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from infra.hooks.azd import HookStopped, run
from infra.hooks.postdeploy import work
from infra.hooks.rest import Rest
from infra.hooks.smoke import TOKEN, SmokeTest, main, synthetic_instance
from tests.support.house import READER, House
from tests.support.server import Server

ROOT = Path(__file__).parents[2]
_STEPS = ["health", "sign-in", "store", "search", "retrieve", "delete"]


class Between:
    """A proxy before the service. ``change`` sees each answer, and may change or cut it off."""

    def __init__(self, target: str) -> None:
        self.seen: list[tuple[str, str]] = []
        self.change: Callable[[str, str, httpx.Response], tuple[int, bytes] | None] = (
            lambda _method, _path, answer: (answer.status_code, answer.content)
        )
        between = self
        http = httpx.Client(base_url=target, timeout=60)

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kept = ("authorization", "content-type", "accept")
                head = {name: self.headers[name] for name in kept if name in self.headers}
                answer = http.request(self.command, self.path, content=body, headers=head)
                between.seen.append((self.command, self.path))
                changed = between.change(self.command, self.path, answer)
                if changed is None:
                    self.connection.close()
                    self.close_connection = True
                    return
                with contextlib.suppress(BrokenPipeError):  # a caller that was ended
                    self.send_response(changed[0])
                    self.send_header("Content-Length", str(len(changed[1])))
                    self.end_headers()
                    self.wfile.write(changed[1])

            do_GET = do_POST = do_DELETE = _do  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = http
        # an address of this machine that the test does not take for it
        self._server = ThreadingHTTPServer(("127.0.0.2", 0), Handler)
        self.url = f"http://127.0.0.2:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.close()


@pytest.fixture
def between(house: House) -> Iterator[Between]:
    proxy = Between(house.server.base_url)
    yield proxy
    proxy.close()


def tried(house: House, url: str | None = None, **claims: Any) -> SmokeTest:
    token = house.token(**claims)
    return SmokeTest(url or house.server.base_url, "main", lambda: token, pause=lambda _: None)


def is_there(house: House, study: str) -> bool:
    path = f"/main/v2/studies?StudyInstanceUID={study}"
    return house.http.get(path, headers=house.headers()).status_code == 200


def test_a_good_service_passes_and_nothing_is_left(house: House) -> None:
    test = tried(house)
    lines = list(test.run(10))
    assert [line.split(":")[0] for line in lines] == _STEPS
    assert "nobody gets in without a token" in lines[1]
    assert not is_there(house, test.study)


def test_the_command_prints_the_address_of_the_service(house: House) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "infra.hooks.smoke", "--base-url", house.server.base_url],
        cwd=ROOT,
        env={**os.environ, TOKEN: house.token()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.endswith(f"\n{house.server.base_url}/main/v2\n\n")
    assert house.token()[:20] not in outcome.stdout


def test_the_hook_runs_it_after_a_deployment(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"SERVICE_API_URI": house.server.base_url, "DICOM_TENANTS": "other,main"}
    token = house.token("other")
    work(environment, Rest("http://127.0.0.1:9", lambda: ""), lambda: token, patience_s=10)
    assert f"{house.server.base_url}/other/v2\n" in capsys.readouterr().out


def test_where_sign_in_is_off_on_this_machine_no_token_is_needed(
    server: Server, tenants: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(lambda: main(["--base-url", server.base_url, "--tenant", tenants[0]])) == 0
    assert "sign-in: is off on this machine" in capsys.readouterr().out


def test_a_service_that_lets_anybody_in_fails(server: Server, tenants: tuple[str, str]) -> None:
    open_door = Between(server.base_url)
    try:
        test = SmokeTest(open_door.url, tenants[0], None, pause=lambda _: None)
        with pytest.raises(HookStopped, match="lets anybody in"):
            list(test.run(0))
        assert {method for method, _ in open_door.seen} == {"GET"}
    finally:
        open_door.close()


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"roles": READER}, "lacks the role Dicom.DataOwner"),
        ({"aud": "api://nobody"}, "The token is not taken"),
        ({"exp": 1}, "The token is not taken"),
    ],
)
def test_a_token_that_does_not_do_is_explained(
    house: House, claims: dict[str, Any], said: str
) -> None:
    test = tried(house, **claims)
    with pytest.raises(HookStopped, match=said) as stopped:
        list(test.run(10))
    assert "x-correlation-id: " in str(stopped.value)
    assert not is_there(house, test.study)


def test_without_a_token_it_says_how_to_give_one(house: House) -> None:
    with pytest.raises(HookStopped, match=f"Set {TOKEN}, or name the --audience"):
        list(SmokeTest(house.server.base_url, "main", None).run(10))


def _at(step: str, method: str, path: str) -> bool:
    return {
        "store": method == "POST",
        "search": "StudyInstanceUID=" in path,
        "retrieve": method == "GET" and path.count("/") == 8,
        "delete": method == "DELETE",
    }[step]


@pytest.mark.parametrize("step", ["store", "search", "retrieve", "delete"])
@pytest.mark.parametrize("how", ["cut off", "500", "wrong"])
def test_nothing_is_left_when_it_fails_half_way(
    house: House, between: Between, step: str, how: str
) -> None:
    """Each answer is lost, or replaced, after the service has done its work."""
    spoilt = []

    def change(method: str, path: str, answer: httpx.Response) -> tuple[int, bytes] | None:
        if spoilt or not _at(step, method, path):
            return answer.status_code, answer.content
        spoilt.append(path)
        if how == "cut off":
            return None
        return (500, b"") if how == "500" else (200, b"[]")

    between.change = change
    test = tried(house, between.url)
    with pytest.raises(HookStopped):
        list(test.run(10))
    assert spoilt
    assert not is_there(house, test.study)


def test_it_says_what_is_left_when_it_cannot_delete(
    house: House, between: Between, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(method: str, path: str, answer: httpx.Response) -> tuple[int, bytes] | None:
        stays = method == "GET" and "StudyInstanceUID=" not in path
        return (answer.status_code, answer.content) if stays or method == "POST" else None

    between.change = away
    test = tried(house, between.url)
    with pytest.raises(HookStopped, match="search: the service did not answer"):
        list(test.run(10))
    # the proxy hides the answers only: the service has done it
    assert f"{between.url}/main/v2/studies/{test.study}" in capsys.readouterr().err


def test_when_it_is_ended_it_deletes_what_it_has_stored(house: House, between: Between) -> None:
    stored = threading.Event()

    def slow(method: str, path: str, answer: httpx.Response) -> tuple[int, bytes]:
        if _at("search", method, path):
            stored.set()
            time.sleep(2)
        return answer.status_code, answer.content

    between.change = slow
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.hooks.smoke", "--base-url", between.url],
        cwd=ROOT,
        env={**os.environ, TOKEN: house.token()},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stored.wait(60)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    found = re.search(r"store: study (\S+)", out)
    assert found is not None
    assert ("DELETE", f"/main/v2/studies/{found[1]}") in between.seen
    assert not is_there(house, found[1])


def test_a_store_that_is_down_is_named(house: House, between: Between) -> None:
    body = b'{"details": [{"name": "index", "status": "Unhealthy"}]}'
    between.change = lambda *_: (503, body)
    with pytest.raises(HookStopped, match="answers 503 index"):
        list(tried(house, between.url).run(0))


def test_the_instance_is_valid_and_of_nobody() -> None:
    found = dcmread(io.BytesIO(synthetic_instance("1.2", "1.2.3", "1.2.3.4")))
    assert (found.PatientName, found.PatientID) == ("", "SMOKE-TEST")
    assert found.pixel_array.shape == (16, 16)

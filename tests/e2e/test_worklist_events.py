"""Event reports of work items over real WebSockets (PS3.18 8.10.4, 11.10–11.13)."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from functions import _socket
from local_host import server as local_server
from shared.ports import JsonObject
from shared.worklist.subscriptions import FILTERED, GLOBAL
from tests.support import dicom
from tests.support.house import READER, House
from tests.support.server import Server
from tests.support.work_items import code, sq, state, value, work_item

_CRASHING = Path(dicom.__file__).parent / "crashing_app"
_PAGE = Path(__file__).parents[2] / "docs" / "worklist-events.md"
_KIND = {"Content-Type": "application/dicom+json"}
_ACCEPT = {"Accept": "application/dicom+json"}
_WAIT_S = 60


class Client:
    """Somebody who works with the worklist of a data partition."""

    def __init__(self, base_url: str, headers: dict[str, str]) -> None:
        self.headers = headers
        self.channel = f"ws{base_url.removeprefix('http')}/subscribers/"
        self.http = httpx.Client(base_url=base_url, headers=headers | _KIND, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def create(self, **changes: JsonObject | None) -> str:
        uid = dicom.new_uid()
        body = json.dumps([work_item(uid, **changes)])
        assert self.http.post(f"/workitems?{uid}", content=body).status_code == 201
        return uid

    def claim(self, uid: str) -> str:
        owner = dicom.new_uid()
        body = json.dumps(state("IN PROGRESS", owner))
        assert self.http.put(f"/workitems/{uid}/state", content=body).status_code == 200
        return owner

    def subscribe(self, item: str, aet: str, query: str = "") -> httpx.Response:
        return self.http.post(f"/workitems/{item}/subscribers/{aet}{query}")

    def listen(self, aet: str, query: str = "") -> ClientConnection:
        return connect(self.channel + aet + query, additional_headers=self.headers)


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    with Client(f"{house.server.base_url}/main/v2", house.headers()) as found:
        yield found


def heard(socket: ClientConnection) -> tuple[str, int]:
    return _told(json.loads(socket.recv(timeout=_WAIT_S)))


def _told(report: JsonObject) -> tuple[str, int]:
    return report["00001000"]["Value"][0], report["00001002"]["Value"][0]


def _ids(reports: list[JsonObject]) -> list[str]:
    return [one["00091001"]["Value"][0] for one in reports]


def test_a_subscription_and_its_reports(client: Client) -> None:
    uid = client.create()
    answer = client.subscribe(uid, "READER 1")
    assert answer.status_code == 201
    assert answer.headers["Content-Location"] == f"{client.channel}READER%201"
    with client.listen("READER%201") as socket:
        assert heard(socket) == (uid, 1)
        owner = client.claim(uid)
        assert heard(socket) == (uid, 1)
        body = json.dumps([{"00404025": sq(code("AI"))}])
        assert client.http.post(f"/workitems/{uid}?{owner}", content=body).status_code == 200
        assert heard(socket) == (uid, 5)
        with client.listen("READER%201") as second:  # what is not settled comes again
            assert [heard(second) for _ in range(3)] == [(uid, 1), (uid, 1), (uid, 5)]
    kept = client.http.get("/subscribers/READER%201/reports").json()
    assert [_told(one) for one in kept] == [(uid, 1), (uid, 1), (uid, 5)]
    assert kept[1]["00741000"]["Value"] == ["IN PROGRESS"]
    first, *_, last = _ids(kept)
    with client.listen("READER%201", f"?after={first}") as socket:
        assert [heard(socket) for _ in range(2)] == [(uid, 1), (uid, 5)]
    path = f"/subscribers/READER%201/reports?after={last}"
    assert client.http.get(path).status_code == 204
    assert client.http.delete(f"/workitems/{uid}/subscribers/READER%201").status_code == 200
    body = json.dumps([{"00404041": value("CS", "X")}])
    assert client.http.post(f"/workitems/{uid}?{owner}", content=body).status_code == 200
    # the last connection was closed in good order
    with client.listen("READER%201") as socket, pytest.raises(TimeoutError):
        socket.recv(timeout=1)
    assert client.http.get(path).status_code == 204


def test_the_worklist_with_a_filter(client: Client) -> None:
    query = "?deletionlock=true&filter=ProcedureStepLabel=Filtered*,00741200=HIGH"
    assert client.subscribe(FILTERED, "FILTER", query).status_code == 201
    wanted = {"t00741204": value("LO", "Filtered, with a comma"), "t00741200": value("CS", "HIGH")}
    with client.listen("FILTER") as socket:
        client.create()
        uid = client.create(**wanted)
        assert heard(socket) == (uid, 1)
        path = f"/workitems/{FILTERED}/subscribers/FILTER"
        assert client.http.post(f"{path}/suspend").status_code == 200
        client.create(**wanted)
        client.claim(uid)
        assert heard(socket) == (uid, 1)
        assert client.http.delete(path).status_code == 200
        assert client.http.delete(path).status_code == 404


def test_a_request_to_cancel(client: Client) -> None:
    uid = client.create()
    client.claim(uid)
    body = json.dumps([{"00741238": value("LT", "no longer needed")}])
    path = f"/workitems/{uid}/cancelrequest"
    assert client.http.post(path, content=body).status_code == 409
    assert client.subscribe(uid, "OWNER").status_code == 201
    assert client.http.post(path, content=body).status_code == 202
    with client.listen("OWNER") as socket:
        assert [heard(socket) for _ in range(2)] == [(uid, 1), (uid, 2)]


@pytest.mark.bug_report(61)
def test_what_is_refused(client: Client, house: House) -> None:
    uid = client.create()
    for method, path, status, named in (
        ("DELETE", f"/workitems/{uid}/subscribers/AET1", 404, "not subscribed"),
        ("DELETE", f"/workitems/{GLOBAL}/subscribers/AET1", 404, "not subscribed"),
        ("DELETE", f"/workitems/{FILTERED}/subscribers/AET1", 404, "not subscribed"),
        ("POST", f"/workitems/{GLOBAL}/subscribers/AET1/suspend", 404, "not subscribed"),
        ("POST", f"/workitems/{FILTERED}/subscribers/AET1/suspend", 404, "not subscribed"),
        ("POST", f"/workitems/{uid}/subscribers/AET1/suspend", 404, "suspended"),
        ("POST", f"/workitems/{dicom.new_uid()}/subscribers/AET1", 404, "not found"),
        ("POST", "/workitems/abc/subscribers/AET1", 400, "UID"),
        ("POST", f"/workitems/{uid}/subscribers/SEVENTEEN-LETTERS", 400, "AE title"),
        ("POST", f"/workitems/{uid}/subscribers/A%5CB", 400, "AE title"),
        ("POST", f"/workitems/{uid}/subscribers/%20", 400, "AE title"),
        ("POST", f"/workitems/{uid}/subscribers/AET1?deletionlock=yes", 400, "deletionlock"),
        ("POST", f"/workitems/{uid}/subscribers/AET1?filter=00741200=HIGH", 400, "filter"),
        ("POST", f"/workitems/{FILTERED}/subscribers/AET1", 400, "filter"),
        ("POST", f"/workitems/{FILTERED}/subscribers/AET1?filter=HIGH", 400, "filter"),
        ("POST", f"/workitems/{FILTERED}/subscribers/AET1?filter=Modality=CT", 400, "Modality"),
        ("GET", "/subscribers/AET1", 426, "WebSocket"),
        ("GET", "/subscribers/AET1/reports?after=x", 400, "after"),
    ):
        answer = client.http.request(method, path)
        assert (answer.status_code, named in answer.text) == (status, True), (path, answer.text)
    reader = house.headers(roles=READER)
    path = f"{client.http.base_url}workitems/{uid}/subscribers/AET1"
    assert httpx.post(path, headers=reader).status_code == 403
    assert httpx.post(path).status_code == 401


def test_the_door_of_the_channel(client: Client, house: House) -> None:
    def status(channel: str, headers: dict[str, str]) -> int:
        with pytest.raises(InvalidStatus) as refused:
            connect(channel, additional_headers=headers)
        return refused.value.response.status_code

    channel = f"{client.channel}DOOR"
    assert status(channel, {}) == 401
    assert status(channel, house.headers(tenant="other")) == 404
    assert status(channel, house.headers(roles=["Nobody"])) == 403
    assert status(f"{channel}?after=x", client.headers) == 400
    assert status(f"{client.channel}SEVENTEEN-LETTERS", client.headers) == 400
    assert status(channel, client.headers | {"Origin": "https://evil.example"}) == 403
    assert status(client.channel.replace("subscribers", "nothing") + "x", client.headers) == 404
    with connect(channel, additional_headers=house.headers(roles=READER)):
        pass
    entries = house.entries_of(lambda one: one.get("StatusCode") == 101)
    assert (entries[0]["Action"], entries[0]["ResultType"]) == ("report-workitem", "Succeeded")
    assert _socket.PING_S == local_server.PING_S


def test_other_partitions_and_tenants_hear_nothing(client: Client, house: House) -> None:
    base = house.server.base_url
    with (
        Client(f"{base}/main/v2/partitions/ward.a", house.headers()) as ward,
        Client(f"{base}/other/v2", house.headers(tenant="other")) as other,
    ):
        ward.create()  # it makes the partition
        for one in (client, ward, other):
            assert one.subscribe(GLOBAL, "EVERYWHERE").status_code == 201
        items = {one: one.create() for one in (client, ward, other)}
        for one, uid in items.items():
            with one.listen("EVERYWHERE") as socket:
                while heard(socket) != (uid, 1):
                    pass  # of what was created just before
            kept = one.http.get("/subscribers/EVERYWHERE/reports").json()
            assert {_told(report)[0] for report in kept} & set(items.values()) == {uid}
            path = f"/workitems/{GLOBAL}/subscribers/EVERYWHERE"
            assert one.http.delete(path).status_code == 200


def _snippet() -> Callable[..., Generator[JsonObject, None, None]]:
    """The program of the page, as it stands there."""
    found = re.search(r"```python\n(.*?)```", _PAGE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)
    reports: Callable[..., Generator[JsonObject, None, None]] = names["reports"]
    return reports


def _ask_until_it_dies(server: Server) -> None:
    for _ in range(600):
        httpx.get(server.base_url)
        time.sleep(0.05)


def test_a_report_outlives_the_process(new_account: Callable[[], str], tmp_path: Path) -> None:
    account, environment = new_account(), {"DICOM_SWEEP_SCHEDULE": "*/2 * * * * *"}
    healthy = Server(connection=account, data=tmp_path, seed=True, environment=environment)
    items = []
    base = f"{healthy.base_url}/main/v2"
    with healthy, Client(base, {}) as client:
        for _ in range(4):
            uid = client.create()
            assert client.subscribe(uid, "PIPELINE").status_code == 201
            items.append(uid)
    listening = _snippet()(f"ws{base.removeprefix('http')}/subscribers/PIPELINE", {})
    # before the message is sent, before the mailbox, before the outbox is cleared
    for uid, write in zip(items, (2, 3, 4), strict=False):
        crashing = Server(
            connection=account,
            data=tmp_path,
            app=_CRASHING,
            port=healthy.port,
            environment={"CRASH_BEFORE_WRITE": str(write)},
        )
        with crashing:
            with contextlib.suppress(httpx.TransportError), Client(base, {}) as client:
                client.claim(uid)
            with pytest.raises(httpx.TransportError):
                _ask_until_it_dies(crashing)
    with healthy, Client(base, {}) as client, contextlib.closing(listening):
        for uid in items[
            :3
        ]:  # where the process died of what it still had to do, nothing was changed
            body = client.http.get(f"/workitems/{uid}", headers=_ACCEPT).json()
            if body["00741000"]["Value"] == ["SCHEDULED"]:
                client.claim(uid)
        client.claim(items[3])
        healthy.kill()
        healthy.restart()
        deadline = time.monotonic() + _WAIT_S
        while len(client.http.get("/subscribers/PIPELINE/reports").json()) < 8:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        found = list(itertools.islice(listening, 8))
        for uid in items:
            states = [one["00741000"]["Value"][0] for one in found if _told(one) == (uid, 1)]
            assert states == ["SCHEDULED", "IN PROGRESS"]
        assert len(set(_ids(found))) == 8
        kept = client.http.get("/subscribers/PIPELINE/reports").json()
        assert _ids(kept) == _ids(found)

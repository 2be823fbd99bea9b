"""The stores are slow, busy, away or break connections: no wrong answer, no loss, no hang.

The local host runs with a proxy of ours in front of each service of Azurite. While a fault lasts,
each transaction either answers as if there were none or says 503 with Retry-After, in time; a 200
is kept. When it is over, the same process goes on, and the archive and its feed are whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import dicom
from tests.support.archive import look
from tests.support.fault_proxy import (
    Answer,
    FaultProxy,
    Kind,
    Once,
    ResetAnswer,
    ResetRequest,
    Silent,
    Slow,
)
from tests.support.requests import DICOM
from tests.support.server import Server
from tests.support.store_client import WHOLE, path_of

_REQUEST_S = 10.0
_TIDY_S = 15.0
_SETTLED_S = 60.0
_PATIENCE = {
    "DICOM_STORE_SILENCE_SECONDS": "3",
    "DICOM_STORE_TRIES": "2",
    "DICOM_REQUEST_SECONDS": str(int(_REQUEST_S)),
    "DICOM_COMMIT_GRACE_SECONDS": "20",
    "DICOM_SWEEP_SCHEDULE": "*/2 * * * * *",
}
_SERVICES = ("BlobEndpoint", "QueueEndpoint", "TableEndpoint")


@dataclass(slots=True)
class Faulty:
    """The service, with a proxy before each of its stores."""

    server: Server
    proxies: dict[str, FaultProxy]
    connection: str
    base: str
    data: Path
    kept: dict[str, bytes] = field(default_factory=dict)

    def set(self, *services: str, kind: Kind | Once | None) -> None:
        for name in services:
            self.proxies[f"{name}Endpoint"].fault = kind


@pytest.fixture(scope="module")
def faulty(
    new_account: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Faulty]:
    connection = behind = new_account()
    data = tmp_path_factory.mktemp("faults")
    with contextlib.ExitStack() as stack:
        proxies = {}
        for name in _SERVICES:
            found = re.search(rf"{name}=http://127\.0\.0\.1:(\d+)/", connection)
            assert found is not None
            proxy = proxies[name] = stack.enter_context(FaultProxy("127.0.0.1", int(found[1])))
            behind = behind.replace(found[0], f"{name}=http://127.0.0.1:{proxy.port}/")
        environment = {"DICOM_TENANTS": "faults", **_PATIENCE}
        server = Server(connection=behind, data=data, seed=True, environment=environment)
        stack.enter_context(server)
        yield Faulty(server, proxies, connection, f"{server.base_url}/faults/v2", data)


# One transaction --------------------------------------------------------------------------


def _timed(work: Callable[[], httpx.Response]) -> httpx.Response:
    """An answer, which has to come in time and to say 503 where it is none."""
    began = time.monotonic()
    response = work()
    took = time.monotonic() - began
    assert took < _REQUEST_S + _TIDY_S, f"{response.request.url} took {took:.1f} s"
    if response.status_code >= 500:
        assert response.status_code == 503, f"{response.request.url}: {response.text}"
        assert int(response.headers["Retry-After"]) >= 1
    return response


def _large() -> Any:
    return dicom.multi_frame(frames=36, Rows=512, Columns=512, PixelData=bytes(36 * 512 * 512))


def _store(faulty: Faulty, ds: Any) -> int:
    file = dicom.part10(ds)
    url = f"{faulty.base}/studies"
    response = _timed(lambda: httpx.post(url, content=file, headers=DICOM, timeout=120))
    if response.status_code in (200, 202):
        faulty.kept[path_of(ds)] = file
    return response.status_code


def _get(faulty: Faulty, path: str, **headers: str) -> httpx.Response:
    return _timed(lambda: httpx.get(f"{faulty.base}{path}", headers=headers, timeout=120))


def _file(faulty: Faulty, path: str) -> int:
    """Retrieve a file: all of it, 503, or an answer that is seen to be cut short."""
    try:
        response = _get(faulty, path, **WHOLE)
    except httpx.TransportError:
        return 0
    if response.status_code == 200:
        assert response.content == faulty.kept[path]
    return response.status_code


def _search(faulty: Faulty, path: str) -> int:
    study, _, instance = path.split("/")[2::2]
    response = _get(faulty, f"/studies/{study}/instances?SOPInstanceUID={instance}")
    if response.status_code != 503:
        assert [row["00080018"]["Value"][0] for row in response.json()] == [instance]
    return response.status_code


def _feed(faulty: Faulty) -> int:
    response = _get(faulty, "/changefeed?limit=200")
    assert response.status_code in (200, 503)
    return response.status_code


def _delete(faulty: Faulty, path: str) -> int:
    response = _timed(lambda: httpx.delete(f"{faulty.base}{path}", timeout=120))
    if response.status_code in (204, 404):
        faulty.kept.pop(path, None)
    return response.status_code


def _stored(faulty: Faulty, ds: Any) -> str:
    assert _store(faulty, ds) in (200, 202)
    return path_of(ds)


# What holds -------------------------------------------------------------------------------


def _settle(faulty: Faulty) -> None:
    deadline = time.monotonic() + _SETTLED_S
    while True:
        archive = asyncio.run(look(faulty.connection, faulty.data / "index", "faults"))
        faults = archive.faults()
        if not faults:
            return
        if time.monotonic() > deadline:
            pytest.fail("\n".join([*faults, faulty.server.log_text()[-6000:]]))
        time.sleep(0.3)


_FAULTS: dict[str, tuple[tuple[str, ...], Callable[[], Kind | Once], set[int]]] = {
    # which stores, what befalls them, and what a store may answer meanwhile
    "slow": (("Blob", "Queue", "Table"), lambda: Slow(2), {200, 202}),
    "busy": (("Blob", "Queue"), lambda: Answer(503, {"Retry-After": "1"}), {503}),
    "throttled": (("Blob", "Table"), lambda: Answer(429, {"Retry-After": "1"}), {503}),
    "cut": (("Blob", "Queue", "Table"), ResetRequest, {503}),
    "some-cut": (("Blob", "Queue", "Table"), lambda: Once(ResetRequest()), {200, 202}),
    "answer-lost": (("Blob", "Queue", "Table"), lambda: Once(ResetAnswer()), {200, 202}),
    "answers-lost": (("Blob", "Queue", "Table"), ResetAnswer, {503}),
    "answer-cut": (("Blob", "Queue", "Table"), lambda: Once(ResetAnswer(300)), {200, 202}),
    "silent": (("Blob", "Queue", "Table"), Silent, {503}),
    "done-silent": (("Blob", "Queue"), lambda: Silent(done=True), {503}),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_no_wrong_answer_and_no_loss(faulty: Faulty, fault: str) -> None:
    services, kind, allowed = _FAULTS[fault]
    faulty.kept.clear()
    here, goes = _stored(faulty, dicom.ct()), _stored(faulty, dicom.ct())
    big = _stored(faulty, _large())
    news = [dicom.ct(), _large(), dicom.mr()]
    faulty.set(*services, kind=kind())
    work: list[Callable[[], int]] = [
        *((lambda ds=ds: _store(faulty, ds)) for ds in news),
        lambda: _file(faulty, here),
        lambda: _file(faulty, big),
        lambda: _search(faulty, here),
        lambda: _feed(faulty),
        lambda: _delete(faulty, goes),
    ]
    with ThreadPoolExecutor(len(work)) as at_once:
        statuses = list(at_once.map(lambda one: one(), work))
    assert all(proxy.hits for name, proxy in faulty.proxies.items() if name[:-8] == services[0])
    faulty.set("Blob", "Queue", "Table", kind=None)
    print(fault, statuses)
    assert set(statuses[:3]) <= allowed
    again = [_store(faulty, ds) for ds in news]
    assert set(again) <= {200, 202, 409}, again
    _settle(faulty)
    for path in [*faulty.kept]:
        assert _file(faulty, path) == 200
        assert _search(faulty, path) == 200
    rows = _get(faulty, "/changefeed?limit=200").json()
    created = [row["sopInstanceUid"] for row in rows if row["action"] == "Create"]
    assert len(created) == len(set(created))
    assert {path.rsplit("/", 1)[1] for path in faulty.kept} <= set(created)

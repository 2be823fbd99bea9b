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
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
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
_SETTLED_S = 180.0
_PATIENCE = {
    "DICOM_STORE_SILENCE_SECONDS": "3",
    "DICOM_STORE_TRIES": "2",
    "DICOM_REQUEST_SECONDS": str(int(_REQUEST_S)),
    "DICOM_COMMIT_GRACE_SECONDS": "15",
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
    cases: set[str] = field(default_factory=set)

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


@dataclass(frozen=True, slots=True)
class Case:
    """A fault: which stores it befalls, and how a store may be answered meanwhile."""

    kind: Callable[[], Kind | Once]
    answers: set[int]
    stores: tuple[str, ...] = ("Blob", "Queue", "Table")


_STORED = {200, 202}
_CASES = {
    "slow": Case(lambda: Slow(2), _STORED),
    "busy": Case(lambda: Answer(503, {"Retry-After": "1"}), {503}, ("Blob", "Queue")),
    "away": Case(ResetRequest, {503}),
    "cut once": Case(lambda: Once(ResetRequest()), _STORED),
    "answer lost once": Case(lambda: Once(ResetAnswer()), _STORED),
    "answer cut once": Case(lambda: Once(ResetAnswer(300)), _STORED),
    "answers lost": Case(ResetAnswer, {503}),
    "silent": Case(lambda: Silent(done=True), {503}),
}


@pytest.mark.parametrize("name", _CASES)
def test_no_wrong_answer_no_loss_no_hang(faulty: Faulty, name: str) -> None:
    case = _CASES[name]
    series = {"StudyInstanceUID": dicom.new_uid()}
    here, goes = _stored(faulty, dicom.ct(**series)), _stored(faulty, dicom.ct())
    big = _stored(faulty, _large())
    news = [dicom.ct(**series), _large(), dicom.mr()]
    faulty.set(*case.stores, kind=case.kind())
    work: list[Callable[[], int]] = [
        *(partial(_store, faulty, ds) for ds in news),
        partial(_file, faulty, here),
        partial(_file, faulty, big),
        partial(_search, faulty, here),
        partial(_feed, faulty),
        partial(_delete, faulty, goes),
    ]
    with ThreadPoolExecutor(len(work)) as at_once:
        statuses = list(at_once.map(lambda one: one(), work))
    assert faulty.proxies["BlobEndpoint"].hits
    faulty.set("Blob", "Queue", "Table", kind=None)
    assert set(statuses[:3]) <= case.answers, statuses
    assert statuses[5:] == [200, 200, 204], "the index was there"
    if case.answers == _STORED:
        assert statuses[3:5] == [200, 200]
    with ThreadPoolExecutor(len(news)) as at_once:
        again = list(at_once.map(partial(_store, faulty), news))
    assert set(again) <= {200, 202, 409}, again
    for path in (here, big, *map(path_of, news)):
        if path in faulty.kept:
            assert (_file(faulty, path), _search(faulty, path)) == (200, 200)
    faulty.cases.add(name)


def test_a_full_disk_refuses_what_it_cannot_keep(faulty: Faulty) -> None:
    """No file of the process may grow: SQLite, the log and temporary files meet EFBIG."""
    kept = _stored(faulty, dicom.ct())
    process = psutil.Process(faulty.server.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1, before[1]))
    try:
        refused = [dicom.ct() for _ in range(3)]
        assert {_store(faulty, ds) for ds in refused} == {503}
        assert _delete(faulty, kept) == 503
        assert (_file(faulty, kept), _search(faulty, kept)) == (200, 200)
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert {_store(faulty, ds) for ds in refused} <= _STORED
    assert _delete(faulty, kept) == 204
    faulty.cases.add("full disk")


def test_the_archive_and_the_feed_are_whole_afterwards(faulty: Faulty) -> None:
    """What was told to be stored is there, and announced once; nothing else is left of faults."""
    assert faulty.cases, "run it with the tests above"
    _settle(faulty)
    rows = _get(faulty, "/changefeed?limit=200").json()
    created = [row["sopInstanceUid"] for row in rows if row["action"] == "Create"]
    assert len(created) == len(set(created))
    assert {path.rsplit("/", 1)[1] for path in faulty.kept} <= set(created)
    deleted = [row["sopInstanceUid"] for row in rows if row["action"] == "Delete"]
    assert len(deleted) == len(set(deleted)) == len(faulty.cases)

"""Files of a tenant that was added while the service runs: by Event Grid's queue, no restart."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient
from azure.storage.queue import QueueClient
from pydicom.dataset import Dataset

from functions.indexing import BLOB_EVENTS_QUEUE
from shared.index.shapes import INSTANCE
from shared.ports import VERSION_EPOCH, VERSION_LOW_BITS
from tests.support import dicom
from tests.support.archive import look
from tests.support.server import Server

_CRASHING = Path(dicom.__file__).parent / "crashing_app"
_SECONDS = 90.0
_GRACE = {"DICOM_COMMIT_GRACE_SECONDS": "3"}


def _eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def _container(server: Server, tenant: str) -> ContainerClient:
    return ContainerClient.from_connection_string(server.connection, f"dicom-{tenant}")


def _queue(server: Server, suffix: str = "") -> QueueClient:
    return QueueClient.from_connection_string(server.connection, BLOB_EVENTS_QUEUE + suffix)


def _poisoned(server: Server) -> list[str]:
    try:
        return [one.content for one in _queue(server, "-poison").peek_messages(max_messages=32)]
    except ResourceNotFoundError:
        return []


def _send(server: Server, body: object) -> None:
    with _queue(server) as queue:
        queue.send_message(base64.b64encode(json.dumps(body).encode()).decode())


def _event(container: str, name: str) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": "again",
        "type": "Microsoft.Storage.BlobCreated",
        "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
        "data": {"api": "PutBlob", "url": f"https://host/{container}/{name}"},
    }


def _add(server: Server, tenant: str) -> str:
    """Add a tenant by the API of administrators; the address of its version 2."""
    answer = httpx.put(f"{server.base_url}/tenants/{tenant}", json={}, timeout=60)
    assert answer.status_code == 201, answer.text
    return f"{server.base_url}/{tenant}/v2"


def _old_version() -> str:
    age = datetime.now(UTC) - timedelta(hours=1) - VERSION_EPOCH
    return f"{(age // timedelta(milliseconds=1)) << VERSION_LOW_BITS:019}"


def _is_found(base: str, ds: Dataset) -> bool:
    answer = httpx.get(f"{base}/studies", params={"StudyInstanceUID": ds.StudyInstanceUID})
    return answer.status_code == 200 and len(answer.json()) == 1


def _settled(server: Server) -> None:
    """Wait until no message is left."""
    with _queue(server) as queue:
        _eventually(
            lambda: not queue.get_queue_properties().approximate_message_count, "messages left"
        )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("blob-events")


@pytest.fixture(scope="module")
def running(new_account: Callable[[], str], data: Path) -> Iterator[Server]:
    """The service, started with the tenant ``main``; for that one there are blob triggers, too."""
    with Server(connection=new_account(), data=data, seed=True, environment=_GRACE) as server:
        yield server


def test_a_new_tenants_files_are_taken_in(running: Server, data: Path) -> None:
    base = _add(running, "clinic")
    process = running.pid
    dropped, half = dicom.ct(), dicom.ct()
    left = "/".join(
        ("instances/Microsoft.Default", str(half.StudyInstanceUID), str(half.SeriesInstanceUID),
         str(half.SOPInstanceUID), f"{_old_version()}.dcm")
    )  # fmt: skip
    with _container(running, "clinic") as container:
        container.upload_blob("import/a b/100%/\u00fc\u60a3\U0001f48e", dicom.part10(dropped))
        container.upload_blob("import/none", b"no DICOM")
        container.upload_blob(left, dicom.part10(half))  # as a store that was killed leaves it
        _eventually(lambda: _is_found(base, dropped), "the dropped file is not there")
        _eventually(lambda: _is_found(base, half), "the store is not completed")
        _eventually(
            lambda: not list(container.list_blob_names(name_starts_with="import/")), "left there"
        )
        assert len(list(container.list_blob_names(name_starts_with="import-errors/none/"))) == 2
    for name in (left, "import/none", "import/a%20b/100%25/%C3%BC%E6%82%A3%F0%9F%92%8E"):
        _send(running, [_event("dicom-clinic", name)] * 2)  # Event Grid delivers at least once
    _settled(running)
    archive = asyncio.run(look(running.connection, data / "index", "clinic"))
    assert not archive.faults()
    assert len(archive.entries) == 2
    assert running.pid == process
    assert not _poisoned(running)


def test_what_comes_by_both_roads_is_taken_in_once(running: Server, data: Path) -> None:
    """A blob trigger tells of it, and Event Grid's queue."""
    instances = [dicom.ct() for _ in range(4)]
    with _container(running, "main") as container:
        for number, ds in enumerate(instances):
            container.upload_blob(f"import/{number}", dicom.part10(ds))
            for _ in range(2):
                _send(running, _event("dicom-main", f"import/{number}"))
        for ds in instances:
            _eventually(lambda ds=ds: _is_found(f"{running.base_url}/main/v2", ds), "not there")  # type: ignore[misc]
        _eventually(
            lambda: not list(container.list_blob_names(name_starts_with="import")), "left there"
        )
    _settled(running)
    archive = asyncio.run(look(running.connection, data / "index", "main"))
    assert not archive.faults()
    assert len(archive.of_type(INSTANCE)) == len(archive.entries) == len(instances)
    assert not _poisoned(running)


def test_a_store_killed_in_another_process_is_completed(
    running: Server, data: Path, tmp_path: Path
) -> None:
    base = _add(running, "ward")
    ds = dicom.ct()
    crashing = Server(
        connection=running.connection,
        data=tmp_path,
        app=_CRASHING,
        environment={
            **_GRACE,
            "DICOM_SQLITE_DIRECTORY": str(data / "index"),
            "CRASH_BEFORE_WRITE": "2",  # the file is the first
        },
    )
    with crashing, pytest.raises(httpx.TransportError):
        httpx.post(
            f"{crashing.base_url}/ward/v2/studies",
            content=dicom.part10(ds),
            headers={"Content-Type": "application/dicom"},
            timeout=60,
        )
    assert not _is_found(base, ds)
    _eventually(lambda: _is_found(base, ds), "the store is not completed")
    archive = asyncio.run(look(running.connection, data / "index", "ward"))
    assert not archive.faults()


def test_events_of_others_are_dropped(running: Server) -> None:
    _add(running, "leaving")
    assert httpx.delete(f"{running.base_url}/tenants/leaving").json()["state"] == "deleting"
    with _container(running, "leaving") as container:
        container.upload_blob("import/late", b"stays")
        _send(running, _event("dicom-leaving", "import/late"))
        _send(running, _event("nobodys", "import/x"))
        _send(running, _event("dicom-main", "elsewhere/x"))
        _send(running, {"type": "Microsoft.Storage.BlobDeleted", "subject": "/x"})
        _settled(running)
        assert container.get_blob_client("import/late").exists()
    assert not _poisoned(running)


def test_a_tenant_that_is_suspended_loses_nothing(running: Server) -> None:
    """What no caller waits for goes on."""
    base = _add(running, "paused")
    ds = dicom.ct()
    url = f"{running.base_url}/tenants/paused"
    assert httpx.put(url, json={"state": "suspended"}).status_code == 200
    with _container(running, "paused") as container:
        container.upload_blob("import/a", dicom.part10(ds))
        _eventually(lambda: not container.get_blob_client("import/a").exists(), "left there")
    assert httpx.put(url, json={"state": "active"}).status_code == 200
    assert _is_found(base, ds)


def test_what_is_no_event_fails_and_its_text_is_not_logged(running: Server) -> None:
    """After five attempts, with half a minute between them, it is on the poison queue."""
    _send(running, {"type": "Microsoft.Storage.BlobCreated", "subject": "import/PATIENT"})
    _eventually(lambda: "MalformedEvent" in running.log_text(), "it did not fail")
    assert "import/PATIENT" not in running.log_text()

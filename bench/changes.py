"""What happens after a store: the feed, export, the index of new tags, files that are dropped."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator

import httpx
from azure.storage.blob.aio import ContainerClient

from bench.stand import DICOM, ct_files, service
from shared.ports import JsonObject
from tests.support import dicom
from tests.support.azurite import account_of
from tests.support.export import new_place
from tests.support.server import Server

_PARTS = 100
_AT_ONCE = 8
_YARDSTICK_FILES = 500


def measure(arguments: argparse.Namespace) -> None:
    """Print a table: each rate, and that of its yardstick where there is one."""
    with service() as (connection, server):
        asyncio.run(_measure(arguments, connection, server))


async def _measure(arguments: argparse.Namespace, connection: str, server: Server) -> None:
    async with httpx.AsyncClient(base_url=f"{server.base_url}/main/v2", timeout=600) as client:
        await _feed(client, arguments.files)
        await _reindex(client, arguments.files)
        await _export(client, connection, arguments.instances)
        await _import(client, connection, arguments.files)


def _small(study: str, number: int) -> bytes:
    return dicom.part10(
        dicom.ct(StudyInstanceUID=study, InstanceNumber=number, PatientSex="MFO"[number % 3])
    )


async def _feed(client: httpx.AsyncClient, count: int) -> None:
    """Stored in requests of 100 by 8 clients; the feed is whole when its last number is theirs."""
    bodies = []
    for start in range(0, count, _PARTS):
        study = dicom.new_uid()
        files = [_small(study, number) for number in range(start, min(start + _PARTS, count))]
        head = b"--b\r\nContent-Type: application/dicom\r\n\r\n"
        bodies.append(b"".join(head + file + b"\r\n" for file in files) + b"--b--\r\n")
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    waiting = iter(bodies)

    async def store() -> None:
        for body in waiting:
            answer = await client.post("/studies", content=body, headers=kind)
            assert answer.status_code == 200, answer.text

    began = time.perf_counter()
    await asyncio.gather(*(store() for _ in range(_AT_ONCE)))
    stored = time.perf_counter() - began
    await _until_sequence(client, count)
    whole = time.perf_counter() - began
    _row("store and append", count / whole, "entries/s", f"the store alone {count / stored:.0f}")
    for metadata in ("false", "true"):
        began = time.perf_counter()
        read = 0
        parameters = {"limit": 200, "includeMetadata": metadata}
        while page := (
            await client.get("/changefeed", params={**parameters, "offset": read})
        ).json():
            read += len(page)
        rate = read / (time.perf_counter() - began)
        assert read == count
        _row(f"read the feed, metadata {metadata}", rate, "entries/s", "")


async def _reindex(client: httpx.AsyncClient, count: int) -> None:
    began = time.perf_counter()
    entry = {"path": "PatientSex", "level": "Instance"}
    started = await client.post("/extendedquerytags", json=[entry])
    assert started.status_code == 202, started.text
    operation = await _ended(client, started)
    assert operation["status"] == "succeeded"
    _row("index by a new tag", count / (time.perf_counter() - began), "instances/s", "")
    found = await client.get("/instances", params={"PatientSex": "M", "limit": 200})
    assert len(found.json()) == min(200, (count + 2) // 3)


async def _export(client: httpx.AsyncClient, connection: str, count: int) -> None:
    """Half a megabyte each, beside the SDK that downloads and uploads the same files."""
    files = ct_files(count)
    waiting = iter(files)

    async def store() -> None:
        for data in waiting:
            answer = await client.post("/studies", content=data, headers=DICOM)
            assert answer.status_code == 200, answer.text

    await asyncio.gather(*(store() for _ in range(_AT_ONCE)))
    place = new_place(account_of(connection, 7))
    study = (await client.get("/studies", params={"limit": 1})).json()[0]["0020000D"]["Value"][0]
    source = {"type": "identifiers", "settings": {"values": [study]}}
    asked = {"source": source, "destination": place.destination()}
    began = time.perf_counter()
    operation = await _ended(client, await client.post("/export", json=asked))
    seconds = time.perf_counter() - began
    assert operation["results"]["exported"] == count, operation
    megabytes = sum(map(len, files)) / 1e6
    bare = await _bare_copy(connection, study, count)
    _row("export", megabytes / seconds, "MB/s", f"bare SDK {megabytes / bare:.0f} MB/s, 8 at once")


async def _bare_copy(connection: str, study: str, count: int) -> float:
    source = ContainerClient.from_connection_string(connection, "dicom-main")
    target = ContainerClient.from_connection_string(account_of(connection, 7), "bare")
    async with source, target:
        await target.create_container()
        prefix = f"instances/Microsoft.Default/{study}/"
        names = [name async for name in source.list_blob_names(name_starts_with=prefix)]
        assert len(names) == count
        waiting = iter(names)

        async def copy() -> None:
            for name in waiting:
                stream = await source.download_blob(name)
                await target.upload_blob(name, await stream.readall())

        began = time.perf_counter()
        await asyncio.gather(*(copy() for _ in range(_AT_ONCE)))
        return time.perf_counter() - began


async def _import(client: httpx.AsyncClient, connection: str, count: int) -> None:
    """Files dropped into the container; the upload is not counted, but goes on beside it."""
    before = (await client.get("/changefeed/latest")).json()["sequence"]
    container = ContainerClient.from_connection_string(connection, "dicom-main")

    async def files() -> AsyncIterator[bytes]:
        for number in range(count):
            if number % _PARTS == 0:
                study = dicom.new_uid()
            yield _small(study, number)

    async with container:
        began = time.perf_counter()
        at = 0
        async for data in files():
            await container.upload_blob(f"import/{at % 50}/{at}.dcm", data)
            at += 1
        uploaded = time.perf_counter() - began
        await _until_sequence(client, before + count)
        seconds = time.perf_counter() - began
        alone = await _store_alone(container, min(count, _YARDSTICK_FILES))
    beside = f"the store alone {alone:.0f}; dropped in {uploaded:.0f} s"
    _row(f"import of {count} files", count / seconds, "files/s", beside)


async def _store_alone(container: ContainerClient, count: int) -> float:
    """Files a second that the store could do: a drop, its reading, the instance, its deletion.

    Measured when the store is as full as the import has left it: Azurite slows down as it fills.
    """
    data = _small(dicom.new_uid(), 0)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with gate:
            dropped = container.get_blob_client(f"bench/{number}")
            await dropped.upload_blob(data)
            content = await (await dropped.download_blob()).readall()
            await container.upload_blob(f"bench/{number}.dcm", content)
            await dropped.delete_blob()

    began = time.perf_counter()
    await asyncio.gather(*map(one, range(count)))
    return count / (time.perf_counter() - began)


async def _until_sequence(client: httpx.AsyncClient, sequence: int) -> None:
    while (await client.get("/changefeed/latest")).json()["sequence"] < sequence:
        await asyncio.sleep(0.05)


async def _ended(client: httpx.AsyncClient, started: httpx.Response) -> JsonObject:
    while (answer := await client.get(started.headers["Location"])).status_code == 202:
        await asyncio.sleep(0.05)
    body: JsonObject = answer.json()
    return body


def _row(name: str, rate: float, unit: str, beside: str) -> None:
    print(f"{name:34}{rate:10.0f} {unit:14}{beside}", flush=True)

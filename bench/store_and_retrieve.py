"""Store and retrieve CT instances, beside the bare SDK with the same files on the same Azurite."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import psutil

from bench.stand import DICOM, ct_files, service
from shared.adapters.azure.clients import blob_service
from shared.config import StorageConnection
from tests.support.server import Server

_ACCEPT = {"Accept": "application/dicom; transfer-syntax=*"}


def measure(arguments: argparse.Namespace) -> None:
    """Print a table: rates of the service, of the bare SDK, and their ratio."""
    with service() as (connection, server):
        asyncio.run(_measure(arguments, connection, server))


async def _measure(arguments: argparse.Namespace, connection: str, server: Server) -> None:
    print(f"{'':24}{'service/s':>12}{'bare SDK/s':>12}{'ratio':>8}{'CPU ms':>8}")
    for clients in (1, 8):
        rows: dict[str, list[tuple[float, float, float]]] = {"store": [], "retrieve": []}
        for _ in range(arguments.rounds):
            files = ct_files(arguments.instances)
            process = psutil.Process(server.pid)
            async with httpx.AsyncClient(
                base_url=f"{server.base_url}/main/v2", timeout=120
            ) as client:
                before = _cpu(process)
                stored, urls = await _store(client, files, clients)
                cpu = (_cpu(process) - before) * 1000 / len(files)
                bare_stored, bare_retrieved = await _bare(connection, files, clients)
                rows["store"].append((stored, bare_stored, cpu))
                before = _cpu(process)
                retrieved = await _retrieve(client, urls, files, clients)
                cpu = (_cpu(process) - before) * 1000 / len(files)
                rows["retrieve"].append((retrieved, bare_retrieved, cpu))
        for name, found in rows.items():
            ours, bare, cpu = (statistics.median(row[at] for row in found) for at in range(3))
            label = f"{name} CT, {clients} client(s)"
            print(f"{label:24}{ours:12.0f}{bare:12.0f}{ours / bare:8.2f}{cpu:8.1f}")


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _timed(work: list[Callable[[], Awaitable[None]]], clients: int) -> float:
    """Items of work per second, so many at once."""
    waiting = iter(work)

    async def client() -> None:
        for item in waiting:
            await item()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(work) / (time.perf_counter() - began)


async def _store(
    client: httpx.AsyncClient, files: list[bytes], clients: int
) -> tuple[float, dict[int, str]]:
    urls: dict[int, str] = {}

    def item(number: int, data: bytes) -> Callable[[], Awaitable[None]]:
        async def store() -> None:
            answer = await client.post("/studies", content=data, headers=DICOM)
            assert answer.status_code == 200, answer.text
            urls[number] = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]

        return store

    rate = await _timed([item(number, data) for number, data in enumerate(files)], clients)
    return rate, urls


async def _retrieve(
    client: httpx.AsyncClient, urls: dict[int, str], files: list[bytes], clients: int
) -> float:
    def item(number: int, url: str) -> Callable[[], Awaitable[None]]:
        async def retrieve() -> None:
            answer = await client.get(url, headers=_ACCEPT)
            assert answer.content == files[number]

        return retrieve

    return await _timed([item(number, url) for number, url in urls.items()], clients)


async def _bare(connection: str, files: list[bytes], clients: int) -> tuple[float, float]:
    """Upload and download the same files with nothing but the SDK, as ``AzureBlobs`` sets it up."""
    service = blob_service(StorageConnection(connection_string=connection))
    container = service.get_container_client(f"bare-{time.time_ns()}")
    async with service:
        await container.create_container()

        def up(number: int, data: bytes) -> Callable[[], Awaitable[None]]:
            async def upload() -> None:
                blob = container.get_blob_client(f"{number}.dcm")
                await blob.upload_blob(data, length=len(data), overwrite=False)

            return upload

        def down(number: int, data: bytes) -> Callable[[], Awaitable[None]]:
            async def download() -> None:
                stream = await container.get_blob_client(f"{number}.dcm").download_blob()
                pieces: AsyncIterator[bytes] = stream.chunks()
                assert b"".join([piece async for piece in pieces]) == data

            return download

        uploads = await _timed([up(n, data) for n, data in enumerate(files)], clients)
        downloads = await _timed([down(n, data) for n, data in enumerate(files)], clients)
    return uploads, downloads

"""DICOMcast: its rate beside that of the FHIR server alone, and the whole of it under trouble."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from shared.adapters.fhir.client import FhirClient
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.cast.archive import Archive
from shared.cast.sync import StudySync
from shared.cast_settings import CastSettings
from tests.support import dicom
from tests.support.azurite import azurite_running
from tests.support.cast_compare import Stored, of_archive, of_fhir
from tests.support.fakes import MemoryBlobs
from tests.support.fhir import FhirServer, fhir_server_running
from tests.support.server import Server

_DICOM = {"Content-Type": "application/dicom"}
_KINDS = ("Patient", "Endpoint", "ImagingStudy", "Observation")
_PARTITION = "Microsoft.Default"
_PATIENCE_S = 900.0


# Rate -------------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace) -> None:
    """Print a table: studies a second, bare transactions a second, and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _archive(folder) as server, fhir_server_running(folder) as fhir:
            studies = _store(server, arguments.instances)
            server.stop()
            asyncio.run(_measure(arguments.rounds, folder, fhir, studies))


@contextmanager
def _archive(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Server]:
    (folder / "azurite").mkdir()
    with (
        azurite_running(folder / "azurite") as connection,
        Server(
            connection=connection, data=folder / "data", seed=True, environment=environment
        ) as server,
    ):
        yield server


def _store(server: Server, count: int) -> list[str]:
    """Studies of four instances, each of another patient."""
    studies = [dicom.new_uid() for _ in range(count)]
    with httpx.Client(base_url=f"{server.base_url}/main/v2", timeout=60) as http:
        for number, study in enumerate(studies):
            series = dicom.new_uid()
            for _ in range(4):
                ds = dicom.ct(
                    StudyInstanceUID=study, SeriesInstanceUID=series, PatientID=f"P{number}"
                )
                answer = http.post("/studies", content=dicom.part10(ds), headers=_DICOM)
                answer.raise_for_status()
    return studies


async def _measure(rounds: int, folder: Path, fhir: FhirServer, studies: list[str]) -> None:
    documents = SqliteDocuments(folder / "data" / "index" / "dicom-main.sqlite")
    client = FhirClient(fhir.url, _no_token)
    print(f"{'':24}{'studies/s':>12}{'bare/s':>10}{'ratio':>8}")
    for workers in (1, 8):
        rates, bare = [], []
        for _ in range(rounds):
            archive = Archive(documents, MemoryBlobs())
            sync = StudySync(archive, client, CastSettings(fhir.url), "http://host/main/v2")
            fhir.reset()
            rates.append(await _rate(workers, studies, partial(sync.sync, _PARTITION)))
            assert len(fhir.all("ImagingStudy")) == len(studies)
            bundles = fhir.bundles()
            fhir.reset()
            bare.append(await _rate(workers, bundles, client.transaction))
            assert len(fhir.all("ImagingStudy")) == len(studies)
        rate, alone = statistics.median(rates), statistics.median(bare)
        print(f"{f'{workers} worker(s)':24}{rate:12.1f}{alone:10.1f}{rate / alone:8.2f}")
    await client.close()
    await documents.close()


async def _no_token() -> str:
    return ""


async def _rate(workers: int, items: list[Any], work: Callable[[Any], Any]) -> float:
    waiting = list(items)

    async def worker() -> None:
        while waiting:
            await work(waiting.pop())

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(workers)))
    return len(items) / (time.perf_counter() - began)


# Under trouble ----------------------------------------------------------------------------


def churn(arguments: argparse.Namespace) -> None:
    """Store, change and delete; kill the service; let FHIR fail; compare at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with fhir_server_running(folder) as fhir:
            cast = {"main": {"fhirUrl": fhir.url, "patientSystem": "urn:hospital"}}
            environment = {
                "DICOM_CAST": json.dumps(cast),
                "DICOM_CAST_SCHEDULE": "*/2 * * * * *",
                "DICOM_SWEEP_SCHEDULE": "*/20 * * * * *",
            }
            with _archive(folder, environment) as server:
                _churn(arguments, server, fhir)


def _churn(arguments: argparse.Namespace, server: Server, fhir: FhirServer) -> None:
    fhir.trouble(rate=0.1, status=503, after=0.5)
    began = time.monotonic()
    seeds = range(8)
    with ThreadPoolExecutor(len(seeds) + 1) as pool:
        stop = threading.Event()
        killer = pool.submit(_kill, server, arguments.kills, stop)
        clients = [pool.submit(_client, server, seed, arguments.instances // 8) for seed in seeds]
        changes = sum(one.result() for one in clients)
        stored = time.monotonic() - began
        killer.result()
    print(f"{changes} changes in {stored:.0f} s; killed {arguments.kills} times")
    _settle(server, fhir)
    print(f"settled after {time.monotonic() - began:.0f} s")
    fhir.trouble()
    http = httpx.Client(base_url=f"{server.base_url}/main/v2", timeout=120)
    wanted, found = _of_archive(http), _of_fhir(fhir)
    assert found == wanted, _difference(wanted, found)
    print(f"equal: {len(wanted)} studies, {sum(one['count'] for one in wanted.values())} instances")
    for turn in ("first", "second"):
        versions = fhir.versions()
        href = http.post("/fhir/$resync").headers["Location"]
        while http.get(href).status_code == httpx.codes.ACCEPTED:
            time.sleep(0.5)
        _settle(server, fhir)
        changed = sum(versions.get(k) != v for k, v in fhir.versions().items())
        print(f"{turn} re-sync: {changed} resources changed")
        assert turn == "first" or not changed
    assert http.get("/fhir/failures").json() == []


def _client(server: Server, seed: int, studies: int) -> int:
    chance = random.Random(seed)
    changes = 0
    for number in range(studies):
        study, series = dicom.new_uid(), [dicom.new_uid() for _ in range(2)]
        patient = f"P{seed}-{number // 3}"

        def instance(
            study: str = study, uids: list[str] = series, patient: str = patient
        ) -> dict[str, Any]:
            return {
                "StudyInstanceUID": study, "SeriesInstanceUID": chance.choice(uids),
                "SOPInstanceUID": dicom.new_uid(), "PatientID": patient,
                "InstanceNumber": chance.randrange(99),
                "AccessionNumber": f"A{chance.randrange(3)}",
                "StudyDescription": f"D{chance.randrange(3)}",
            }  # fmt: skip

        there = [instance() for _ in range(4)]
        for one in there:
            changes += _put(server, one)
        for _ in range(chance.randrange(3)):
            changes += _change(server, chance, there, instance)
    return changes


def _change(
    server: Server, chance: random.Random, there: list[dict[str, Any]], new: Callable[[], Any]
) -> int:
    what = chance.random()
    if what < 0.3 and there:
        one = there.pop(chance.randrange(len(there)))
        return _delete(
            server,
            f"studies/{one['StudyInstanceUID']}/series/{one['SeriesInstanceUID']}"
            f"/instances/{one['SOPInstanceUID']}",
        )
    if what < 0.4 and there:
        study = there[0]["StudyInstanceUID"]
        there.clear()
        return _delete(server, f"studies/{study}")
    if what < 0.8 and there:
        one = chance.choice(there)
        one["StudyDescription"], one["InstanceNumber"] = "Changed", chance.randrange(99)
        return _put(server, one)
    there.append(new())
    return _put(server, there[-1])


def _put(server: Server, attributes: dict[str, Any]) -> int:
    data = dicom.part10(dicom.ct(**attributes))
    return _insist(
        lambda: httpx.put(
            f"{server.base_url}/main/v2/studies", content=data, headers=_DICOM, timeout=60
        ),
        {200, 202},
    )


def _delete(server: Server, path: str) -> int:
    url = f"{server.base_url}/main/v2/{path}"
    return _insist(lambda: httpx.delete(url, timeout=60), {204, 404})


def _insist(request: Callable[[], httpx.Response], done: set[int]) -> int:
    """Ask until it is done: the service is killed now and then."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        try:
            answer = request()
            if answer.status_code in done:
                return 1
            if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                raise RuntimeError(f"{answer.status_code}: {answer.text}")
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError("the service does not answer")


def _kill(server: Server, times: int, stop: threading.Event) -> None:
    chance = random.Random(times)
    for _ in range(times):
        stop.wait(chance.uniform(2, 8))
        server.kill()
        server.start()


def _settle(server: Server, fhir: FhirServer) -> None:
    """Wait until nothing waits and nothing is written any more."""
    from azure.storage.queue import QueueClient

    queue = QueueClient.from_connection_string(server.connection, "cast")
    deadline, quiet = time.monotonic() + _PATIENCE_S, 0
    while quiet < 3:
        assert time.monotonic() < deadline, "it does not settle"
        behind = _insist_json(f"{server.base_url}/main/v2/fhir")["behind"]
        waiting = queue.get_queue_properties().approximate_message_count
        quiet = quiet + 1 if not behind and not waiting else 0
        time.sleep(3)
    assert fhir.url
    queue.close()


def _insist_json(url: str) -> Any:
    while True:
        try:
            return httpx.get(url, timeout=60).raise_for_status().json()
        except httpx.HTTPError:
            time.sleep(0.2)


def _of_archive(http: httpx.Client) -> dict[str, Any]:
    instances = []
    offset = 0
    while (answer := http.get("/studies", params={"limit": 200, "offset": offset})).status_code == (
        httpx.codes.OK
    ):
        rows = answer.json()
        for row in rows:
            study = row["0020000D"]["Value"][0]
            found = http.get(f"/studies/{study}/metadata").json()
            instances += [Stored(f"{len(instances) + n:09d}", one) for n, one in enumerate(found)]
        offset += len(rows)
    return of_archive(instances)


def _of_fhir(fhir: FhirServer) -> dict[str, Any]:
    return of_fhir({kind: fhir.all(kind) for kind in _KINDS})


def _difference(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    wrong = [
        f"{study}: {wanted.get(study)} / {found.get(study)}"
        for study in wanted.keys() | found.keys()
        if wanted.get(study) != found.get(study)
    ]
    return f"{len(wrong)} differ: " + "\n".join(wrong[:3])

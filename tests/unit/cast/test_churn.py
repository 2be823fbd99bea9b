"""Many clients store, change and delete; workers die at any moment; FHIR fails one call in ten.

At the end FHIR has exactly what the archive has, and doing all again writes nothing. At full size,
with processes that are killed: ``python3 dev.py bench cast-churn``.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.cast.archive import Archive
from shared.cast.dispatch import Dispatcher
from shared.cast.sync import StudySync
from shared.cast.worker import Worker
from shared.errors import DicomServiceError
from shared.feed.sequencer import Sequencer
from shared.ports import JsonObject
from tests.support import dicom
from tests.support.cast_compare import (
    Stored,
    names_of_archive,
    names_of_fhir,
    of_archive,
    of_fhir,
)
from tests.support.fakes import MemoryFailures
from tests.unit.cast.conftest import PARTITION, URL, Cast

STUDIES, INSTANCES, CLIENTS, WORKERS, DEATHS = 24, 4, 8, 8, 30
KINDS = ("Patient", "Endpoint", "ImagingStudy", "Observation")


class Died(BaseException):
    """The worker is gone, at once: nothing that it would have done afterwards is done."""


class Mortal:
    """A FHIR client whose owner dies now and then, before a call or after it."""

    def __init__(self, cast: Cast, chance: random.Random) -> None:
        self._client = cast.client
        self._chance = chance
        self.deaths = 0

    async def capabilities(self) -> Any:
        return await self._living(self._client.capabilities())

    async def search(self, kind: str, query: Any, *, most: int) -> list[JsonObject]:
        found: list[JsonObject] = await self._living(self._client.search(kind, query, most=most))
        return found

    async def transaction(self, bundle: JsonObject) -> Any:
        return await self._living(self._client.transaction(bundle))

    async def _living(self, call: Any) -> Any:
        if self._dies():
            call.close()
            raise Died
        answer = await call
        if self._dies():
            raise Died
        return answer

    def _dies(self) -> bool:
        if self.deaths >= DEATHS or self._chance.random() > 0.04:
            return False
        self.deaths += 1
        return True


class Messages:
    """A queue that delivers in any order, some twice, and again what was not finished."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.waiting: list[JsonObject] = []
        self.under_way = 0

    async def send(self, queue: str, message: JsonObject, *, delay_s: float = 0) -> None:
        del delay_s
        if queue == "cast":
            self.waiting += [message] * (1 + (self._chance.random() < 0.2))

    async def close(self) -> None:
        pass

    async def work(self, worker: Worker, stop: asyncio.Event) -> None:
        while not (stop.is_set() and not self.waiting and not self.under_way):
            if not self.waiting:
                await asyncio.sleep(0.01)
                continue
            message = self.waiting.pop(self._chance.randrange(len(self.waiting)))
            self.under_way += 1
            try:
                await worker.handle(message)
            except Died:
                self.waiting.append(message)
            finally:
                self.under_way -= 1


async def _client(cast: Cast, number: int, chance: random.Random) -> None:
    """Stores, changes and deletes some studies, all of a few patients."""
    for _ in range(STUDIES // CLIENTS + (number < STUDIES % CLIENTS)):
        study, series = dicom.new_uid(), [dicom.new_uid() for _ in range(2)]
        patient = f"P{chance.randrange(6)}"

        def instance(study: str = study, uids: list[str] = series, of: str = patient) -> Dataset:
            return dicom.ct(
                StudyInstanceUID=study, SeriesInstanceUID=chance.choice(uids), PatientID=of,
                PatientName=f"N{chance.randrange(4)}^X", InstanceNumber=chance.randrange(99),
                StudyDescription=f"D{chance.randrange(3)}",
                AccessionNumber=f"A{chance.randrange(3)}", SeriesNumber=chance.randrange(9),
            )  # fmt: skip

        there = [instance() for _ in range(INSTANCES)]
        for ds in there:
            await cast.store(ds)
            await asyncio.sleep(0)
        for _ in range(4):
            await _change(cast, chance, there, instance)


async def _change(cast: Cast, chance: random.Random, there: list[Dataset], new: Any) -> None:
    what = chance.randrange(4)
    try:
        if what == 0 and there:
            one = there.pop(chance.randrange(len(there)))
            await cast.tenant.delete.delete(
                PARTITION, one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID
            )
        elif what == 1 and there:
            one = chance.choice(there)
            one.StudyDescription, one.InstanceNumber = "Changed", chance.randrange(99)
            if chance.random() < 0.3:
                one.PatientID = f"P{chance.randrange(6)}"
            await cast.store(one)
        elif what == 2 and there and chance.random() < 0.3:
            await cast.tenant.delete.delete(PARTITION, there[0].StudyInstanceUID)
            there.clear()
        else:
            there.append(new())
            await cast.store(there[-1])
    except DicomServiceError as error:
        raise AssertionError(type(error).__name__) from error


async def _ready() -> bool:
    return True


async def _archive(cast: Cast) -> list[Stored]:
    return [
        Stored(str(body["version"]), body["d"])  # type: ignore[arg-type]
        for body in await cast.tenant.indexed("instance")
    ]


@pytest.mark.parametrize("seed", [1])
async def test_fhir_equals_the_archive_whatever_happens(cast: Cast, seed: int) -> None:
    chance = random.Random(seed)
    tenant = cast.tenant
    fhir, messages, failures = Mortal(cast, chance), Messages(chance), MemoryFailures()
    sync = StudySync(Archive(tenant.documents, tenant.blobs), fhir, cast.settings, URL)
    worker = Worker("main", sync.sync, failures, messages, tenant.clock)
    sequencer = Sequencer(tenant.documents, tenant.clock)
    dispatcher = Dispatcher(tenant.documents, sequencer, messages, tenant.clock, "main")
    cast.server.trouble(rate=0.1, status=503, after=0.5)

    stop = asyncio.Event()
    workers = [asyncio.create_task(messages.work(worker, stop)) for _ in range(WORKERS)]
    clients = asyncio.gather(*(_client(cast, number, chance) for number in range(CLIENTS)))
    while not clients.done():
        await dispatcher.run(_ready)
        await asyncio.sleep(0.05)
    await clients
    await dispatcher.run(_ready)
    stop.set()
    await asyncio.gather(*workers)
    assert fhir.deaths > DEATHS // 2
    cast.server.trouble()

    stored = await _archive(cast)
    resources = {kind: cast.server.all(kind) for kind in KINDS}
    assert of_fhir(resources) == of_archive(stored)
    assert [row for rows in failures.rows.values() for row in rows] == []

    # a patient whose newest study was deleted as a whole keeps that name until somebody looks
    studies = list(of_archive(stored))
    plain = StudySync(Archive(tenant.documents, tenant.blobs), cast.client, cast.settings, URL)
    for study in studies:
        await plain.sync(PARTITION, study)
    names = names_of_fhir({kind: cast.server.all(kind) for kind in KINDS})
    for patient, name in names_of_archive(stored).items():
        assert names[patient] == name
    versions = cast.server.versions()
    for study in studies:
        await plain.sync(PARTITION, study)
    assert cast.server.versions() == versions

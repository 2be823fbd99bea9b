"""The operation ``reindex`` in the real engine: delivered often, by several workers, cancelled."""

from __future__ import annotations

import asyncio

import pytest

from shared.adapters.system import RandomIds
from shared.errors import OperationRunning
from shared.operations.engine import Engine
from shared.operations.reindex import REINDEX, Reindexer, start_adding
from shared.ports import JsonObject
from shared.tags.models import ExtendedTag, Status
from shared.tags.registry import TagExists, TagRegistry
from shared.tags.search import search_keys
from tests.support import dicom
from tests.unit.store.conftest import Tenant, tenant
from tests.unit.tags.test_indexing import _AGE, _SEX, _indexer

__all__ = ["tenant"]

_STUDIES = 4


def _worker(tenant: Tenant) -> Engine:
    """The engine of a process of its own, which does one step a message."""
    return Engine(
        tenant.documents,
        tenant.queue,
        ids=RandomIds(),
        clock=tenant.clock,
        tenant="main",
        kinds={REINDEX: Reindexer(tenant.documents, _indexer(tenant), step_s=0)},
        round_s=0,
    )


async def _fill(tenant: Tenant) -> None:
    for number in range(_STUDIES):
        below = {"StudyInstanceUID": f"{dicom.STUDY}.{number}"}
        for at, sex in enumerate("MF"):
            uid = f"{dicom.INSTANCE}.{number}.{at}"
            data = dicom.base(**below, SOPInstanceUID=uid, PatientSex=sex)
            age = b"bad " if at else b"001Y"
            data = dicom.splice(data, dicom.element(0x00101010, "AS", age))
            await tenant.store(data, major=1)


async def _state(tenant: Tenant) -> list[JsonObject]:
    """All that the operation writes, but for times and counts of writes."""
    bodies = [
        body for kind in ("study", "series", "instance") for body in await tenant.indexed(kind)
    ]
    return sorted(
        (
            {"id": body["id"], "pk": body["pk"], "q": body["q"], "d": body["d"],
             "errors": sorted(body.get("tagErrors") or ())}  # type: ignore[call-overload]
            for body in bodies
        ),
        key=lambda body: (str(body["pk"]), str(body["id"])),
    )  # fmt: skip


@pytest.mark.spec("operations", 41)
@pytest.mark.parametrize("workers", [1, 2])
async def test_messages_delivered_ten_times_change_nothing(tenant: Tenant, workers: int) -> None:
    await _fill(tenant)
    engines = [_worker(tenant) for _ in range(workers)]
    operation = await start_adding(engines[0], _indexer(tenant), [_SEX, _AGE])
    delivered = 0
    while tenant.queue.sent:
        _, message, _ = tenant.queue.sent.pop(0)
        delivered += 1
        assert delivered < 50, "messages without end"
        id_ = message["operation"]
        # the same message ten times, all at once: each is let in, for the first may have died
        await asyncio.gather(
            *(engines[at % workers].work(id_, f"message {delivered}") for at in range(10))
        )
    body = await engines[0].get(operation)
    assert (body["status"], body["percent"]) == ("succeeded", 100)
    entries = (await TagRegistry(tenant.documents).read()).entries
    assert [(entry.status, entry.operation) for entry in entries] == [(Status.READY, None)] * 2
    after = await _state(tenant)
    sex, age = entries
    for each in after:
        assert each["q"][sex.key] == "f"
    instances = [each for each in after if str(each["id"]).startswith("instance")]
    assert len(instances) == 2 * _STUDIES
    for each in instances:
        first = str(each["id"]).endswith(".0")
        assert each["q"].get(age.key) == ("001y" if first else None)
        assert each["errors"] == ([] if first else [age.error_key])
    for at in range(10):  # and long after the end
        await engines[0].work(operation, f"late {at}")
    assert await _state(tenant) == after


@pytest.mark.parametrize("after_messages", range(1, 5))
async def test_cancelled_in_the_middle(tenant: Tenant, after_messages: int) -> None:
    """The tags stay, but no search uses them; they can be added again, or deleted first."""
    await _fill(tenant)
    engine, indexer = _worker(tenant), _indexer(tenant)
    operation = await start_adding(engine, indexer, [_SEX])
    for number in range(after_messages):
        _, message, _ = tenant.queue.sent.pop(0)
        await engine.work(message["operation"], f"message {number}")
    await engine.cancel(operation)
    for entry in (_SEX, _AGE):
        with pytest.raises(OperationRunning):
            await start_adding(engine, indexer, [entry])
    while tenant.queue.sent:
        _, message, _ = tenant.queue.sent.pop(0)
        await engine.work(message["operation"], "the last")
    assert (await engine.get(operation))["status"] == "canceled"
    [entry] = (await indexer.registry.read()).entries
    assert (entry.status, entry.operation) == (Status.ADDING, None)
    assert search_keys([entry]).refused
    if after_messages % 2:
        await indexer.registry.delete(entry.tag)
    again = await start_adding(engine, indexer, [ExtendedTag(_SEX.tag, "CS", "instance")])
    while tenant.queue.sent:
        _, message, _ = tenant.queue.sent.pop(0)
        await engine.work(message["operation"], str(len(tenant.queue.sent)))
    assert (await engine.get(again))["status"] == "succeeded"
    before, [entry] = entry, (await indexer.registry.read()).entries
    assert (entry.status, entry.level) == (Status.READY, "instance")
    assert entry.number > before.number, "what the first one has written is found no more"
    with pytest.raises(TagExists):
        await start_adding(engine, indexer, [_SEX])
    found = [body["q"].get(entry.key) for body in await tenant.indexed("instance")]  # type: ignore[attr-defined]
    assert sorted(found) == ["f", "f", "f", "f", "m", "m", "m", "m"]

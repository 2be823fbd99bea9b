"""Processes that die between their commit and their second look at the list of tags (ADR 0015)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shared.adapters.system import RandomIds
from shared.delete.restore import RestoreService
from shared.errors import Unavailable
from shared.feed.sequencer import Sequencer
from shared.index.commit import Committer
from shared.operations.models import Work
from shared.operations.reindex import Reindexer, start_adding
from shared.ports import JsonObject, Operation
from shared.store.models import Stored
from shared.tags.indexing import TagIndexer
from shared.tags.models import ExtendedTag, QueryStatus, Status, TagList
from shared.tags.registry import TagExists, TagRegistry
from tests.support import dicom
from tests.unit.store.conftest import Tenant, tenant
from tests.unit.tags.test_indexing import _AGE, _SEX, _added, _indexer, _store

__all__ = ["tenant"]

_OPERATION = "0" * 32


async def _reindex(tenant: Tenant, *entries: ExtendedTag, operation: str = _OPERATION) -> None:
    """Run the operation to its end."""
    kind = Reindexer(tenant.documents, _indexer(tenant))
    asked: JsonObject = {"entries": [entry.to_json() for entry in entries]}
    checkpoint: JsonObject = {}
    done = False
    while not done:
        step = await kind.step(Work(operation, asked, checkpoint, {}))
        checkpoint, done = step.checkpoint, step.done
        assert step.failed is None


class _Process:
    """A process with its own sequencer and picture of the tags, which can be killed."""

    def __init__(self, tenant: Tenant, dies_at: int | None = None) -> None:
        self.tenant = tenant
        self.registry = TagRegistry(tenant.documents)
        self.sequencer = Sequencer(tenant.documents, tenant.clock, newest_tag=self.registry.newest)
        self.committer = Committer(
            tenant.documents, RandomIds(), tenant.clock, announcer=self.sequencer
        )
        self.indexer = TagIndexer(
            tenant.documents, tenant.blobs, self.committer, self.registry, tenant.clock
        )
        self.left = dies_at

    def write(self, _operations: Sequence[Operation]) -> None:
        """Is told of each write; a process that is dead makes none."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Unavailable

    @property
    def dead(self) -> bool:
        return self.left is not None and self.left < 0

    async def sweep(self) -> None:
        """What the timer does of it."""
        await self.sequencer.drain()
        await self.indexer.catch_up_behind()


async def _stale(tenant: Tenant, dies_at: int | None) -> _Process:
    """A process that knows nothing of a tag which has been added, and indexed, since."""
    process = _Process(tenant, dies_at)
    await process.registry.known()
    await _reindex(tenant, _SEX, operation=RandomIds().unique())
    return process


async def _assert_found(tenant: Tenant, value: str = "m") -> None:
    [sex] = (await TagRegistry(tenant.documents).read()).entries
    for kind in ("study", "series", "instance"):
        for body in await tenant.indexed(kind):
            assert body["q"][sex.key] == value, kind  # type: ignore[index]
    assert not await tenant.indexed("behind")
    assert not await tenant.indexed("outbox")


async def _store_stale(tenant: Tenant, process: _Process) -> None:
    service = _store(tenant, process.indexer)
    service._committer = process.committer
    tenant.store_service = service
    try:
        result = await tenant.store(dicom.base(PatientSex="M"))
    except Unavailable:
        assert process.dead
    else:
        assert result.rows
    await process.sequencer.settled()


@pytest.mark.parametrize("announced", [False, True])
async def test_a_store_that_dies_at_the_second_look(tenant: Tenant, announced: bool) -> None:
    process = await _stale(tenant, None)

    async def dies(_pks: set[str], _known: int) -> None:
        if announced:
            await process.sequencer.settled()
        process.left = -1  # nothing is written from here on
        raise Unavailable

    process.indexer.catch_up = dies  # type: ignore[method-assign]
    tenant.documents.failing = process.write
    await _store_stale(tenant, process)
    assert len(await tenant.indexed("instance")) == 1
    assert len(await tenant.indexed("behind" if announced else "outbox")) == 1
    tenant.documents.failing = lambda _operations: None
    await _Process(tenant).sweep()
    await _assert_found(tenant)


async def test_a_store_that_dies_before_any_write(tenant: Tenant) -> None:
    dies_at = 1  # before the commit there is nothing to be found
    deaths = 0
    while True:
        process = await _stale(tenant, dies_at)
        tenant.documents.failing = process.write
        await _store_stale(tenant, process)
        tenant.documents.failing = lambda _operations: None
        # a sweep that dies as well, and one that does not
        sweeping = _Process(tenant, dies_at)
        tenant.documents.failing = sweeping.write
        try:
            await sweeping.sweep()
        except Unavailable:
            assert sweeping.dead
        tenant.documents.failing = lambda _operations: None
        await _Process(tenant).sweep()
        await _assert_found(tenant)
        if not process.dead:
            break
        deaths += 1
        dies_at += 1
        await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
        await _Process(tenant).sweep()
        await TagRegistry(tenant.documents).delete(_SEX.tag)
    assert deaths > 4


async def test_an_undelete_that_dies_at_the_second_look(tenant: Tenant) -> None:
    await tenant.store(dicom.base(PatientSex="M"))
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    process = await _stale(tenant, None)

    async def dies(_pks: set[str], _known: int) -> None:
        raise Unavailable

    process.indexer.catch_up = dies  # type: ignore[method-assign]
    restore = RestoreService(
        tenant.documents, tenant.blobs, process.committer, tenant.clock, indexer=process.indexer
    )
    with pytest.raises(Unavailable):
        await restore.restore("Microsoft.Default", dicom.STUDY)
    await process.sequencer.settled()
    await _Process(tenant).sweep()
    await _assert_found(tenant)


async def test_an_upsert_that_dies_at_the_second_look(tenant: Tenant) -> None:
    await tenant.store(dicom.base(PatientSex="F"))
    process = await _stale(tenant, None)

    async def dies(_pks: set[str], _known: int) -> None:
        raise Unavailable

    process.indexer.catch_up = dies  # type: ignore[method-assign]
    tenant.store_service = _store(tenant, process.indexer)
    await tenant.store(dicom.base(PatientSex="M"), upsert=True)
    await _Process(tenant).sweep()
    await _assert_found(tenant)


async def test_a_store_whose_second_look_meets_trouble_is_told_as_stored(tenant: Tenant) -> None:
    """It is: were it told as failed, it would be sent again, and refused as stored already."""
    process = await _stale(tenant, None)

    async def trouble(_pk: str, _entries: Sequence[ExtendedTag]) -> None:
        raise Unavailable

    process.indexer.index_study = trouble  # type: ignore[method-assign]
    tenant.store_service = _store(tenant, process.indexer)
    [row] = (await tenant.store(dicom.base(PatientSex="M"))).rows
    assert isinstance(row, Stored)
    await _Process(tenant).sweep()
    await _assert_found(tenant)


async def test_what_is_not_behind_is_left_alone(tenant: Tenant) -> None:
    """A store by the list as it is costs no document more, nor does one without tags."""
    for tags in ((), (_SEX,)):
        await _added(_indexer(tenant), *tags)
        process = _Process(tenant)
        await process.registry.read()
        await _store_stale(tenant, process)
        assert not await tenant.indexed("behind")
        assert not await tenant.indexed("outbox")
        await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
        await process.sweep()


async def test_a_study_that_cannot_be_indexed_now_keeps_no_other_from_it(tenant: Tenant) -> None:
    async def dies(_pks: set[str], _known: int) -> None:
        raise Unavailable

    processes = [_Process(tenant), await _stale(tenant, None)]
    await processes[0].registry.known()
    for number, process in enumerate(processes):
        process.registry._known = TagList()
        process.indexer.catch_up = dies  # type: ignore[method-assign]
        tenant.store_service = _store(tenant, process.indexer)
        tenant.store_service._committer = process.committer
        study = f"{dicom.STUDY}.{number}"
        await tenant.store(dicom.base(StudyInstanceUID=study, PatientSex="M"))
        await process.sequencer.settled()
    assert len(await tenant.indexed("behind")) == 2
    sweeping = _Process(tenant)
    index_study = sweeping.indexer.index_study

    async def trouble(pk: str, entries: Sequence[ExtendedTag]) -> None:
        if pk.endswith(".0"):
            raise Unavailable
        await index_study(pk, entries)

    sweeping.indexer.index_study = trouble  # type: ignore[method-assign]
    assert await sweeping.indexer.catch_up_behind() == 1
    [left] = await tenant.indexed("behind")
    assert str(left["pk"]).endswith(".0")
    assert await _Process(tenant).indexer.catch_up_behind() == 1
    await _assert_found(tenant)


# The request that adds -------------------------------------------------------------------


class _Engine:
    """An engine whose operation runs as soon as it is started."""

    def __init__(self, tenant: Tenant, *, runs: bool = True) -> None:
        self.tenant, self.runs, self.cancelled = tenant, runs, False

    async def require_free(self, _claim: str) -> None:
        """It is."""

    async def start(self, _type: str, asked: JsonObject, **_options: object) -> str:
        if self.runs:
            entries = [ExtendedTag.from_json(body) for body in asked["entries"]]
            await _reindex(self.tenant, *entries)
        return _OPERATION

    async def cancel(self, _id: str) -> None:
        self.cancelled = True


async def test_the_operation_may_end_before_the_request_goes_on(tenant: Tenant) -> None:
    engine = _Engine(tenant)
    assert await start_adding(engine, _indexer(tenant), [_SEX]) == _OPERATION  # type: ignore[arg-type]
    assert not engine.cancelled
    [entry] = (await TagRegistry(tenant.documents).read()).entries
    assert (entry.status, entry.number) == (Status.READY, 1)
    # nor does it come back if it was deleted in between
    await TagRegistry(tenant.documents).delete(_SEX.tag)
    await TagRegistry(tenant.documents).add([_SEX], _OPERATION)
    assert not (await TagRegistry(tenant.documents).read()).entries


async def test_another_request_that_added_the_same_tag_is_in_the_way(tenant: Tenant) -> None:
    indexer = _indexer(tenant)
    engine = _Engine(tenant, runs=False)

    async def other(*_arguments: object, **_options: object) -> str:
        await TagRegistry(tenant.documents).add([_SEX], "1" * 32)
        return _OPERATION

    engine.start = other  # type: ignore[method-assign]
    with pytest.raises(TagExists):
        await start_adding(engine, indexer, [_SEX, _AGE])  # type: ignore[arg-type]
    assert engine.cancelled
    # the operation, if it runs nevertheless, fails and says why
    kind = Reindexer(tenant.documents, indexer)
    asked: JsonObject = {"entries": [_SEX.to_json(), _AGE.to_json()]}
    step = await kind.step(Work(_OPERATION, asked, {}, {}))
    assert step.done
    assert "00100040" in str(step.failed)
    entries = (await indexer.registry.read()).entries
    assert [(entry.tag, entry.query_status) for entry in entries] == [
        (_SEX.tag, QueryStatus.ENABLED)
    ]

"""Stored instances and new tags: nothing is missed, whoever comes first."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.system import RandomIds
from shared.config import Limits
from shared.delete.restore import RestoreService
from shared.errors import Unavailable
from shared.index.commit import Committer
from shared.index.replacement import Replacer
from shared.operations.models import Work
from shared.operations.reindex import Reindexer
from shared.ports import JsonObject, Replace
from shared.store.service import StoreService
from shared.tags.indexing import TagIndexer
from shared.tags.models import ExtendedTag, Status
from shared.tags.registry import TagRegistry
from tests.support import dicom
from tests.unit.store.conftest import Tenant, tenant

__all__ = ["tenant"]

_SEX = ExtendedTag(0x00100040, "CS", "study")
_AGE = ExtendedTag(0x00101010, "AS", "instance")
_PK = f"microsoft.default|{dicom.STUDY}"


def _indexer(tenant: Tenant) -> TagIndexer:
    committer = Committer(tenant.documents, RandomIds(), tenant.clock)
    registry = TagRegistry(tenant.documents)
    return TagIndexer(tenant.documents, tenant.blobs, committer, registry, tenant.clock)


async def _added(indexer: TagIndexer, *entries: ExtendedTag) -> list[ExtendedTag]:
    await indexer.registry.add(entries, "0" * 32)
    return list((await indexer.registry.read()).entries)


async def test_a_study_and_what_is_in_it(tenant: Tenant) -> None:
    ages = (b"001Y", b"bad ", b"")
    for number, age in enumerate(ages):
        data = dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.{number}", PatientSex="MFO"[number])
        data = dicom.splice(data, dicom.element(0x00101010, "AS", age))
        await tenant.store(data, major=1)
    indexer = _indexer(tenant)
    entries = await _added(indexer, _SEX, _AGE)
    for _ in range(2):
        await indexer.index_study(_PK, entries)
        [study] = await tenant.indexed("study")
        assert study["q"][entries[0].key] == "o"  # type: ignore[index]
        for body in await tenant.indexed("instance"):
            assert body["q"][entries[0].key] == "o"  # type: ignore[index]
        bodies = await tenant.indexed("instance")
        found = {str(body["q"].get(entries[1].key)) for body in bodies}  # type: ignore[attr-defined]
        assert found == {"001y", "None"}


def _store(tenant: Tenant, indexer: TagIndexer) -> StoreService:
    """The store of a process that has its own picture of the tags."""
    grace = timedelta(minutes=15)
    committer = Committer(tenant.documents, RandomIds(), tenant.clock)
    replacer = Replacer(tenant.documents, committer, tenant.remover, RandomIds(), tenant.clock)
    return StoreService(
        tenant.blobs, committer, replacer, RandomIds(), Limits(),
        clock=tenant.clock, grace=grace, indexer=indexer,
    )  # fmt: skip


@pytest.mark.spec("extended-query-tags", 37)
async def test_a_store_that_knows_nothing_of_a_new_tag_looks_again(tenant: Tenant) -> None:
    """Its operation may have passed by before the store has committed."""
    stale = _indexer(tenant)
    assert not (await stale.registry.known()).entries
    tenant.store_service = _store(tenant, stale)
    [sex] = await _added(_indexer(tenant), _SEX)
    await tenant.store(dicom.base(PatientSex="M"))
    for kind in ("study", "series", "instance"):
        [body] = await tenant.indexed(kind)
        assert body["q"][sex.key] == "m"  # type: ignore[index]
    await tenant.store(dicom.base(PatientSex="F", SOPInstanceUID=f"{dicom.INSTANCE}.2"))
    [study] = await tenant.indexed("study")
    assert study["q"][sex.key] == "f"  # type: ignore[index]


async def test_a_store_while_a_study_is_indexed_is_not_lost(tenant: Tenant) -> None:
    indexer = _indexer(tenant)
    await tenant.store(dicom.base(PatientSex="M"))
    entries = await _added(indexer, _SEX)
    tenant.store_service = _store(tenant, _indexer(tenant))
    commit = tenant.documents.commit
    stored = False

    async def storing(container: str, partition: str, operations: Any) -> None:
        nonlocal stored
        if not stored and any(isinstance(one, Replace) for one in operations):
            stored = True  # just before the study would be written
            later = dicom.base(PatientSex="F", SOPInstanceUID=f"{dicom.INSTANCE}.2")
            await tenant.store(later)
        await commit(container, partition, operations)

    tenant.documents.commit = storing  # type: ignore[method-assign]
    await indexer.index_study(_PK, entries)
    assert stored
    for kind in ("study", "series", "instance"):
        for body in await tenant.indexed(kind):
            assert body["q"][entries[0].key] == "f"  # type: ignore[index]


@pytest.mark.parametrize("upsert", [False, True])
async def test_deletion_replacement_and_undelete_keep_the_values_right(
    tenant: Tenant, upsert: bool
) -> None:
    indexer = _indexer(tenant)
    tenant.store_service = _store(tenant, indexer)
    [sex] = await _added(indexer, _SEX)
    second = f"{dicom.INSTANCE}.2"
    await tenant.store(dicom.base(PatientSex="M"))
    await tenant.store(dicom.base(PatientSex="F", SOPInstanceUID=second))
    if upsert:
        await tenant.store(dicom.base(PatientSex="O", SOPInstanceUID=second), upsert=True)
    [series] = await tenant.indexed("series")
    uid = str(series["series"])
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY, uid, second)
    [study] = await tenant.indexed("study")
    assert study["q"][sex.key] == "m"  # type: ignore[index]
    await tenant.restore.restore("Microsoft.Default", dicom.STUDY)
    [study] = await tenant.indexed("study")
    assert study["q"][sex.key] == ("o" if upsert else "f")  # type: ignore[index]


@pytest.mark.spec("operations", 41)
async def test_the_operation_killed_at_each_write(tenant: Tenant) -> None:
    for number in range(3):
        study = f"{dicom.STUDY}.{number}"
        await tenant.store(dicom.base(StudyInstanceUID=study, PatientSex="M"))
    at = 0
    done = False
    checkpoint: JsonObject = {}
    while not done:
        at += 1
        left = at

        def killed(_operations: object) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise Unavailable

        tenant.documents.failing = killed
        kind = Reindexer(tenant.documents, _indexer(tenant), step_s=0)
        try:
            while not done:
                work = Work("0" * 32, {"entries": [_SEX.to_json()]}, checkpoint, {})
                step = await kind.step(work)
                checkpoint, done = step.checkpoint, step.done
        except Unavailable:
            continue
    tenant.documents.failing = lambda _operations: None
    tags = await TagRegistry(tenant.documents).read()
    assert [(entry.tag, entry.status, entry.operation) for entry in tags.entries] == [
        (_SEX.tag, Status.READY, None)
    ]
    for body in await tenant.indexed("instance"):
        assert body["q"][tags.entries[0].key] == "m"  # type: ignore[index]
    assert at > 3


async def test_an_undelete_brings_tags_that_came_since(tenant: Tenant) -> None:
    await tenant.store(dicom.base(PatientSex="M"))
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    indexer = _indexer(tenant)
    [sex] = await _added(indexer, _SEX)
    committer = Committer(tenant.documents, RandomIds(), tenant.clock)
    restore = RestoreService(
        tenant.documents, tenant.blobs, committer, tenant.clock, indexer=indexer
    )
    await restore.restore("Microsoft.Default", dicom.STUDY)
    for kind in ("study", "series", "instance"):
        [body] = await tenant.indexed(kind)
        assert body["q"][sex.key] == "m"  # type: ignore[index]

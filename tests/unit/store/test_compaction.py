"""Compaction: the metadata of a quiet series becomes one segment, and says the same as before."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.index import compaction
from shared.index.compaction import COMPACT_QUEUE, is_compacted
from shared.ports import Operation
from shared.retrieve.instances import Address
from tests.support import dicom
from tests.unit.store.conftest import URL, Tenant

_PARTITION = "Microsoft.Default"
_ADDRESS = Address("microsoft.default", dicom.STUDY, dicom.SERIES)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No minute between two requests; the messages are handled when the test says so."""
    monkeypatch.setattr(compaction, "QUIET_S", 0.0)


def _instances(count: int, **members: Any) -> list[Dataset]:
    place = {"StudyInstanceUID": dicom.STUDY, "SeriesInstanceUID": dicom.SERIES}
    return [dicom.ct(**place, InstanceNumber=number, **members) for number in range(count)]


async def _store_singly(tenant: Tenant, datasets: Sequence[Dataset]) -> None:
    for ds in datasets:
        await tenant.store(dicom.part10(ds))


async def _pump(tenant: Tenant, most: int = 50) -> list[dict[str, Any]]:
    """Handle what was asked for, and what that asks for, in order; the messages."""
    handled: list[dict[str, Any]] = []
    while len(handled) < most:
        await asyncio.sleep(0.01)  # messages are sent beside the answer
        waiting = [sent for sent in tenant.queue.sent if sent[0] == COMPACT_QUEUE]
        if not waiting:
            return handled
        tenant.queue.sent.remove(waiting[0])
        handled.append(waiting[0][1])
        await tenant.compactor.handle(waiting[0][1])
    raise AssertionError("compaction never comes to rest")


async def _metadata(tenant: Tenant, address: Address = _ADDRESS) -> list[dict[str, Any]]:
    found = await tenant.retrieve.metadata(address)
    text = [piece async for piece in tenant.retrieve.metadata_content(found, URL, gzip=False)]
    packed = [piece async for piece in tenant.retrieve.metadata_content(found, URL, gzip=True)]
    parsed: list[dict[str, Any]] = json.loads(b"".join(text))
    assert json.loads(gzip.decompress(b"".join(packed))) == parsed
    return parsed


async def _series(tenant: Tenant) -> dict[str, Any]:
    [body] = await tenant.indexed("series")
    return body


async def test_a_quiet_series_becomes_one_segment_that_says_the_same(tenant: Tenant) -> None:
    await _store_singly(tenant, _instances(12))
    before = await _metadata(tenant)
    assert len((await tenant.retrieve.metadata(_ADDRESS)).places) == 12
    await _pump(tenant)
    series = await _series(tenant)
    assert is_compacted(series)
    assert series["compacted"]["segment"] in tenant.blobs.content
    found = await tenant.retrieve.metadata(_ADDRESS)
    assert len(found.places) == 1
    assert await _metadata(tenant) == before
    study = Address("microsoft.default", dicom.STUDY)
    assert await _metadata(tenant, study) == before
    other = dicom.mr(StudyInstanceUID=dicom.STUDY)
    await tenant.store(dicom.part10(other))
    assert {body["00080018"]["Value"][0] for body in await _metadata(tenant, study)} == {
        body["00080018"]["Value"][0] for body in before
    } | {other.SOPInstanceUID}


async def test_a_series_that_changes_is_left_until_it_is_quiet(tenant: Tenant) -> None:
    await _store_singly(tenant, _instances(9))
    await asyncio.sleep(0.01)
    [first, *_] = [message for _, message, _ in tenant.queue.sent]
    tenant.queue.sent.clear()
    await tenant.compactor.handle(first)
    [(_, again, _)] = tenant.queue.sent
    assert again["series"] == {dicom.SERIES: 9}
    await _store_singly(tenant, _instances(1))
    await tenant.compactor.handle(again)
    assert not is_compacted(await _series(tenant))
    await _pump(tenant)
    assert is_compacted(await _series(tenant))


async def test_a_change_after_compaction_is_seen_at_once_and_compacted_anew(
    tenant: Tenant,
) -> None:
    await _store_singly(tenant, _instances(10))
    await _pump(tenant)
    old = (await _series(tenant))["compacted"]["segment"]
    await _store_singly(tenant, _instances(1))
    assert len(await _metadata(tenant)) == 11
    assert old in tenant.blobs.content
    await _pump(tenant)
    new = (await _series(tenant))["compacted"]["segment"]
    assert len(await _metadata(tenant)) == 11
    assert new in tenant.blobs.content
    assert old not in tenant.blobs.content
    # a message that comes twice, or late, removes nothing that is in use
    message = {"tenant": "main", "pk": _ADDRESS.pk, "of": dicom.SERIES, "segment": new}
    await tenant.compactor.handle(message)
    assert new in tenant.blobs.content


async def test_what_is_deleted_leaves_the_metadata_at_once_and_the_blobs_soon(
    tenant: Tenant,
) -> None:
    datasets = _instances(9)
    await _store_singly(tenant, datasets)
    await _pump(tenant)
    old = (await _series(tenant))["compacted"]["segment"]
    gone = str(datasets[0].SOPInstanceUID)
    await tenant.delete.delete(_PARTITION, dicom.STUDY, dicom.SERIES, gone)
    assert len(await _metadata(tenant)) == 8
    await tenant.delete.delete(
        _PARTITION, dicom.STUDY, dicom.SERIES, str(datasets[1].SOPInstanceUID)
    )
    await _pump(tenant)
    assert "compacted" not in await _series(tenant)  # so few are read as they are
    assert old not in tenant.blobs.content
    assert len(await _metadata(tenant)) == 7


async def test_the_segment_of_a_deleted_series_is_purged_with_it(tenant: Tenant) -> None:
    await _store_singly(tenant, _instances(10))
    await _pump(tenant)
    segment = (await _series(tenant))["compacted"]["segment"]
    await tenant.delete.delete(_PARTITION, dicom.STUDY, dicom.SERIES)
    await _pump(tenant)
    assert segment in tenant.blobs.content
    tenant.clock.pass_by(days=4)
    await tenant.delete.purge_due()
    assert not tenant.blobs.content


async def test_a_store_at_the_same_time_wins_and_no_segment_is_left(tenant: Tenant) -> None:
    await _store_singly(tenant, _instances(9))
    late = [_instances(1)[0]]
    commit = type(tenant.documents).commit

    async def store_first(
        self: Any, container: str, partition: str, operations: Sequence[Operation]
    ) -> None:
        if late and any("compacted" in getattr(each, "body", {}) for each in operations):
            await _store_singly(tenant, [late.pop()])
        await commit(self, container, partition, operations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tenant.documents), "commit", store_first)
        await _pump(tenant)
    assert not late
    series = await _series(tenant)
    assert is_compacted(series)
    segments = [key for key in tenant.blobs.content if key.startswith("segments/")]
    assert segments == [series["compacted"]["segment"]]
    assert len(await _metadata(tenant)) == 10


async def test_much_metadata_becomes_several_chunks_of_bounded_size(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "_TEXT_BYTES", 3_000)
    await _store_singly(tenant, _instances(20))
    before = await _metadata(tenant)
    await _pump(tenant)
    chunks = (await _series(tenant))["compacted"]["chunks"]
    assert len(chunks) > 3
    assert all(chunk["size"] < 6_000 for chunk in chunks)
    assert await _metadata(tenant) == before


async def test_an_address_that_has_changed_since_is_rewritten(tenant: Tenant) -> None:
    data = bytes(20_000)
    datasets = _instances(8)
    for ds in datasets:
        ds.add_new(0x00420011, "OB", data)
    await _store_singly(tenant, datasets)
    await _pump(tenant)
    found = await tenant.retrieve.metadata(_ADDRESS)
    assert len(found.places) == 1
    moved = "https://elsewhere/main/v2"
    pieces = [piece async for piece in tenant.retrieve.metadata_content(found, moved, gzip=True)]
    for body in json.loads(gzip.decompress(b"".join(pieces))):
        assert body["00420011"]["BulkDataURI"].startswith(moved + "/studies/")

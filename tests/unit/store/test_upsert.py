"""Upsert: a stored instance is replaced in one step, and its old file stays until it is due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from shared.errors import OperationRefused, Refusal, Unavailable
from shared.index.shapes import partition_key
from shared.ports import Operation, Replace
from shared.retrieve.instances import Address
from shared.store.complete import Completion
from tests.support import dicom
from tests.unit.store.conftest import Tenant

_PARTITION = "Microsoft.Default"
_PK = partition_key(_PARTITION, dicom.STUDY)


def _file(instance: str = dicom.INSTANCE, series: str = dicom.SERIES, **attributes: Any) -> bytes:
    uids = {
        "StudyInstanceUID": dicom.STUDY,
        "SeriesInstanceUID": series,
        "SOPInstanceUID": instance,
    }
    return dicom.part10(dicom.ct(**(uids | attributes)))


async def _document(tenant: Tenant, kind: str) -> dict[str, Any]:
    [body] = await tenant.indexed(kind)
    return body


async def _changes(tenant: Tenant) -> list[tuple[str, str]]:
    return [
        (change["action"], change["version"])
        for body in sorted(await tenant.indexed("outbox"), key=lambda body: str(body["version"]))
        for change in body["changes"]  # type: ignore[attr-defined]
    ]


async def _file_of(tenant: Tenant, body: dict[str, Any]) -> bytes:
    return tenant.blobs.content[body["blob"]]


async def test_an_instance_is_replaced_and_announced_as_updated(tenant: Tenant) -> None:
    old, new = _file(PatientName="Old", StudyID=None), _file(PatientName="New")
    await tenant.store(old)
    before = await _document(tenant, "instance")
    study, series = await _document(tenant, "study"), await _document(tenant, "series")
    result = await tenant.store(new, upsert=True)
    assert [row.warning for row in result.stored] == [None]
    assert not result.refused
    after = await _document(tenant, "instance")
    assert await _file_of(tenant, after) == new
    assert after["version"] > before["version"]
    for kind, earlier in (("study", study), ("series", series)):
        body = await _document(tenant, kind)
        assert body["d"]["00100010"]["Value"] == [{"Alphabetic": "New"}]
        assert body["instanceCount"] == 1
        assert body["revision"] > earlier["revision"]
        assert body["version"] == earlier["version"]
        assert body["q"].items() <= after["q"].items()
    assert (await _document(tenant, "study"))["seriesCount"] == 1
    assert await _changes(tenant) == [
        ("Create", before["version"]),
        ("Update", after["version"]),
    ]


async def test_what_is_not_there_is_added(tenant: Tenant) -> None:
    await tenant.store(_file("1.2.1"))
    result = await tenant.store(_file("1.2.1"), _file("1.2.2"), upsert=True)
    assert len(result.stored) == 2
    assert Counter(action for action, _ in await _changes(tenant)) == {"Create": 2, "Update": 1}
    assert (await _document(tenant, "study"))["instanceCount"] == 2


async def test_the_old_file_goes_when_the_retention_is_over(tenant: Tenant) -> None:
    await tenant.store(_file(PatientName="Old"))
    old = (await _document(tenant, "instance"))["blob"]
    await tenant.store(_file(PatientName="New"), upsert=True)
    assert old in tenant.blobs.content
    assert await tenant.completer.complete(old) is Completion.DELETED
    tenant.clock.pass_by(days=4)
    assert await tenant.delete.purge_due() == 1
    assert list(tenant.blobs.content) == [(await _document(tenant, "instance"))["blob"]]
    assert not await tenant.indexed("tombstone")


async def test_attributes_that_only_the_old_version_had_are_gone(tenant: Tenant) -> None:
    await tenant.store(_file(Modality="CT", StudyDescription="Wrong"))
    await tenant.store(_file(Modality="MR", StudyDescription=None), upsert=True)
    study = await _document(tenant, "study")
    assert study["d"]["00080061"]["Value"] == ["MR"]
    assert "00081030" not in study["d"]


async def test_documents_of_other_series_follow_the_study(tenant: Tenant) -> None:
    await tenant.store(_file("1.2.1", PatientID="A"), _file("1.2.2", series="1.9", PatientID="A"))
    await tenant.store(_file("1.2.1", PatientID="B"), upsert=True)
    for kind in ("study", "series", "instance"):
        for body in await tenant.indexed(kind):
            assert body["q"]["00100020"] == "b"  # type: ignore[index]
    assert not (await _document(tenant, "study"))["spreading"]


async def test_of_two_copies_in_a_request_the_later_stays(tenant: Tenant) -> None:
    first, second = _file(PatientName="First"), _file(PatientName="Second")
    result = await tenant.store(first, second, upsert=True)
    assert len(result.stored) == 2
    assert await _file_of(tenant, await _document(tenant, "instance")) == second
    assert [action for action, _ in await _changes(tenant)] == ["Create", "Update"]


async def test_the_same_sop_instance_in_another_series_is_another_instance(tenant: Tenant) -> None:
    await tenant.store(_file())
    await tenant.store(_file(series="1.9"), upsert=True)
    assert (await _document(tenant, "study"))["instanceCount"] == 2


async def test_many_instances_are_replaced_in_batches(tenant: Tenant) -> None:
    names = [f"1.2.{number}" for number in range(95)]
    await tenant.store(*(_file(name) for name in names))
    tenant.documents.commits = 0
    result = await tenant.store(*(_file(name) for name in names), upsert=True)
    assert len(result.stored) == 95
    study = await _document(tenant, "study")
    assert study["instanceCount"] == 95
    assert len(await tenant.indexed("instance")) == 95
    assert Counter(action for action, _ in await _changes(tenant)) == {"Create": 95, "Update": 95}


async def test_a_refused_batch_is_tried_again(tenant: Tenant) -> None:
    await tenant.store(_file())
    once = [True]

    def failing(operations: Sequence[Operation]) -> None:
        if isinstance(operations[0], Replace) and once:
            once.pop()
            raise OperationRefused(0, Refusal.CHANGED)

    tenant.documents.failing = failing
    assert (await tenant.store(_file(PatientName="New"), upsert=True)).stored
    assert not once


async def test_a_deletion_in_between_makes_it_an_addition(tenant: Tenant) -> None:
    await tenant.store(_file())
    commit = type(tenant.documents).commit
    waiting = [True]

    async def delete_first(
        self: Any, container: str, partition: str, operations: Sequence[Operation]
    ) -> None:
        if waiting and isinstance(operations[0], Replace):
            waiting.pop()
            await tenant.delete.delete(_PARTITION, dicom.STUDY)
        await commit(self, container, partition, operations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tenant.documents), "commit", delete_first)
        assert (await tenant.store(_file(PatientName="New"), upsert=True)).stored
    assert (await _document(tenant, "study"))["instanceCount"] == 1
    assert [action for action, _ in await _changes(tenant)] == ["Create", "Delete", "Create"]


async def test_an_index_that_is_away_leaves_the_old_instance(tenant: Tenant) -> None:
    old = _file(PatientName="Old")
    await tenant.store(old)

    def away(operations: Sequence[Operation]) -> None:
        if isinstance(operations[0], Replace):
            raise Unavailable

    tenant.documents.failing = away
    with pytest.raises(Unavailable):
        await tenant.store(_file(PatientName="New"), upsert=True)
    assert await _file_of(tenant, await _document(tenant, "instance")) == old
    [orphan] = tenant.blobs.content.keys() - {(await _document(tenant, "instance"))["blob"]}
    tenant.documents.failing = lambda _operations: None
    tenant.clock.pass_by(hours=1)
    assert await tenant.completer.complete(orphan) is Completion.REMOVED


async def test_undelete_brings_back_the_newest_version(tenant: Tenant) -> None:
    new = _file(PatientName="New")
    await tenant.store(_file(PatientName="Old"))
    await tenant.store(new, upsert=True)
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    done = await tenant.restore.restore(_PARTITION, dicom.STUDY)
    assert (done.restored, done.replaced) == (1, 1)
    assert await _file_of(tenant, await _document(tenant, "instance")) == new
    address = Address(_PARTITION.lower(), dicom.STUDY)
    assert len((await tenant.retrieve.metadata(address)).places) == 1

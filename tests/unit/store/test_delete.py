"""Delete: exact effects on counts and attributes, and files that stay until they are due."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from shared.errors import InstanceNotFound, SeriesNotFound, StudyNotFound, Unavailable
from shared.index.removal import PURGE_QUEUE
from shared.index.shapes import partition_key
from shared.ports import JsonObject, Operation
from shared.store.models import Stored
from tests.support import dicom
from tests.unit.store.conftest import Tenant

_PARTITION = "Microsoft.Default"


async def test_178_179_counts_and_levels_after_each_deletion(tenant: Tenant) -> None:
    study = dicom.new_uid()
    one, two = dicom.new_uid(), dicom.new_uid()
    datasets = [
        dicom.ct(StudyInstanceUID=study, SeriesInstanceUID=series) for series in (one, one, two)
    ]
    await tenant.store(*map(dicom.part10, datasets))
    await tenant.delete.delete(_PARTITION, study, one, str(datasets[0].SOPInstanceUID))
    [body] = await tenant.indexed("study")
    assert (body["instanceCount"], body["seriesCount"]) == (2, 2)
    await tenant.delete.delete(_PARTITION, study, one)
    [body] = await tenant.indexed("study")
    assert (body["instanceCount"], body["seriesCount"]) == (1, 1)
    [series] = await tenant.indexed("series")
    assert series["series"] == two
    await tenant.delete.delete(_PARTITION, study)
    assert not await tenant.indexed("study")
    assert not await tenant.indexed("series")
    assert not await tenant.indexed("instance")


async def test_176_181_185_what_is_not_there_is_named_by_its_level(tenant: Tenant) -> None:
    with pytest.raises(StudyNotFound):
        await tenant.delete.delete(_PARTITION, "1.2")
    await tenant.store(dicom.base())
    with pytest.raises(SeriesNotFound):
        await tenant.delete.delete(_PARTITION, dicom.STUDY, "1.2")
    with pytest.raises(InstanceNotFound):
        await tenant.delete.delete(_PARTITION, dicom.STUDY, dicom.SERIES, "1.2")


async def test_attributes_of_the_study_are_those_of_what_is_left(tenant: Tenant) -> None:
    old = dicom.ct(PatientName="Old^Name", StudyDescription="Only here")
    new = dicom.mr(
        StudyInstanceUID=old.StudyInstanceUID, PatientName="New^Name", StudyDescription=None
    )
    await tenant.store(dicom.part10(old))
    await tenant.store(dicom.part10(new))
    [body] = await tenant.indexed("study")
    assert body["d"]["00100010"]["Value"] == [{"Alphabetic": "New^Name"}]  # type: ignore[index]
    await tenant.delete.delete(_PARTITION, str(new.StudyInstanceUID), str(new.SeriesInstanceUID))
    [body] = await tenant.indexed("study")
    shown, terms = body["d"], body["q"]
    assert shown["00100010"]["Value"] == [{"Alphabetic": "Old^Name"}]  # type: ignore[index]
    assert shown["00081030"]["Value"] == ["Only here"]  # type: ignore[index]
    assert shown["00080061"]["Value"] == ["CT"]  # type: ignore[index]
    [instance] = await tenant.indexed("instance")
    assert instance["q"]["00100010"] == terms["00100010"]  # type: ignore[index]
    assert body["spreading"] is False


async def test_190_a_deleted_instance_can_be_stored_again(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    result = await tenant.store(dicom.base())
    assert len(result.stored) == 1
    assert len(tenant.blobs.content) == 2


async def test_files_stay_until_they_are_due_and_go_then(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    [(queue, message, delay)] = [sent for sent in tenant.queue.sent if sent[0] == PURGE_QUEUE]
    assert (queue, delay) == (PURGE_QUEUE, 3 * 24 * 3600)
    await tenant.delete.purge(message["pk"], message["tombstone"])
    assert len(tenant.blobs.content) == 1
    purges = [sent for sent in tenant.queue.sent if sent[0] == PURGE_QUEUE]
    assert len(purges) == 2  # it asks again for later
    tenant.clock.pass_by(days=3.1)
    await tenant.delete.purge(message["pk"], message["tombstone"])
    assert not tenant.blobs.content
    assert not await tenant.indexed("tombstone")
    await tenant.delete.purge(message["pk"], message["tombstone"])


async def test_a_lost_message_is_made_up_for_by_the_sweep(tenant: Tenant) -> None:
    await tenant.store(dicom.base())

    def away() -> None:
        raise Unavailable

    tenant.queue.failing = away
    await tenant.delete.delete(_PARTITION, dicom.STUDY)  # the deletion stands all the same
    assert await tenant.delete.purge_due() == 0
    tenant.clock.pass_by(days=3.1)
    assert await tenant.delete.purge_due() == 1
    assert not tenant.blobs.content


async def test_a_segment_goes_with_the_last_instance_that_uses_it(tenant: Tenant) -> None:
    datasets = []
    series = dicom.new_uid()
    for _ in range(2):
        ds = dicom.ct(StudyInstanceUID=dicom.STUDY, SeriesInstanceUID=series)
        ds.ProcedureCodeSequence = [dicom.item(CodeMeaning=dicom.new_uid()) for _ in range(400)]
        datasets.append(ds)
    await tenant.store(*map(dicom.part10, datasets))
    [segment] = [key for key in tenant.blobs.content if key.startswith("segments/")]
    for number, ds in enumerate(datasets):
        await tenant.delete.delete(_PARTITION, dicom.STUDY, series, str(ds.SOPInstanceUID))
        tenant.clock.pass_by(days=3.1)
        await tenant.delete.purge_due()
        assert (segment in tenant.blobs.content) is (number == 0)
    assert not tenant.blobs.content


async def test_a_store_between_look_and_commit_makes_the_removal_start_again(
    tenant: Tenant,
) -> None:
    first = dicom.ct()
    await tenant.store(dicom.part10(first))
    second = dicom.part10(dicom.ct(StudyInstanceUID=first.StudyInstanceUID))
    calls = 0
    real = tenant.documents.commit

    async def commit(container: str, partition: str, operations: Sequence[Operation]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await tenant.store(second)
        await real(container, partition, operations)

    tenant.documents.commit = commit  # type: ignore[method-assign]
    await tenant.delete.delete(
        _PARTITION, str(first.StudyInstanceUID), str(first.SeriesInstanceUID)
    )
    [body] = await tenant.indexed("study")
    assert (body["instanceCount"], body["seriesCount"]) == (1, 1)
    assert body["pk"] == partition_key(_PARTITION, str(first.StudyInstanceUID))


@pytest.mark.parametrize("change", ["delete", "upsert"])
async def test_a_series_that_goes_while_another_writer_reads_is_read_again(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    study = dicom.new_uid()
    one, two = dicom.ct(StudyInstanceUID=study), dicom.ct(StudyInstanceUID=study)
    await tenant.store(dicom.part10(one), dicom.part10(two))
    all_series, reads = tenant.remover.all_series, 0

    async def late(pk: str) -> list[JsonObject]:
        nonlocal reads
        reads += 1
        if reads == 1:
            await tenant.delete.delete(_PARTITION, study, str(one.SeriesInstanceUID))
        return await all_series(pk)

    monkeypatch.setattr(tenant.remover, "all_series", late)
    if change == "delete":
        await tenant.delete.delete(_PARTITION, study)
        assert not await tenant.indexed("study")
    else:
        result = await tenant.store(dicom.part10(one), upsert=True)
        assert isinstance(result.rows[0], Stored)
        assert len(await tenant.indexed("instance")) == 2
    assert reads > 1

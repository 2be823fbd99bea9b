"""Undelete: back as it was, until the retention time is over, whatever dies in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shared.errors import InstanceNotFound, Unavailable
from shared.index.shapes import partition_key
from shared.ports import Delete, Operation
from shared.retrieve.instances import Address
from tests.support import dicom
from tests.unit.store.conftest import Tenant

_PARTITION = "Microsoft.Default"
_PK = partition_key(_PARTITION, dicom.STUDY)


async def _state(tenant: Tenant) -> dict[str, Any]:
    """What a user sees: documents without the members that count changes."""
    counted = ("revision", "termsVersion", "version", "spreading")
    return {
        str(body["id"]): {name: value for name, value in body.items() if name not in counted}
        for kind in ("study", "series", "instance")
        for body in await tenant.indexed(kind)
    }


async def _store(tenant: Tenant, *instances: str, series: str = dicom.SERIES) -> None:
    await tenant.store(
        *(
            dicom.part10(
                dicom.ct(StudyInstanceUID=dicom.STUDY, SeriesInstanceUID=series, SOPInstanceUID=uid)
            )
            for uid in instances
        )
    )


async def test_a_study_is_back_as_it_was(tenant: Tenant) -> None:
    await _store(tenant, "1.2.1", "1.2.2")
    await _store(tenant, "1.2.3", series="1.9")
    before, files = await _state(tenant), dict(tenant.blobs.content)
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    assert not await _state(tenant)
    done = await tenant.restore.restore(_PARTITION, dicom.STUDY)
    assert (done.restored, done.replaced) == (3, 0)
    assert await _state(tenant) == before
    assert not await tenant.indexed("tombstone")
    tenant.clock.pass_by(days=30)
    await tenant.delete.purge_due()
    assert tenant.blobs.content == files
    created = [
        change["action"]
        for body in await tenant.indexed("outbox")
        for change in body["changes"]  # type: ignore[attr-defined]
    ]
    assert sorted(created) == ["Create"] * 6 + ["Delete"] * 3


async def test_one_instance_or_series_of_many(tenant: Tenant) -> None:
    await _store(tenant, "1.2.1", "1.2.2")
    await _store(tenant, "1.2.3", series="1.9")
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    await tenant.restore.restore(_PARTITION, dicom.STUDY, dicom.SERIES, "1.2.2")
    assert {body["instance"] for body in await tenant.indexed("instance")} == {"1.2.2"}
    await tenant.restore.restore(_PARTITION, dicom.STUDY, "1.9")
    assert {body["instance"] for body in await tenant.indexed("instance")} == {"1.2.2", "1.2.3"}
    with pytest.raises(InstanceNotFound):
        await tenant.restore.restore(_PARTITION, dicom.STUDY, "1.9")
    tenant.clock.pass_by(days=30)
    await tenant.delete.purge_due()
    assert {key.split("/")[4] for key in tenant.blobs.content} == {"1.2.2", "1.2.3"}


async def test_what_was_stored_again_meanwhile_stays(tenant: Tenant) -> None:
    await tenant.store(dicom.base(PatientName="First"))
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    await tenant.store(dicom.base(PatientName="Second"))
    done = await tenant.restore.restore(_PARTITION, dicom.STUDY)
    assert (done.restored, done.replaced) == (0, 1)
    [body] = await tenant.indexed("instance")
    assert body["d"]["00100010"]["Value"] == [{"Alphabetic": "Second"}]  # type: ignore[index]
    # of several deleted versions the newest comes back
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    done = await tenant.restore.restore(_PARTITION, dicom.STUDY)
    assert (done.restored, done.replaced) == (1, 1)
    [body] = await tenant.indexed("instance")
    assert body["d"]["00100010"]["Value"] == [{"Alphabetic": "Second"}]  # type: ignore[index]


async def test_a_time_that_is_over_is_over(tenant: Tenant) -> None:
    await _store(tenant, "1.2.1")
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    tenant.clock.pass_by(days=4)
    await tenant.delete.purge_due()
    with pytest.raises(InstanceNotFound):
        await tenant.restore.restore(_PARTITION, dicom.STUDY)
    assert not tenant.blobs.content


async def test_a_purge_that_has_begun_cannot_be_undone_and_is_finished(tenant: Tenant) -> None:
    await _store(tenant, "1.2.1")
    await tenant.delete.delete(_PARTITION, dicom.STUDY)
    tenant.clock.pass_by(days=4)

    def unavailable(call: str, _key: str) -> None:
        if call == "delete":
            raise Unavailable

    tenant.blobs.failing = unavailable
    with pytest.raises(Unavailable):
        await tenant.delete.purge_due()
    with pytest.raises(InstanceNotFound):
        await tenant.restore.restore(_PARTITION, dicom.STUDY)
    tenant.blobs.failing = lambda _call, _key: None
    await tenant.delete.purge_due()
    assert not tenant.blobs.content
    assert not await tenant.indexed("tombstone")


async def test_a_restore_that_died_before_its_end_loses_no_file(tenant: Tenant) -> None:
    await _store(tenant, "1.2.1", "1.2.2")
    await tenant.delete.delete(_PARTITION, dicom.STUDY)

    def dies(operations: Sequence[Operation]) -> None:
        if any(isinstance(each, Delete) for each in operations):
            raise Unavailable

    tenant.documents.failing = dies
    with pytest.raises(Unavailable):
        await tenant.restore.restore(_PARTITION, dicom.STUDY)
    tenant.documents.failing = lambda _operations: None
    assert len(await tenant.indexed("instance")) == 2
    tenant.clock.pass_by(days=30)
    await tenant.delete.purge_due()
    assert not await tenant.indexed("tombstone")
    assert len(tenant.blobs.content) == 2
    address = Address("microsoft.default", dicom.STUDY)
    assert len((await tenant.retrieve.metadata(address)).places) == 2

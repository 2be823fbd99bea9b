"""Events of files: a died commit is completed, and nothing else is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.adapters.system import RandomIds
from shared.errors import Unavailable
from shared.store.complete import COMPLETE_QUEUE, Completion
from tests.support import dicom
from tests.unit.store.conftest import Tenant

_KEY = f"instances/Microsoft.Default/{dicom.STUDY}/{dicom.SERIES}/{dicom.INSTANCE}"
_OLD_MINUTES = 20.0


async def _orphan(tenant: Tenant, data: bytes) -> str:
    """A file whose process died before its commit."""

    async def chunks() -> AsyncIterator[bytes]:
        yield data

    blob = f"{_KEY}/{RandomIds().version()}.dcm"
    await tenant.blobs.put(blob, chunks())
    return blob


async def test_a_young_file_is_looked_at_again_when_the_grace_is_over(tenant: Tenant) -> None:
    blob = await _orphan(tenant, dicom.base())
    assert await tenant.completer.complete(blob) is Completion.TOO_YOUNG
    [(queue, message, delay)] = tenant.queue.sent
    assert queue == COMPLETE_QUEUE
    assert message == {"tenant": "main", "blobs": [blob]}
    assert delay > 15 * 60
    assert not await tenant.indexed("instance")


async def test_an_old_file_is_taken_into_the_index_once(tenant: Tenant) -> None:
    blob = await _orphan(tenant, dicom.base())
    tenant.clock.pass_by(minutes=_OLD_MINUTES)
    assert await tenant.completer.complete(blob) is Completion.COMPLETED
    assert await tenant.completer.complete(blob) is Completion.INDEXED
    [body] = await tenant.indexed("instance")
    assert body["blob"] == blob
    [outbox] = await tenant.indexed("outbox")
    assert len(outbox["changes"]) == 1  # type: ignore[arg-type]


async def test_the_same_as_a_store_would_have_made(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    [stored] = await tenant.indexed("instance")
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    blob = await _orphan(tenant, dicom.base())
    tenant.clock.pass_by(minutes=_OLD_MINUTES)
    assert await tenant.completer.complete(blob) is Completion.COMPLETED
    [completed] = await tenant.indexed("instance")
    for body in (stored, completed):
        body.pop("version")
        body.pop("blob")
    assert completed == stored


async def test_a_file_that_lost_is_removed(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    blob = await _orphan(tenant, dicom.base())
    tenant.clock.pass_by(minutes=_OLD_MINUTES)
    assert await tenant.completer.complete(blob) is Completion.REMOVED
    assert blob not in tenant.blobs.content
    assert len(tenant.blobs.content) == 1


async def test_a_deleted_file_is_not_brought_back(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    [blob] = tenant.blobs.content
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    tenant.clock.pass_by(minutes=_OLD_MINUTES)
    assert await tenant.completer.complete(blob) is Completion.DELETED
    assert not await tenant.indexed("instance")
    assert blob in tenant.blobs.content


@pytest.mark.parametrize("data", [b"no DICOM", dicom.base()[:-2], dicom.base(PatientID=None)])
async def test_a_file_that_no_store_would_take_is_removed(tenant: Tenant, data: bytes) -> None:
    blob = await _orphan(tenant, data)
    tenant.clock.pass_by(minutes=_OLD_MINUTES)
    assert await tenant.completer.complete(blob) is Completion.REMOVED
    assert not tenant.blobs.content


async def test_a_file_under_a_name_that_is_not_its_own_is_removed(tenant: Tenant) -> None:
    blob = await _orphan(tenant, dicom.part10(dicom.ct()))
    tenant.clock.pass_by(minutes=_OLD_MINUTES)
    assert await tenant.completer.complete(blob) is Completion.REMOVED


@pytest.mark.parametrize("blob", ["segments/a/b/c/d", "instances/x", "import/x.dcm"])
async def test_other_blobs_are_none_of_its_business(tenant: Tenant, blob: str) -> None:
    assert await tenant.completer.complete(blob) is Completion.NOT_OURS


async def test_an_index_that_is_away_makes_the_event_come_again(tenant: Tenant) -> None:
    blob = await _orphan(tenant, dicom.base())
    tenant.clock.pass_by(minutes=_OLD_MINUTES)

    def away(_operations: object) -> None:
        raise Unavailable

    tenant.documents.failing = away
    with pytest.raises(Unavailable):
        await tenant.completer.complete(blob)
    assert blob in tenant.blobs.content

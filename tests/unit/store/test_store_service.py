"""Store when things go wrong: what the client is told, and what stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from shared.errors import (
    MalformedRequest,
    OperationRefused,
    Refusal,
    RequestTooSlow,
    Throttled,
    Unavailable,
)
from shared.store.intake import SMALL_BYTES, Destination
from shared.store.models import ALREADY_STORED, PROCESSING_FAILURE, Refused, Stored
from tests.support import dicom
from tests.unit.store.conftest import URL, Tenant

_DESTINATION = Destination("Microsoft.Default", None, 2, URL)


def _large() -> bytes:
    """A file that is written while it is read."""
    data = dicom.part10(
        dicom.multi_frame(frames=20, Rows=512, Columns=512, PixelData=bytes(20 * 512 * 512))
    )
    assert len(data) > SMALL_BYTES
    return data


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_an_error_of_the_framing_removes_what_was_written(tenant: Tenant) -> None:
    large = _large()

    async def contents() -> AsyncIterator[AsyncIterator[bytes]]:
        yield _pieces(dicom.base())
        yield _pieces(*(large[at : at + 65536] for at in range(0, len(large), 65536)))
        raise MalformedRequest("The closing boundary is missing.")

    with pytest.raises(MalformedRequest):
        await tenant.store_service.store(contents(), _DESTINATION)
    assert not tenant.blobs.content
    assert not await tenant.indexed("instance")


async def test_a_client_that_leaves_has_nothing_stored(tenant: Tenant) -> None:
    arrived = asyncio.Event()

    async def contents() -> AsyncIterator[AsyncIterator[bytes]]:
        yield _pieces(dicom.base())
        arrived.set()
        await asyncio.sleep(3600)

    request = asyncio.create_task(tenant.store_service.store(contents(), _DESTINATION))
    await arrived.wait()
    await asyncio.sleep(0.05)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert not tenant.blobs.content
    assert not await tenant.indexed("instance")


async def test_a_request_that_takes_too_long_has_nothing_stored(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenant.store_service, "_most_seconds", 0.1)

    async def contents() -> AsyncIterator[AsyncIterator[bytes]]:
        yield _pieces(dicom.base())
        await asyncio.sleep(3600)

    with pytest.raises(RequestTooSlow):
        await tenant.store_service.store(contents(), _DESTINATION)
    assert not tenant.blobs.content
    assert not await tenant.indexed("instance")


async def test_a_client_that_leaves_during_the_commit_has_it_finished(tenant: Tenant) -> None:
    request = asyncio.create_task(tenant.store(dicom.base()))

    def leave(_operations: object) -> None:
        request.cancel()

    tenant.documents.failing = leave
    with pytest.raises(asyncio.CancelledError):
        await request
    assert len(await tenant.indexed("instance")) == 1
    assert len(tenant.blobs.content) == 1


async def test_an_index_that_is_away_is_told_and_keeps_the_file_for_later(tenant: Tenant) -> None:
    def away(_operations: object) -> None:
        raise Unavailable

    tenant.documents.failing = away
    with pytest.raises(Unavailable):
        await tenant.store(dicom.base())
    # whether the commit was applied is unknown: the file must not be removed
    assert len(tenant.blobs.content) == 1


async def test_an_index_that_asks_to_wait_keeps_the_file_for_later(tenant: Tenant) -> None:
    def busy(_operations: object) -> None:
        raise Throttled(2)

    tenant.documents.failing = busy
    with pytest.raises(Throttled):
        await tenant.store(dicom.base())
    # it may be the answer to a second try, after the first was applied and its answer lost
    assert len(tenant.blobs.content) == 1


async def test_one_file_that_cannot_be_written_fails_alone(tenant: Tenant) -> None:
    def away(call: str, key: str) -> None:
        if call == "put" and f"/{dicom.INSTANCE}/" in key:
            raise Unavailable

    tenant.blobs.failing = away
    good = dicom.part10(dicom.ct())
    result = await tenant.store(dicom.base(), good)
    assert [type(row) for row in result.rows] == [Refused, Stored]
    assert result.refused[0].reason == PROCESSING_FAILURE
    assert len(await tenant.indexed("instance")) == 1


async def test_043_the_second_copy_in_a_request_leaves_no_file(tenant: Tenant) -> None:
    result = await tenant.store(dicom.base(), dicom.base())
    assert [type(row) for row in result.rows] == [Stored, Refused]
    assert result.refused[0].reason == ALREADY_STORED
    assert len(tenant.blobs.content) == 1


async def test_044_an_instance_that_is_there_stays_as_it_is(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    before = dict(tenant.blobs.content)
    result = await tenant.store(dicom.base(PatientName="Other^Name"))
    assert result.refused[0].reason == ALREADY_STORED
    assert tenant.blobs.content == before
    [study] = await tenant.indexed("study")
    assert study["instanceCount"] == 1


async def test_041_042_the_study_of_the_address_must_be_that_of_the_file(tenant: Tenant) -> None:
    other = dicom.part10(dicom.ct())
    result = await tenant.store(dicom.base(), other, study=dicom.STUDY)
    assert [type(row) for row in result.rows] == [Stored, Refused]
    [refused] = result.refused
    assert refused.reason == 43264
    assert refused.comments
    assert "(0020,000d)" in refused.comments[0].lower()
    assert len(tenant.blobs.content) == 1


async def test_a_large_file_of_another_study_is_read_past_and_not_written(tenant: Tenant) -> None:
    large = _large()
    result = await tenant.store(large, study="1.2.3")
    assert result.refused[0].comments
    assert not tenant.blobs.content


async def test_many_instances_are_several_batches_each_complete(tenant: Tenant) -> None:
    first = dicom.ct()
    files = [dicom.part10(dicom.ct(StudyInstanceUID=first.StudyInstanceUID)) for _ in range(120)]
    result = await tenant.store(*files)
    assert len(result.stored) == 120
    [study] = await tenant.indexed("study")
    assert (study["instanceCount"], study["seriesCount"]) == (120, 120)
    assert tenant.documents.commits > 1
    outboxes = await tenant.indexed("outbox")
    assert sum(len(each["changes"]) for each in outboxes) == 120  # type: ignore[arg-type,misc]


async def test_a_batch_that_loses_a_race_starts_again(tenant: Tenant) -> None:
    attempts = 0

    def changed_twice(_operations: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            raise OperationRefused(0, Refusal.CHANGED)

    tenant.documents.failing = changed_twice
    result = await tenant.store(dicom.base())
    assert len(result.stored) == 1
    assert attempts == 3


@pytest.mark.parametrize("piece", [65_536, 64 * 1024 * 1024])
@pytest.mark.parametrize("tag", [0x00091010, 0x00291010])
async def test_a_large_value_before_or_behind_the_uids(
    tenant: Tenant, tag: int, piece: int
) -> None:
    """The file is named by its UIDs, so it cannot wait for them for ever; it is never cut."""
    ds = dicom.ct()
    ds.add_new(tag, "OB", bytes(20 * 1024 * 1024))
    ds.add_new((tag >> 16 << 16) + 0x10, "LO", "TEST")
    file = dicom.part10(ds)

    async def contents() -> AsyncIterator[AsyncIterator[bytes]]:
        yield _pieces(*(file[at : at + piece] for at in range(0, len(file), piece)))

    result = await tenant.store_service.store(contents(), _DESTINATION)
    [row] = result.rows
    if tag == 0x00091010 and piece < len(file):
        assert isinstance(row, Refused)
        assert row.reason == 43264
        assert not tenant.blobs.content
    else:
        assert isinstance(row, Stored)
        assert list(tenant.blobs.content.values()) == [file]

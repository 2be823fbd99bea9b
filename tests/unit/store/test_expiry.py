"""Studies that expire: the newest store decides, and the sweep deletes them in bounded steps."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.errors import MalformedRequest, Unavailable
from shared.index.removal import Remover
from shared.ports import Delete, Operation
from shared.web.expiry import expires_after
from tests.support import dicom
from tests.unit.store.conftest import Tenant

_HOUR = timedelta(hours=1)


def _file(**attributes: Any) -> bytes:
    return dicom.part10(dicom.ct(StudyInstanceUID=dicom.STUDY, **attributes))


async def _due(tenant: Tenant) -> Any:
    [study] = await tenant.indexed("study")
    return study.get("due")


async def test_an_expired_study_is_deleted_like_any_other(tenant: Tenant) -> None:
    await tenant.store(_file(), _file(), expires_after=_HOUR)
    stays = dicom.part10(dicom.mr())
    await tenant.store(stays)
    assert await tenant.expiry.delete_expired() == 0
    tenant.clock.pass_by(minutes=61)
    assert await tenant.expiry.delete_expired() == 2
    assert await tenant.expiry.delete_expired() == 0
    [study] = await tenant.indexed("study")
    assert study["study"] != dicom.STUDY
    [tombstone] = await tenant.indexed("tombstone")
    assert len(tombstone["instances"]) == 2  # type: ignore[arg-type]
    assert len(tenant.blobs.content) == 3


async def test_the_newest_store_decides(tenant: Tenant) -> None:
    await tenant.store(_file())
    assert await _due(tenant) is None
    await tenant.store(_file(), expires_after=_HOUR)
    first = await _due(tenant)
    tenant.clock.pass_by(minutes=1)
    await tenant.store(_file(), expires_after=_HOUR)
    assert await _due(tenant) > first
    await tenant.store(_file())
    assert await _due(tenant) is None
    tenant.clock.pass_by(days=1)
    assert await tenant.expiry.delete_expired() == 0


async def test_an_upsert_decides_too_and_a_deletion_does_not(tenant: Tenant) -> None:
    first, second = _file(), _file()
    await tenant.store(first, second)
    await tenant.store(first, upsert=True, expires_after=_HOUR)
    due = await _due(tenant)
    assert due is not None
    [instance, _] = await tenant.indexed("instance")
    await tenant.delete.delete(
        "Microsoft.Default", dicom.STUDY, str(instance["series"]), str(instance["instance"])
    )
    assert await _due(tenant) == due
    await tenant.store(second, upsert=True)
    assert await _due(tenant) is None


async def test_a_writer_with_an_old_picture_clears_what_another_has_set(tenant: Tenant) -> None:
    await tenant.store(_file())  # this process remembers a study without expiry
    committer = tenant.store_service._committer
    known = dict(committer._known)
    await tenant.store(_file(), expires_after=_HOUR)
    committer._known.clear()
    committer._known.update(known)
    await tenant.store(_file())
    assert await _due(tenant) is None
    [study] = await tenant.indexed("study")
    assert study["instanceCount"] == 3


async def test_a_store_during_the_deletion_is_heeded(tenant: Tenant) -> None:
    await tenant.store(*(_file() for _ in range(45)), expires_after=_HOUR)
    tenant.clock.pass_by(hours=2)
    commit = type(tenant.documents).commit
    waiting = [True]

    async def store_before_the_second_batch(
        self: Any, container: str, partition: str, operations: Sequence[Operation]
    ) -> None:
        if waiting and isinstance(operations[0], Delete):
            waiting.pop()
            await tenant.store(_file())
        await commit(self, container, partition, operations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tenant.documents), "commit", store_before_the_second_batch)
        assert await tenant.expiry.delete_expired() == 40
    [study] = await tenant.indexed("study")
    assert study["instanceCount"] == 6
    assert await tenant.expiry.delete_expired() == 0


async def test_a_killed_deletion_is_finished_by_the_next(tenant: Tenant) -> None:
    await tenant.store(*(_file() for _ in range(45)), expires_after=_HOUR)
    tenant.clock.pass_by(hours=2)

    def dies(operations: Sequence[Operation]) -> None:
        if isinstance(operations[0], Delete):
            raise Unavailable

    tenant.documents.failing = dies
    with pytest.raises(Unavailable):
        await tenant.expiry.delete_expired()
    tenant.documents.failing = lambda _operations: None
    assert await tenant.expiry.delete_expired() == 5
    assert not await tenant.indexed("instance")


async def test_one_call_deletes_a_bounded_number(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.delete.expiry._MOST_INSTANCES", 30)
    await tenant.store(*(_file() for _ in range(90)), expires_after=_HOUR)
    tenant.clock.pass_by(hours=2)
    remove = Remover.remove
    most: list[Any] = []

    async def spy(self: Remover, *arguments: Any, **options: Any) -> int:
        most.append(options["most"])
        return await remove(self, *arguments, **options)

    monkeypatch.setattr(Remover, "remove", spy)
    counts = [await tenant.expiry.delete_expired() for _ in range(4)]
    assert counts == [40, 40, 10, 0]
    assert most == [30, 30, 30]


def test_headers() -> None:
    time, option, level = (
        f"msdicom-expiry-{name}" for name in ("time-milliseconds", "option", "level")
    )
    assert expires_after({}) is None
    assert expires_after({time: "1500"}) == timedelta(seconds=1.5)
    assert expires_after({time: "1", option: "relativetonow", level: "STUDY"}) is not None
    for headers, culprit in (
        ({time: "0"}, time),
        ({time: "-5"}, time),
        ({time: "1.5"}, time),
        ({time: "soon"}, time),
        ({time: "9" * 30}, time),
        ({time: "9" * 18}, time),
        ({time: ""}, time),
        ({time: "1", option: "Absolute"}, option),
        ({time: "1", level: "Series"}, level),
        ({option: "RelativeToNow"}, time),
        ({level: "Study"}, time),
    ):
        with pytest.raises(MalformedRequest, match=culprit):
            expires_after(headers)

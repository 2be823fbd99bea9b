"""Updates that are killed, given up, or worked on twice: no file is lost, and none is left."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.index.metadata import INLINE_BYTES
from shared.operations.models import Status
from shared.ports import JsonObject
from shared.store.complete import Completion
from shared.update import prepared
from tests.support import dicom
from tests.unit.store.conftest import Tenant, tenant
from tests.unit.update.test_operation import (
    _OPERATION,
    _PK,
    _is_new,
    _killed_at,
    _name,
    _prepared,
    _Run,
    _state,
    _three,
    _updater,
)

__all__ = ["tenant"]


async def _each_kill(
    folder: Path, prepare: Callable[[Tenant], Awaitable[object]]
) -> AsyncIterator[Tenant]:
    """A tenant for each write before which an update is killed, after another process ended it."""
    from tests.unit.store import conftest

    make = conftest.tenant.__wrapped__  # type: ignore[attr-defined]
    at = 0
    while True:
        at += 1
        (folder / str(at)).mkdir()
        tenants: AsyncIterator[Tenant] = make(folder / str(at))
        one = await anext(tenants)
        await prepare(one)
        killed = await _killed_at(one, at, after=False)
        if killed:
            await _Run(
                _name("New^Name"), checkpoint=killed.checkpoint, results=killed.results
            ).to_end(_updater(one))
        yield one
        await tenants.aclose()  # type: ignore[attr-defined]
        if not killed:
            break
    assert at > 10


async def _updated_once(tenant: Tenant) -> None:
    await _three(tenant)
    await _Run(_name("Between^Names"), id="1" * 32).to_end(_updater(tenant))


@pytest.mark.spec("operations", 6, 41)
async def test_a_second_update_that_is_killed_anywhere(tmp_path: Path) -> None:
    async for one in _each_kill(tmp_path, _updated_once):
        await _is_new(one)
        updates = (await _state(one))["updates"]
        assert sorted(updates.values()) == [2, 2, 2], "announced once for each update"
        [tombstone] = await one.indexed("tombstone")
        assert len(one.blobs.content) == 9
        one.clock.pass_by(days=4)
        await one.delete.purge(_PK, str(tombstone["id"]))
        assert len(one.blobs.content) == 6
        await _is_new(one)


@pytest.mark.spec("operations", 41)
async def test_an_update_in_several_batches_that_is_killed_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "_MOST_AT_ONCE", 2)
    async for one in _each_kill(tmp_path, _three):
        await _is_new(one)
        assert sorted((await _state(one))["updates"].values()) == [1, 1, 1]
        assert len(one.blobs.content) == 6
        for key in one.blobs.content:
            assert await one.completer.complete(key) is Completion.INDEXED


def _large_header(number: int, **attributes: Any) -> bytes:
    """A file with metadata that goes into a segment."""
    items = [dicom.item(CodeMeaning=dicom.new_uid()) for _ in range(INLINE_BYTES // 16)]
    return dicom.part10(
        dicom.ct(
            StudyInstanceUID=dicom.STUDY,
            SOPInstanceUID=f"{dicom.INSTANCE}.{number}",
            ProcedureCodeSequence=items,
            **attributes,
        )
    )


async def _one_of_them_cannot(tenant: Tenant) -> None:
    russian = {"SpecificCharacterSet": "ISO_IR 144", "PatientName": "Иванов"}
    await tenant.store(_large_header(1), _large_header(2), _large_header(3, **russian))


@pytest.mark.spec("operations", 18)
async def test_a_study_that_fails_leaves_neither_files_nor_metadata(tenant: Tenant) -> None:
    await _one_of_them_cannot(tenant)
    before = set(tenant.blobs.content)
    assert any(key.startswith("segments/") for key in before)
    results = await _Run(_name("Müller")).to_end(_updater(tenant))
    assert results["studyFailed"] == 1
    assert set(tenant.blobs.content) == before
    assert not await tenant.indexed("prepared")
    assert not (await _state(tenant))["updates"]


@pytest.mark.spec("operations", 6, 11)
async def test_metadata_in_segments_stays_as_long_as_the_original(tenant: Tenant) -> None:
    await tenant.store(_large_header(1, PatientName="Old^Name"), _large_header(2))
    first = {key for key in tenant.blobs.content if key.startswith("segments/")}
    for number, name in enumerate(("Between^Names", "New^Name"), start=1):
        await _Run(_name(name), id=str(number) * 32).to_end(_updater(tenant))
    await _purge(tenant)
    assert first < tenant.blobs.content.keys()
    assert len(tenant.blobs.content) == len(first) + 2 * 2 + 2
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    await _purge(tenant)
    assert not tenant.blobs.content


async def _purge(tenant: Tenant) -> None:
    tenant.clock.pass_by(days=4)
    for tombstone in await tenant.indexed("tombstone"):
        await tenant.delete.purge(_PK, str(tombstone["id"]))


@pytest.mark.parametrize("also_cleared", [False, True])
async def test_who_clears_does_not_take_files_that_another_worker_puts_in_place(
    tenant: Tenant, *, also_cleared: bool
) -> None:
    await _three(tenant)
    await _updater(tenant).step(_Run(_name("New^Name")).work())
    (slow, _), (fast, _) = _prepared(tenant), _prepared(tenant)
    page, pages = slow.page, 0

    async def paused(*arguments: Any) -> list[JsonObject]:
        nonlocal pages
        found = await page(*arguments)
        pages += 1
        if pages == 1:
            assert await fast.commit_some(_OPERATION, _PK)
            if also_cleared:
                await fast.clear(_OPERATION, _PK)
        return found

    slow.page = paused  # type: ignore[method-assign]
    await slow.clear(_OPERATION, _PK)
    await _is_new(tenant)


async def test_who_prepares_late_does_not_take_what_is_in_place(tenant: Tenant) -> None:
    await _three(tenant)
    run, updater = _Run(_name("New^Name")), _updater(tenant)
    for _ in range(2):  # prepared, put in place
        step = await updater.step(run.work())
        run.checkpoint, run.results = step.checkpoint, step.results
    late = await _updater(tenant).step(_Run(_name("New^Name")).work())
    assert late.checkpoint["phase"] == "commit"
    assert len(tenant.blobs.content) == 6
    await run.to_end(updater)
    await _is_new(tenant)


async def test_a_step_begins_no_more_files_when_its_time_is_over(tenant: Tenant) -> None:
    await tenant.store(*(dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.{n}") for n in range(10)))
    run, updater = _Run(_name("New^Name")), _updater(tenant, step_s=0)
    files = [len(tenant.blobs.content)]
    while (run.checkpoint or {}).get("phase") != "commit":
        step = await updater.step(run.work())
        run.checkpoint, run.results = step.checkpoint, step.results
        files.append(len(tenant.blobs.content))
    assert files == [10, 14, 18, 20]
    await updater.end(run.work(), Status.SUCCEEDED)
    assert (await _state(tenant))["names"] == {"New^Name": 10}


async def test_an_update_is_no_reason_for_a_study_to_stay(tenant: Tenant) -> None:
    await tenant.store(dicom.base(), expires_after=timedelta(days=2))
    [before] = await tenant.indexed("study")
    await _Run(_name("New^Name")).to_end(_updater(tenant))
    [after] = await tenant.indexed("study")
    assert after["due"] == before["due"] is not None

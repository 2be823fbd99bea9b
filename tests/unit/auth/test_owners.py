"""Whose a blob container is, however new the tenant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from shared.auth.directory import LASTS_S, OUTAGE_S, Directory
from shared.auth.ports import TenantRow
from shared.auth.settings import load_sign_in
from shared.errors import Unavailable
from tests.support.auth import MemoryRegistry
from tests.support.fakes import FixedClock
from tests.unit.auth.test_door import BASE, row


class _Watch:
    """Seconds that pass with each look."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class _Far(MemoryRegistry):
    """A registry whose answers take a moment."""

    async def list(self) -> AsyncIterator[TenantRow]:
        await asyncio.sleep(0.01)
        async for one in super().list():
            yield one


@pytest.fixture
def watch() -> _Watch:
    return _Watch()


@pytest.fixture
def registry() -> MemoryRegistry:
    own = replace(row("own"), blob_container="somewhere-else")
    return _Far(row("main"), own, row("paused", "suspended"), row("leaving", "deleting"))


@pytest.fixture
def directory(registry: MemoryRegistry, watch: _Watch) -> Directory:
    sign_in = load_sign_in({"DICOM_SIGN_IN": "off"}, BASE, ("main",))
    return Directory(registry, sign_in, ("main",), FixedClock(), watch)


async def _owner(directory: Directory, container: str) -> str | None:
    found = await directory.owner(container)
    return None if found is None else found.tenant


async def test_the_row_says_whose_a_container_is_not_its_name(directory: Directory) -> None:
    assert await _owner(directory, "somewhere-else") == "own"
    assert await _owner(directory, "dicom-own") is None
    assert await _owner(directory, "dicom-paused") == "paused"
    assert await _owner(directory, "dicom-leaving") == "leaving"


async def test_a_tenant_added_a_moment_ago_is_found(
    directory: Directory, registry: MemoryRegistry
) -> None:
    assert await _owner(directory, "dicom-late") is None
    registry.content["late"] = row("late")
    assert await _owner(directory, "dicom-late") == "late"
    reads = registry.reads
    assert await _owner(directory, "dicom-late") == "late"
    assert registry.reads == reads, "what is known costs nothing"


async def test_strangers_that_come_together_cost_few_reads(
    directory: Directory, registry: MemoryRegistry
) -> None:
    await directory.rows()
    before = registry.reads
    names = [f"stranger-{number}" for number in range(50)]
    assert await asyncio.gather(*(directory.owner(name) for name in names)) == [None] * 50
    assert registry.reads - before <= 2


async def test_without_the_registry_nobody_is_taken_for_a_stranger(
    directory: Directory, registry: MemoryRegistry, watch: _Watch
) -> None:
    assert await _owner(directory, "dicom-main") == "main"
    registry.away = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await directory.owner("dicom-late")
    assert await _owner(directory, "dicom-main") == "main"
    watch.now += OUTAGE_S + 1
    with pytest.raises(Unavailable):
        await directory.owner("dicom-main")


async def test_all_who_wait_for_a_registry_that_is_away_go_on_with_its_last_picture(
    directory: Directory, registry: MemoryRegistry, watch: _Watch
) -> None:
    await directory.rows()
    watch.now += LASTS_S + 1
    registry.away = True
    found = await asyncio.gather(*(directory.row("main") for _ in range(5)))
    assert [one is not None and one.tenant for one in found] == ["main"] * 5

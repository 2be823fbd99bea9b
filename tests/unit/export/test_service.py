"""Exports from start to end: what is kept of them, and what is in each batch."""

from __future__ import annotations

import pytest

from shared.errors import DestinationTrouble, DestinationUnusable
from shared.export import service
from shared.export.addresses import OwnStore
from shared.export.models import File, Missing
from shared.export.planning import Plan
from shared.export.sources import Sources
from shared.operations.sealing import Sealer
from shared.ports import JsonObject
from tests.support import dicom
from tests.support.export import lines
from tests.unit.export.conftest import ADDRESS, DESTINATION, PARTITION, Bench


async def _store(bench: Bench, *identifiers: str, **attributes: str) -> None:
    for identifier in identifiers:
        study, series, instance = identifier.split("/")
        await bench.tenant.store(
            dicom.base(
                StudyInstanceUID=study,
                SeriesInstanceUID=series,
                SOPInstanceUID=instance,
                **attributes,
            )
        )


async def _plans(
    bench: Bench, source: JsonObject, *, files: int, size: int = 10**9
) -> list[list[str]]:
    """The batches of a source: paths and missing identifiers."""
    sources: Sources = bench.exporter._sources
    kept = await sources.fixed(source)
    cursor: JsonObject = {}
    found = []
    for _ in range(100):
        plan = Plan(files, size, cursor)
        await sources.planner(kept, PARTITION).fill(plan)
        cursor = plan.cursor
        if plan.entries:
            found.append(
                [
                    entry.identifier
                    if isinstance(entry, Missing)
                    else "/".join(entry.blob.split("/")[2:5])
                    for entry in plan.entries
                ]
            )
        if plan.ended:
            return found
    raise AssertionError("plans without end")


_THINGS = ("1.1/2.1/3.1", "1.1/2.1/3.2", "1.1/2.1/3.3", "1.1/2.2/3.4", "1.2/2.3/3.5", "1.3/2.4/3.6")


@pytest.mark.parametrize("files", [1, 2, 3, 4, 5, 6, 7, 100])
async def test_batches_of_any_size_have_the_same_files(bench: Bench, files: int) -> None:
    await _store(bench, *_THINGS)
    values = ["1.1", "1.9", "1.2/2.3/3.5", "1.2/2.3/3.9", "1.3/2.4", "1.3/2.9"]
    plans = await _plans(bench, {"type": "identifiers", "values": values}, files=files)
    assert all(len(plan) <= files for plan in plans)
    assert [entry for plan in plans for entry in plan] == [
        *_THINGS[:4], "1.9", "1.2/2.3/3.5", "1.2/2.3/3.9", "1.3/2.4/3.6", "1.3/2.9",
    ]  # fmt: skip
    for query, expected in (
        ("studies", _THINGS),
        ("series", _THINGS),
        ("instances", _THINGS),
        ("studies/1.1/series", _THINGS[:4]),
        ("studies/1.1/series/2.1/instances", _THINGS[:3]),
        ("studies/1.9/instances", ()),
    ):
        plans = await _plans(bench, {"type": "search", "query": query}, files=files)
        assert sorted(entry for plan in plans for entry in plan) == sorted(expected), query


async def test_a_batch_has_no_more_bytes_than_it_may_but_for_its_last_file(bench: Bench) -> None:
    await _store(bench, *_THINGS)
    size = len(next(iter(bench.tenant.blobs.content.values())))
    source: JsonObject = {"type": "identifiers", "values": ["1.1", "1.2", "1.3"]}
    plans = await _plans(bench, source, files=100, size=size * 2)
    assert [len(plan) for plan in plans] == [2, 2, 2]
    plans = await _plans(bench, source, files=100, size=1)
    assert [len(plan) for plan in plans] == [1] * 6


@pytest.mark.parametrize("files", [1, 2, 100])
async def test_changes_of_one_partition_up_to_the_start(bench: Bench, files: int) -> None:
    await _store(bench, *_THINGS[:2])
    source: JsonObject = {"type": "changes", "after": 1}
    kept = await bench.exporter._sources.fixed(source)
    assert kept == {"type": "changes", "after": 1, "through": 2}
    await _store(bench, *_THINGS[2:5])
    await bench.tenant.delete.delete("Microsoft.Default", "1.2")
    plans = await _plans(bench, source, files=files)
    assert [entry for plan in plans for entry in plan] == list(_THINGS[1:4])
    assert await _plans(bench, {"type": "changes", "after": 10_000}, files=files) == []


async def test_what_is_stored_while_a_search_is_exported_is_not_part_of_it(bench: Bench) -> None:
    await _store(bench, *_THINGS[:3])
    sources: Sources = bench.exporter._sources
    planner = sources.planner({"type": "search", "query": "instances"}, PARTITION)
    first = Plan(2, 10**9, {})
    await planner.fill(first)
    await _store(bench, *_THINGS[3:])
    rest = Plan(100, 10**9, first.cursor)
    await planner.fill(rest)
    assert rest.ended
    assert len([entry for entry in rest.entries if isinstance(entry, File)]) == 1


async def test_results_tell_where_things_are(bench: Bench) -> None:
    await _store(bench, *_THINGS)
    id_ = await bench.start("1.1")
    await bench.engine.work(id_, "plan")
    running = await bench.engine.get(id_)
    assert running["results"]["exported"] == 0
    assert running["results"]["errorHref"] == f"{ADDRESS}/{id_}/errors.log"
    results = (await bench.ended(id_))["results"]
    assert results["exported"] == 4
    assert results["resources"] == [results["errorHref"], results["manifestHref"]]
    assert "percent" not in running


async def test_the_signature_is_sealed_until_the_end(bench: Bench) -> None:
    await _store(bench, *_THINGS)
    id_ = await bench.start("1.1")
    kept = await bench.engine.get(id_)
    assert "c2lnbmF0dXJl" not in str(kept)
    assert kept["input"]["sealed"]
    await bench.engine.cancel(id_)
    body = await bench.ended(id_)
    assert body["status"] == "canceled"
    assert "sealed" not in body["input"]


async def test_a_key_that_is_gone_fails_the_export(bench: Bench) -> None:
    id_ = await bench.start("1.1")
    bench.exporter._sealer = Sealer(["YW5vdGhlciBrZXkgYW5vdGhlciBrZXkgYW5vdGhlciE="])
    body = await bench.ended(id_)
    assert body["status"] == "failed"
    assert "key" in body["error"]
    assert lines(bench.folder(id_)["errors.log"]) == []


async def test_a_destination_is_tried_before_anything_starts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_call: str, _name: str) -> None:
        raise DestinationTrouble("The container c of account a does not answer.")

    bench.destination.meets = away
    with pytest.raises(DestinationUnusable, match="does not answer"):
        await bench.start("1.1")
    bench.destination.meets = lambda _call, _name: None
    monkeypatch.setattr(service, "_PROBE_S", -1.0)
    with pytest.raises(DestinationUnusable, match="container container of account account"):
        await bench.start("1.1")
    assert await bench.engine.page(limit=10, offset=0) == []


async def test_not_into_our_own_store(bench: Bench) -> None:
    own = DESTINATION["settings"]["blobContainerUri"].replace("account.", "own.")
    source = {"type": "identifiers", "settings": {"values": ["1.1"]}}
    for settings in (
        {"blobContainerUri": own.replace("/container?", "/dicom-other?")},
        {"blobContainerUri": own.partition("?")[0], "useManagedIdentity": True},
    ):
        destination = {"type": "azureblob", "settings": settings}
        with pytest.raises(DestinationUnusable, match="own data"):
            await bench.service.start({"source": source, "destination": destination}, PARTITION)


@pytest.mark.parametrize("names", [(), ("other",), ("mainly",)])
async def test_our_identity_does_not_lead_a_tenant_to_the_container_of_another(
    bench: Bench, names: tuple[str, ...]
) -> None:
    source = {"type": "identifiers", "settings": {"values": ["1.1"]}}
    settings = {"blobContainerUri": ADDRESS, "useManagedIdentity": True}
    body = {"source": source, "destination": {"type": "azureblob", "settings": settings}}
    bench.destination.names = frozenset(names)
    with pytest.raises(DestinationUnusable, match="dicomtenants"):
        await bench.service.start(body, PARTITION)
    assert not bench.destination.content
    bench.destination.names = frozenset({*names, "main"})
    id_ = await bench.service.start(body, PARTITION)
    assert (await bench.ended(id_))["status"] == "succeeded"

    async def alone() -> frozenset[str]:
        return frozenset({"dicom-main"})

    bench.destination.names = frozenset()
    bench.service._own = OwnStore("https://own.blob.core.windows.net", alone)
    assert await bench.service.start(body, PARTITION), "with one tenant there is nobody else"

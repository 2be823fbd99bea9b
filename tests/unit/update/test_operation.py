"""A bulk update on ports that fail: a study is wholly old or wholly new, and nothing is lost."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest

from shared.adapters.system import RandomIds
from shared.config import Limits
from shared.errors import Unavailable
from shared.index.commit import Committer
from shared.index.replacement import Replacer
from shared.operations.models import Status, Step, Work
from shared.ports import JsonObject
from shared.store.complete import Completion
from shared.store.importing import Imported
from shared.tags.indexing import TagIndexer
from shared.tags.registry import TagRegistry
from shared.update.changes import changes_of
from shared.update.operation import Updater
from shared.update.prepared import PreparedVersions
from tests.support import dicom
from tests.unit.store.conftest import URL, Tenant, tenant
from tests.unit.store.test_importing import _importer

__all__ = ["tenant"]

_OPERATION = "0" * 32
_PK = f"microsoft.default|{dicom.STUDY}"


def _prepared(tenant: Tenant) -> tuple[PreparedVersions, TagIndexer]:
    """As a process makes it that has just begun."""
    committer = Committer(tenant.documents, RandomIds(), tenant.clock)
    indexer = TagIndexer(
        tenant.documents, tenant.blobs, committer, TagRegistry(tenant.documents), tenant.clock
    )
    prepared = PreparedVersions(
        tenant.documents,
        tenant.blobs,
        committer=committer,
        replacer=Replacer(tenant.documents, committer, tenant.remover, RandomIds(), tenant.clock),
        remover=tenant.remover,
        indexer=indexer,
    )
    return prepared, indexer


def _updater(tenant: Tenant, *, step_s: float = 20.0) -> Updater:
    """As a process makes it that has just begun."""
    return Updater(
        tenant.documents,
        tenant.blobs,
        *_prepared(tenant),
        ids=RandomIds(),
        limits=Limits(),
        tenant="main",
        step_s=step_s,
    )


@dataclass
class _Run:
    """An operation, as the engine keeps it."""

    changes: JsonObject
    studies: tuple[str, ...] = (dicom.STUDY,)
    id: str = _OPERATION
    checkpoint: JsonObject | None = None
    results: JsonObject | None = None
    last: Step | None = None

    def work(self) -> Work:
        asked = {
            "partition": "Microsoft.Default",
            "studies": list(self.studies),
            "changes": changes_of({"changeDataset": self.changes}),
            "resourcesUrl": URL,
        }
        return Work(self.id, asked, self.checkpoint or {}, self.results or {})

    async def to_end(self, updater: Updater) -> JsonObject:
        while self.last is None or not self.last.done:
            self.last = await updater.step(self.work())
            self.checkpoint, self.results = self.last.checkpoint, self.last.results
        await updater.end(self.work(), Status.FAILED if self.last.failed else Status.SUCCEEDED)
        return self.last.results


def _text(vr: str, *values: str) -> JsonObject:
    return {"vr": vr, "Value": list(values)}


def _name(value: str) -> JsonObject:
    return {"00100010": {"vr": "PN", "Value": [{"Alphabetic": value}]}}


async def _three(tenant: Tenant) -> list[bytes]:
    files = [
        dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.{number}", PatientName="Old^Name")
        for number in range(3)
    ]
    await tenant.store(*files)
    return files


async def _state(tenant: Tenant) -> JsonObject:
    instances = await tenant.indexed("instance")
    [study] = await tenant.indexed("study")
    return {
        "names": Counter(str(_file(tenant, body["blob"]).PatientName) for body in instances),
        "originals": Counter(
            str(_file(tenant, body["original"]["blob"]).PatientName)  # type: ignore[index]
            for body in instances
            if "original" in body
        ),
        "shown": study["d"]["00100010"]["Value"][0]["Alphabetic"],  # type: ignore[index]
        "searched": {tuple(body["q"]["00100010"]) for body in instances},  # type: ignore[index]
        "updates": Counter(
            change["instance"]
            for body in await tenant.indexed("outbox")
            for change in body["changes"]  # type: ignore[attr-defined]
            if change["action"] == "Update"
        ),
    }


def _file(tenant: Tenant, key: Any) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(tenant.blobs.content[key]))


async def _is_new(tenant: Tenant, name: str = "New^Name", original: str = "Old^Name") -> None:
    found = await _state(tenant)
    assert found["names"] == {name: 3}
    assert found["originals"] == {original: 3}
    assert found["shown"] == name
    assert len(found["searched"]) == 1
    assert not await tenant.indexed("prepared")


@pytest.mark.spec("operations", 2, 19)
async def test_all_instances_of_a_study(tenant: Tenant) -> None:
    await _three(tenant)
    results = await _Run(_name("New^Name")).to_end(_updater(tenant))
    assert results == {
        "studyProcessed": 1, "studyUpdated": 1, "studyFailed": 0, "instanceUpdated": 3,
    }  # fmt: skip
    await _is_new(tenant)
    assert set((await _state(tenant))["updates"].values()) == {1}
    assert len(tenant.blobs.content) == 6


@pytest.mark.spec("operations", 6)
async def test_a_second_update_keeps_the_first_version_and_puts_the_second_away(
    tenant: Tenant,
) -> None:
    await _three(tenant)
    await _Run(_name("New^Name")).to_end(_updater(tenant))
    between = {str(body["blob"]) for body in await tenant.indexed("instance")}
    await _Run(_name("Newer^Name"), id="1" * 32).to_end(_updater(tenant))
    await _is_new(tenant, "Newer^Name")
    [tombstone] = await tenant.indexed("tombstone")
    assert len(tenant.blobs.content) == 9
    tenant.clock.pass_by(days=4)
    await tenant.delete.purge(_PK, str(tombstone["id"]))
    assert len(tenant.blobs.content) == 6
    assert not between & tenant.blobs.content.keys()
    await _is_new(tenant, "Newer^Name")


@pytest.mark.spec("operations", 11)
async def test_deletion_takes_both_versions_and_undelete_brings_both_back(tenant: Tenant) -> None:
    await _three(tenant)
    await _Run(_name("New^Name")).to_end(_updater(tenant))
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    for key in tenant.blobs.content:
        assert await tenant.completer.complete(key) is Completion.DELETED
    await tenant.restore.restore("Microsoft.Default", dicom.STUDY)
    await _is_new(tenant)
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    [tombstone] = await tenant.indexed("tombstone")
    tenant.clock.pass_by(days=4)
    await tenant.delete.purge(_PK, str(tombstone["id"]))
    assert not tenant.blobs.content


async def test_no_sweep_takes_its_files_for_those_of_a_process_that_died(tenant: Tenant) -> None:
    await _three(tenant)
    run = _Run(_name("New^Name"))
    updater = _updater(tenant)
    step = await updater.step(run.work())
    assert step.checkpoint["phase"] == "commit"
    tenant.clock.pass_by(days=1)
    outcomes = Counter([await tenant.completer.complete(key) for key in tenant.blobs.content])
    assert outcomes == {Completion.INDEXED: 3, Completion.PREPARED: 3}
    run.checkpoint, run.results = step.checkpoint, step.results
    await run.to_end(updater)
    outcomes = Counter([await tenant.completer.complete(key) for key in tenant.blobs.content])
    assert outcomes == {Completion.INDEXED: 6}
    await _is_new(tenant)


async def test_an_index_that_is_made_again_knows_the_originals(tenant: Tenant) -> None:
    await _three(tenant)
    await _Run(_name("New^Name")).to_end(_updater(tenant))
    for kind in ("study", "series", "instance", "outbox"):
        for body in await tenant.indexed(kind):
            from shared.ports import Delete

            await tenant.documents.commit("index", str(body["pk"]), [Delete(str(body["id"]))])
    tenant.clock.pass_by(days=1)
    for key in sorted(tenant.blobs.content, reverse=True):
        await tenant.completer.complete(key)
    await _is_new(tenant)
    assert len(tenant.blobs.content) == 6


@pytest.mark.spec("operations", 18)
async def test_one_instance_that_cannot_be_changed_leaves_the_study_as_it_was(
    tenant: Tenant,
) -> None:
    await _three(tenant)
    other = f"{dicom.STUDY}.2"
    await tenant.store(
        dicom.part10(
            dicom.ct(
                StudyInstanceUID=other, SpecificCharacterSet="ISO_IR 144", PatientName="Иванов"
            )
        ),
        dicom.base(StudyInstanceUID=other, SOPInstanceUID=f"{dicom.INSTANCE}.9"),
    )
    before = dict(tenant.blobs.content)
    run = _Run(_name("Müller"), (other, dicom.STUDY))
    results = await run.to_end(_updater(tenant))
    assert run.last is not None
    assert run.last.failed
    assert (results["studyProcessed"], results["studyUpdated"], results["studyFailed"]) == (2, 1, 1)
    assert results["instanceUpdated"] == 3
    assert "character set" in results["errors"][1]
    assert "Müller" not in str(results["errors"])
    assert set(before) <= tenant.blobs.content.keys()
    assert len(tenant.blobs.content) == len(before) + 3
    assert not [body for body in await tenant.indexed("instance")
                if body["study"] == other and "original" in body]  # fmt: skip
    assert not await tenant.indexed("prepared")


async def test_instances_deleted_or_replaced_meanwhile_are_left_alone(tenant: Tenant) -> None:
    files = await _three(tenant)
    run = _Run(_name("New^Name"))
    updater = _updater(tenant)
    step = await updater.step(run.work())
    run.checkpoint, run.results = step.checkpoint, step.results
    [series] = [str(body["series"]) for body in await tenant.indexed("series")]
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY, series, f"{dicom.INSTANCE}.0")
    replaced = dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.1", PatientName="By^Hand")
    await tenant.store(replaced, upsert=True)
    added = dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.7", PatientName="Late^Comer")
    await tenant.store(added)
    results = await run.to_end(updater)
    assert results["instanceUpdated"] == 1
    names = (await _state(tenant))["names"]
    assert names == {"By^Hand": 1, "Late^Comer": 1, "New^Name": 1}
    assert not await tenant.indexed("prepared")
    assert len(tenant.blobs.content) == len(files) + 3  # the replaced, the late, the new one


class _Killed(Exception):
    """The process ends here."""


@pytest.mark.spec("operations", 41)
async def test_a_process_that_is_killed_anywhere(tmp_path: Path) -> None:
    """Between each two calls of a port, and right after each: the next process goes on."""
    from tests.unit.store import conftest

    make = conftest.tenant.__wrapped__  # type: ignore[attr-defined]
    for when in ("before", "after"):
        at = 0
        while True:
            at += 1
            fresh: AsyncIterator[Tenant] = make(tmp_path / f"{when}{at}")
            (tmp_path / f"{when}{at}").mkdir()
            tenant = await anext(fresh)
            await _three(tenant)
            killed = await _killed_at(tenant, at, after=when == "after")
            if killed:
                found = await _state(tenant)
                assert found["names"] in ({"Old^Name": 3}, {"New^Name": 3}), "wholly old or new"
                assert found["originals"] in ({}, {"Old^Name": 3})
                await _Run(_name("New^Name"), checkpoint=killed.checkpoint,
                           results=killed.results).to_end(_updater(tenant))  # fmt: skip
            await _is_new(tenant)
            updates = (await _state(tenant))["updates"]
            assert sorted(updates.values()) == [1, 1, 1], "announced once each"
            assert len(tenant.blobs.content) == 6
            await asyncio.sleep(0)
            await fresh.aclose()  # type: ignore[attr-defined]
            if not killed:
                break
        assert at > 10


async def _killed_at(tenant: Tenant, at: int, *, after: bool) -> _Run | None:
    """Run until the call number ``at`` that changes something; the run as it was noted then."""
    calls = 0
    commit, put, delete = tenant.documents.commit, tenant.blobs.put, tenant.blobs.delete

    def killing(call: Callable[..., Any]) -> Callable[..., Any]:
        async def killed(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls >= at and not after:
                raise _Killed
            result = await call(*arguments)
            if calls >= at:
                raise _Killed
            return result

        return killed

    tenant.documents.commit = killing(commit)  # type: ignore[method-assign]
    tenant.blobs.put = killing(put)  # type: ignore[method-assign]
    tenant.blobs.delete = killing(delete)  # type: ignore[method-assign]
    run = _Run(_name("New^Name"))
    try:
        await run.to_end(_updater(tenant))
    except _Killed:
        return run
    finally:
        tenant.documents.commit = commit  # type: ignore[method-assign]
        tenant.blobs.put = put  # type: ignore[method-assign]
        tenant.blobs.delete = delete  # type: ignore[method-assign]
    return None


async def test_a_cancelled_update_is_whole_as_well(tenant: Tenant) -> None:
    await _three(tenant)
    for phase in ("prepare", "commit"):
        run = _Run(_name(phase), id=phase[0] * 32)
        updater = _updater(tenant)
        if phase == "commit":
            step = await updater.step(run.work())
            run.checkpoint = step.checkpoint
        else:
            tenant.documents.failing = _third_refused()
            with pytest.raises(Unavailable):
                await updater.step(run.work())
            tenant.documents.failing = lambda _operations: None
        await updater.end(run.work(), Status.CANCELED)
        names = (await _state(tenant))["names"]
        assert names == ({"Old^Name": 3} if phase == "prepare" else {"commit": 3})
        assert not await tenant.indexed("prepared")


def _third_refused() -> Callable[[Sequence[object]], None]:
    calls = 0

    def failing(_operations: Sequence[object]) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Unavailable

    return failing


async def test_many_instances_in_steps(tenant: Tenant) -> None:
    count = 120
    numbers = [{"SOPInstanceUID": f"{dicom.INSTANCE}.{number}"} for number in range(count)]
    for at, uids in enumerate(numbers):
        uids["SeriesInstanceUID"] = f"1.2.{at % 7}"
    await tenant.store(*(dicom.base(**uids) for uids in numbers))
    results = await _Run(_name("New^Name")).to_end(_updater(tenant, step_s=0))
    assert results["instanceUpdated"] == count
    state = await _state(tenant)
    assert state["names"] == {"New^Name": count}
    assert len(state["searched"]) == 1
    assert sum(state["updates"].values()) == count
    [study] = await tenant.indexed("study")
    assert study["instanceCount"] == count
    assert study["spreading"] is False


async def test_instances_stay_in_their_order(tenant: Tenant) -> None:
    """In which a study is retrieved: series by series, as they came."""
    uids = [f"{dicom.INSTANCE}.{number * 7 % 60}" for number in range(60)]
    await tenant.store(*(dicom.base(SOPInstanceUID=uid) for uid in uids))
    await _Run(_name("New^Name")).to_end(_updater(tenant, step_s=0))
    bodies = sorted(await tenant.indexed("instance"), key=lambda body: str(body["version"]))
    assert [body["instance"] for body in bodies] == uids


@pytest.mark.spec("operations", 3)
async def test_an_unknown_study_is_no_error(tenant: Tenant) -> None:
    run = _Run(_name("A"), ("1.2.3",))
    results = await run.to_end(_updater(tenant))
    assert results == {
        "studyProcessed": 1, "studyUpdated": 0, "studyFailed": 0, "instanceUpdated": 0,
    }  # fmt: skip
    assert run.last is not None
    assert run.last.failed is None


@pytest.mark.spec("operations", 22)
async def test_what_is_not_changed_is_still_found(tenant: Tenant) -> None:
    await _three(tenant)
    await _Run({"00081030": _text("LO", "Other")}).to_end(_updater(tenant))
    state = await _state(tenant)
    assert state["names"] == {"Old^Name": 3}
    [study] = await tenant.indexed("study")
    assert study["d"]["00081030"]["Value"] == ["Other"]  # type: ignore[index]
    assert study["d"]["00100010"]["Value"] == [{"Alphabetic": "Old^Name"}]  # type: ignore[index]


async def test_the_original_dropped_for_import_again_is_no_error(tenant: Tenant) -> None:
    files = await _three(tenant)
    await _Run(_name("New^Name")).to_end(_updater(tenant))
    dropped = "import/again.dcm"
    tenant.blobs.content[dropped] = files[0]
    assert await _importer(tenant).take_in(dropped) is Imported.STORED
    assert dropped not in tenant.blobs.content
    await _is_new(tenant)

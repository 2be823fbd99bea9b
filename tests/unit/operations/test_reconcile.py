"""Files against index: what is lacking is taken in, nothing in doubt is deleted."""

from __future__ import annotations

import pytest

from shared.adapters.system import RandomIds
from shared.errors import Unavailable
from shared.index import shapes
from shared.index.partitions import Partitions
from shared.operations.models import Step, Work
from shared.operations.reconcile import Reconciler
from shared.ports import Delete, JsonObject
from tests.support import dicom
from tests.unit.store.conftest import Tenant, tenant
from tests.unit.update.test_operation import _name, _Run, _updater

__all__ = ["tenant"]


async def _run(tenant: Tenant, *, repair: bool = True, **options: float) -> JsonObject:
    kind = Reconciler(
        tenant.documents,
        tenant.blobs,
        Partitions(tenant.documents, tenant.clock),
        tenant.completer,
        **options,
    )
    checkpoint: JsonObject = {}
    results: JsonObject = {}
    while True:
        step: Step = await kind.step(Work("0" * 32, {"repair": repair}, checkpoint, results))
        checkpoint, results = step.checkpoint, step.results
        if step.done:
            return results


async def _empty_index(tenant: Tenant) -> None:
    for kind in ("study", "series", "instance", "outbox", "tombstone"):
        for body in await tenant.indexed(kind):
            await tenant.documents.commit("index", str(body["pk"]), [Delete(str(body["id"]))])


def _searchable(bodies: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """What searches match, return and sort by."""
    return sorted((b["pk"], b["id"], b["q"], b["d"], b["version"]) for b in bodies)  # type: ignore[misc]


async def test_an_empty_index_is_made_again_as_it_was(tenant: Tenant) -> None:
    await tenant.store(dicom.base(PatientName="First^Name"))
    await tenant.store(
        dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.2", PatientName="Second^Name"),
        dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.1", PatientName=None, PatientID="P2"),
    )
    before = {kind: await tenant.indexed(kind) for kind in ("study", "series", "instance")}
    await _empty_index(tenant)
    tenant.clock.pass_by(minutes=20)
    found = await _run(tenant)
    assert found["repaired"] == found["notIndexed"] == found["files"] == 3
    for kind, bodies in before.items():
        assert _searchable(await tenant.indexed(kind)) == _searchable(bodies), kind
    again = await _run(tenant)
    assert again == {"files": 3, "notIndexed": 0, "indexed": 3}


async def test_a_report_changes_nothing(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    await _empty_index(tenant)
    tenant.clock.pass_by(minutes=20)
    assert (await _run(tenant, repair=False))["notIndexed"] == 1
    assert not await tenant.indexed("instance")


async def test_each_step_begins_where_the_one_before_ended(tenant: Tenant) -> None:
    """Not at the first file: a tenant may have hundreds of millions."""
    tenant.blobs.blobs_in_page = 3
    for number in range(9):
        study = f"{dicom.STUDY}.{number}"
        for instance in range(2):
            uid = f"{dicom.INSTANCE}.{number}.{instance}"
            await tenant.store(dicom.base(StudyInstanceUID=study, SOPInstanceUID=uid))
    await _empty_index(tenant)
    tenant.clock.pass_by(minutes=20)
    found = await _run(tenant, step_s=0)
    assert (found["files"], found["repaired"], found["indexed"]) == (18, 18, 18)
    assert len(await tenant.indexed("instance")) == 18
    assert tenant.blobs.listed < 18 * 7, "from the first file each time it were 18 × 9"


@pytest.mark.spec("operations", 41)
async def test_killed_at_each_write(tenant: Tenant) -> None:
    """Whatever it had done by then, the next attempt makes the same index of the rest."""
    for number in range(2):
        study = f"{dicom.STUDY}.{number}"
        for at, name in enumerate(("First^Name", "Second^Name", None)):
            uid = f"{dicom.INSTANCE}.{number}.{at}"
            data = dicom.base(StudyInstanceUID=study, SOPInstanceUID=uid, PatientName=name)
            await tenant.store(data)
    before = {kind: await tenant.indexed(kind) for kind in ("study", "series", "instance")}
    tenant.clock.pass_by(minutes=20)
    deaths, alive = 0, False
    while not alive:
        await _empty_index(tenant)
        left = deaths

        def killed(_operations: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:  # and nothing after it
                raise Unavailable

        tenant.documents.failing = killed
        try:
            await _run(tenant, step_s=0)
            alive = True
        except Unavailable:
            deaths += 1
        tenant.documents.failing = lambda _operations: None
        assert (await _run(tenant, step_s=0))["indexed"] == 6
        for kind, bodies in before.items():
            assert _searchable(await tenant.indexed(kind)) == _searchable(bodies), (kind, deaths)
        assert len(await tenant.indexed("outbox")) == 6
    assert deaths >= 7


async def test_older_versions_are_left_and_counted(tenant: Tenant) -> None:
    await tenant.store(dicom.base(PatientID="OLD"))
    [old] = tenant.blobs.content
    newer = old.rpartition("/")[0] + f"/{RandomIds().version()}.dcm"
    tenant.blobs.content[newer] = dicom.base(PatientID="NEW")
    await _empty_index(tenant)
    tenant.clock.pass_by(minutes=20)
    found = await _run(tenant)
    assert (found["repaired"], found["leftOver"]) == (1, 1)
    [body] = await tenant.indexed("instance")
    assert body["blob"] == newer
    assert old in tenant.blobs.content


async def test_updated_instances_and_their_originals(tenant: Tenant) -> None:
    """An index that is made again knows the version of now, and the first one, not one between."""
    numbers = range(3)
    await tenant.store(*(dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.{n}") for n in numbers))
    first = set(tenant.blobs.content)
    for name in ("Between^Names", "New^Name"):
        await _Run(_name(name), id=name[:1] * 32).to_end(_updater(tenant))
    assert await _run(tenant) == {"files": 9, "notIndexed": 0, "indexed": 3}
    before = {kind: await tenant.indexed(kind) for kind in ("study", "series", "instance")}
    await _empty_index(tenant)
    tenant.clock.pass_by(minutes=20)
    found = await _run(tenant)
    assert (found["repaired"], found["indexed"]) == (3, 3)
    for kind, bodies in before.items():
        assert _searchable(await tenant.indexed(kind)) == _searchable(bodies), kind
    after = await tenant.indexed("instance")
    assert {shapes.files_of(body)[1]["blob"] for body in after} == first
    for old, new in zip(_by_id(before["instance"]), _by_id(after), strict=True):
        assert shapes.versions_of(old) == shapes.versions_of(new)
        assert _without_places(old["original"]) == _without_places(new["original"])
    assert await _run(tenant) == {"files": 9, "notIndexed": 0, "indexed": 3, "leftOver": 3}


def _by_id(bodies: list[JsonObject]) -> list[JsonObject]:
    return sorted(bodies, key=lambda body: str(body["id"]))


def _without_places(file: JsonObject) -> JsonObject:
    return {name: value for name, value in file.items() if name != "metadata"}


async def test_deleted_ones_stay_deleted(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    tenant.clock.pass_by(minutes=20)
    assert await _run(tenant) == {"files": 1, "notIndexed": 0}
    assert not await tenant.indexed("instance")


async def test_a_file_that_is_gone_is_reported(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    [blob] = tenant.blobs.content
    tenant.blobs.content.clear()
    found = await _run(tenant)
    assert (found["filesMissing"], found["missing"]) == (1, [blob])
    assert await tenant.indexed("instance"), "what was lost is not hidden"

"""Workers that meet each other, other writers, other partitions and tenants."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.cast.resources import study_identifier
from shared.store.intake import Destination
from tests.support import dicom
from tests.unit.cast.conftest import ENDPOINT, PARTITION, URL, Cast, like, methods
from tests.unit.store.conftest import _one


@pytest.mark.spec("dicomcast", 29)
async def test_a_create_that_finds_one_is_done_again_as_an_update(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = dicom.ct()
    transaction = cast.client.transaction
    rivals = 0

    async def rival_first(bundle: dict[str, Any]) -> Any:
        nonlocal rivals
        rivals += 1
        if rivals == 1:
            cast.server.create(
                {
                    "resourceType": "Patient",
                    "identifier": [{"system": "urn:hospital", "value": "T-001"}],
                }
            )
        return await transaction(bundle)

    monkeypatch.setattr(cast.client, "transaction", rival_first)
    await cast.cast(ds)
    patient = cast.one("Patient")
    assert patient["name"][0]["family"] == "Test"
    assert cast.one("ImagingStudy")["subject"]["reference"] == f"Patient/{patient['id']}"
    assert "PUT" in {one.split()[0] for bundle in cast.server.bundles() for one in methods(bundle)}


async def test_workers_on_one_study_and_one_patient_do_not_collide(cast: Cast) -> None:
    first = dicom.ct()
    studies = [first, *(like(first, StudyInstanceUID=dicom.new_uid()) for _ in range(3))]
    await cast.store(*studies)
    uids = [str(one.StudyInstanceUID) for one in studies]
    await asyncio.gather(*(cast.sync(uid) for uid in uids * 3))
    assert len(cast.server.all("Patient")) == len(cast.server.all("Endpoint")) == 1
    found = cast.server.all("ImagingStudy")
    assert sorted(one["identifier"][0]["value"] for one in found) == sorted(
        f"urn:oid:{uid}" for uid in uids
    )


async def test_a_slow_worker_does_not_bring_back_what_is_gone(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read a state that came and went, and FHIR has not changed since: no ETag would tell."""
    first = dicom.ct()
    late = like(first)
    study = str(first.StudyInstanceUID)
    await cast.cast(first)
    await cast.store(late)
    transaction = cast.client.transaction
    has_read, may_write = asyncio.Event(), asyncio.Event()

    async def slow(bundle: dict[str, Any]) -> Any:
        has_read.set()
        await may_write.wait()
        return await transaction(bundle)

    monkeypatch.setattr(cast.client, "transaction", slow)
    worker = asyncio.create_task(cast.sync(study))
    await has_read.wait()
    await cast.tenant.delete.delete(
        PARTITION, study, str(late.SeriesInstanceUID), str(late.SOPInstanceUID)
    )
    await cast.sync(study)  # another worker, which finds nothing to do
    assert cast.one("ImagingStudy")["numberOfInstances"] == 1
    may_write.set()
    await worker
    assert cast.one("ImagingStudy")["numberOfInstances"] == 1
    assert len([bundle for bundle in cast.server.bundles() if "PUT" in str(bundle)]) == 2


async def test_two_studies_that_differ_do_not_write_over_each_others_names(cast: Cast) -> None:
    """The patient's newest instance decides, whichever study comes last."""
    old, new = dicom.ct(PatientName="Old^Name"), dicom.ct(PatientName="New^Name", PatientSex=None)
    await cast.store(old)
    await cast.store(new)
    for ds in (new, old, new, old):
        await cast.sync(str(ds.StudyInstanceUID))
    patient = cast.one("Patient")
    assert patient["name"][0]["family"] == "New"
    assert patient["gender"] == "other", "the newest that says it"
    cast.server.log()
    for ds in (old, new):
        await cast.sync(str(ds.StudyInstanceUID))
    assert cast.server.bundles() == []


async def test_a_change_while_fhir_is_written_is_not_missed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dicom.ct()
    transaction = cast.client.transaction
    late = [like(first)]

    async def slow(bundle: dict[str, Any]) -> Any:
        answer = await transaction(bundle)
        if late:
            await cast.store(late.pop())
        return answer

    monkeypatch.setattr(cast.client, "transaction", slow)
    await cast.cast(first)
    assert cast.one("ImagingStudy")["numberOfInstances"] == 2


async def test_copies_of_a_study_in_two_partitions_are_two(cast: Cast) -> None:
    ds = dicom.ct()
    study = str(ds.StudyInstanceUID)
    await cast.store(ds)
    await cast.tenant.store(dicom.part10(ds))
    await cast.sync(study)
    cast.server.log()
    body = await _copy_into(cast, ds, "site-b")
    assert body
    await cast.sync(study, "site-b")
    await cast.sync(study)
    sources = {one["meta"]["source"] for one in cast.server.all("ImagingStudy")}
    assert sources == {ENDPOINT, f"{URL}/partitions/site-b/"}
    await cast.tenant.delete.delete("site-b", study)
    await cast.sync(study, "site-b")
    assert cast.one("ImagingStudy")["meta"]["source"] == ENDPOINT


async def test_two_tenants_with_one_fhir_server_do_not_touch_each_others_studies(
    cast: Cast,
) -> None:
    ds = dicom.ct()
    study = str(ds.StudyInstanceUID)
    theirs = cast.server.create(
        {
            "resourceType": "ImagingStudy",
            "status": "available",
            "subject": {"reference": "Patient/theirs"},
            "meta": {"source": f"{URL.replace('main', 'other')}/"},
            "identifier": [study_identifier(study)],
        }
    )
    await cast.cast(ds)
    await cast.tenant.delete.delete(PARTITION, study)
    await cast.sync(study)
    left = cast.one("ImagingStudy")
    assert (left["id"], left["meta"]["versionId"]) == (theirs["id"], theirs["meta"]["versionId"])


async def _copy_into(cast: Cast, ds: Dataset, partition: str) -> bool:
    async def contents() -> Any:
        yield _one(dicom.part10(ds))

    destination = Destination(partition, None, 2, URL, False, None)
    result = await cast.tenant.store_service.store(contents(), destination)
    return bool(result.stored)


async def test_what_others_write_meanwhile_is_not_lost(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = dicom.ct()
    await cast.cast(ds)
    transaction = cast.client.transaction
    theirs = [{**cast.one("Patient"), "telecom": [{"system": "phone", "value": "1"}]}]

    async def after_them(bundle: dict[str, Any]) -> Any:
        if theirs:
            cast.server.update(theirs.pop())
        return await transaction(bundle)

    monkeypatch.setattr(cast.client, "transaction", after_them)
    ds.PatientName = "New^Name"
    await cast.cast(ds)
    patient = cast.one("Patient")
    assert patient["telecom"] == [{"system": "phone", "value": "1"}]
    assert patient["name"][0]["family"] == "New"

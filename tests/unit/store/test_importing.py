"""Dropped files: stored or moved with their reason, whatever comes twice or dies."""

from __future__ import annotations

import json

import pytest

from shared.errors import Unavailable
from shared.index.partitions import Partitions
from shared.store.importing import Imported, Importer
from tests.support import dicom
from tests.unit.store.conftest import Tenant

_BLOB = "import/tree/of/folders/IM0001"


def _importer(tenant: Tenant) -> Importer:
    return Importer(
        tenant.documents,
        tenant.blobs,
        tenant.store_service,
        Partitions(tenant.documents, tenant.clock),
        clock=tenant.clock,
        tenant_url="http://host/main",
    )


@pytest.mark.spec("operations", 42)
async def test_a_valid_file_is_stored_and_leaves(tenant: Tenant) -> None:
    tenant.blobs.content[_BLOB] = dicom.base()
    importer = _importer(tenant)
    assert await importer.take_in(_BLOB) is Imported.STORED
    [blob] = tenant.blobs.content
    assert tenant.blobs.content[blob] == dicom.base()
    [body] = await tenant.indexed("instance")
    assert body["blob"] == blob
    assert await importer.take_in(_BLOB) is Imported.GONE, "the event came twice"
    assert len(await tenant.indexed("outbox")) == 1


async def test_the_same_file_again_is_no_error(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    tenant.blobs.content[_BLOB] = dicom.base()
    assert await _importer(tenant).take_in(_BLOB) is Imported.STORED
    assert len(tenant.blobs.content) == 1
    assert len(await tenant.indexed("outbox")) == 1


async def test_a_name_that_is_written_anew_meanwhile_is_taken_in_too(tenant: Tenant) -> None:
    second = dicom.base(SOPInstanceUID="2.25.104")
    tenant.blobs.content[_BLOB] = dicom.base()

    def write_anew(call: str, key: str) -> None:
        if call == "delete" and key == _BLOB:
            tenant.blobs.failing = lambda _call, _key: None
            tenant.blobs.content[_BLOB] = second

    tenant.blobs.failing = write_anew
    importer = _importer(tenant)
    assert await importer.take_in(_BLOB) is Imported.WRITTEN_ANEW
    assert tenant.blobs.content[_BLOB] == second
    assert await importer.take_in(_BLOB) is Imported.STORED
    assert len(await tenant.indexed("instance")) == 2
    assert _BLOB not in tenant.blobs.content


async def test_another_content_under_the_same_uids_is_refused(tenant: Tenant) -> None:
    await tenant.store(dicom.base())
    tenant.blobs.content[_BLOB] = dicom.base(PatientID="OTHER")
    assert await _importer(tenant).take_in(_BLOB) is Imported.REFUSED
    [report] = [key for key in tenant.blobs.content if key.endswith(".json")]
    assert json.loads(tenant.blobs.content[report])["reason"] == 45070
    assert tenant.blobs.content[report.removesuffix(".json")] == dicom.base(PatientID="OTHER")


@pytest.mark.spec("operations", 43)
@pytest.mark.parametrize(
    "data", [b"some text", b"x" * 300_000, dicom.base()[:-2], dicom.base(PatientID=None)]
)
async def test_what_is_refused_moves_to_the_errors_with_its_reason(
    tenant: Tenant, data: bytes
) -> None:
    tenant.blobs.content[_BLOB] = data
    assert await _importer(tenant).take_in(_BLOB) is Imported.REFUSED
    file, report = sorted(tenant.blobs.content)
    assert file.startswith("import-errors/tree/of/folders/IM0001/")
    assert tenant.blobs.content[file] == data
    told = json.loads(tenant.blobs.content[report])
    assert (told["path"], told["file"]) == (_BLOB, file)
    assert told["reason"]
    assert told["error"]
    assert not await tenant.indexed("instance")


async def test_partitions_by_folder(tenant: Tenant) -> None:
    tenant.blobs.content["import/partitions/clinic-A/1"] = dicom.base()
    tenant.blobs.content["import/partitions/no good/1"] = dicom.base()
    importer = _importer(tenant)
    assert await importer.take_in("import/partitions/clinic-A/1") is Imported.STORED
    assert await importer.take_in("import/partitions/no good/1") is Imported.REFUSED
    [body] = await tenant.indexed("instance")
    assert body["partition"] == "clinic-a"


@pytest.mark.parametrize("data", [dicom.base(), b"some text"])
@pytest.mark.parametrize("call", ["put", "delete", "put .json"])
async def test_trouble_at_each_write_makes_the_event_come_again(
    tenant: Tenant, data: bytes, call: str
) -> None:
    tenant.blobs.content[_BLOB] = data
    word, _, ending = call.partition(" ")

    def away(verb: str, key: str) -> None:
        if verb == word and key.endswith(ending) and (word == "put" or key == _BLOB):
            raise Unavailable

    tenant.blobs.failing = away
    importer = _importer(tenant)
    if not (ending and data == dicom.base()):
        with pytest.raises(Unavailable):
            await importer.take_in(_BLOB)
        assert tenant.blobs.content[_BLOB] == data
        tenant.blobs.failing = lambda _verb, _key: None
    outcome = await importer.take_in(_BLOB)
    assert outcome is (Imported.REFUSED if data == b"some text" else Imported.STORED)
    assert _BLOB not in tenant.blobs.content
    assert len(tenant.blobs.content) == (2 if data == b"some text" else 1)
    assert len(await tenant.indexed("outbox")) == (0 if data == b"some text" else 1)

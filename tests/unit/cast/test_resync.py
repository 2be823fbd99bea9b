"""All studies of a tenant again, and what FHIR has too much."""

from __future__ import annotations

import pytest

from shared.cast.archive import Archive
from shared.cast.dispatch import Dispatcher
from shared.cast.resync import Resync
from shared.cast.sync import StudySync
from shared.feed.sequencer import Sequencer
from shared.index.partitions import Partitions
from shared.operations.models import Work
from shared.ports import JsonObject
from tests.support import dicom
from tests.unit.cast.conftest import PARTITION, URL, Cast


async def _resync(cast: Cast) -> JsonObject:
    """Run the operation, and what it sends."""
    documents, clock, queue = cast.tenant.documents, cast.tenant.clock, cast.tenant.queue
    sync = StudySync(Archive(documents, cast.tenant.blobs), cast.client, cast.settings, URL)
    kind = Resync(
        "main",
        documents,
        partitions=Partitions(documents, clock),
        dispatcher=Dispatcher(documents, Sequencer(documents, clock), queue, clock, "main"),
        sync=sync,
        fhir=cast.client,
    )
    checkpoint: JsonObject = {}
    results: JsonObject = {}
    while True:
        step = await kind.step(Work("0" * 32, {}, checkpoint, results))
        checkpoint, results = step.checkpoint, step.results
        if step.done:
            break
    for queue_name, message, _ in queue.sent:
        if queue_name == "cast":
            await sync.sync(message["partition"], message["study"])
    queue.sent.clear()
    return results


@pytest.mark.parametrize("page", [100, 1])
async def test_fhir_has_exactly_what_the_archive_has(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr("shared.cast.resync._PAGE", page)
    cast.server.settings(page=page)
    await Partitions(cast.tenant.documents, cast.tenant.clock).resolve("Site.B", create=True)
    kept, lost, gone = (dicom.ct() for _ in range(3))
    await cast.store(kept, lost)
    await cast.cast(gone)
    await cast.tenant.delete.delete(PARTITION, str(gone.StudyInstanceUID))
    theirs = cast.server.create(
        {
            "resourceType": "ImagingStudy",
            "status": "available",
            "subject": {"reference": "Patient/1"},
        }
    )
    assert await _resync(cast) == {"studies": 2, "notInArchive": 1}
    found = {one["id"]: one for one in cast.server.all("ImagingStudy")}
    assert found.pop(theirs["id"])
    assert {one["identifier"][0]["value"] for one in found.values()} == {
        f"urn:oid:{kept.StudyInstanceUID}",
        f"urn:oid:{lost.StudyInstanceUID}",
    }
    versions = cast.server.versions()
    assert await _resync(cast) == {"studies": 2, "notInArchive": 0}
    assert cast.server.versions() == versions

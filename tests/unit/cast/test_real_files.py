"""pydicom's own files: each study is in FHIR as a whole, or a row says which instance is not."""

from __future__ import annotations

from pathlib import Path

from pydicom.data import get_testdata_files

from shared.cast.worker import Worker, message_of
from tests.support.fakes import MemoryFailures, MemoryQueue
from tests.unit.cast.conftest import PARTITION, Cast

_LARGEST = 2_000_000


async def test_each_file_is_in_fhir_or_has_a_row(cast: Cast) -> None:
    for path in map(Path, get_testdata_files()):
        if path.is_file() and path.suffix in ("", ".dcm") and path.stat().st_size < _LARGEST:
            await cast.tenant.store(path.read_bytes())
    stored = await cast.tenant.indexed("instance")
    assert len(stored) > 50
    failures, queue = MemoryFailures(), MemoryQueue()
    worker = Worker("main", cast.sync_at, failures, queue, cast.tenant.clock)
    for study in {str(body["study"]) for body in stored}:
        await worker.handle(message_of("main", PARTITION, study))
    assert queue.sent == []
    rows = [row for of_study in failures.rows.values() for row in of_study]
    assert {row.kind for row in rows} <= {"refused", "skipped"}, rows
    refused = {row.instance for row in rows if row.kind == "refused"}
    in_fhir = {
        instance["uid"]
        for study in cast.server.all("ImagingStudy")
        for series in study["series"]
        for instance in series["instance"]
    }
    assert in_fhir | refused == {str(body["instance"]) for body in stored}
    assert in_fhir & refused == set()
    versions = cast.server.versions()
    for study in {str(body["study"]) for body in stored}:
        await worker.handle(message_of("main", PARTITION, study))
    assert cast.server.versions() == versions

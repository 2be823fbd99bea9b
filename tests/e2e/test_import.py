"""Files dropped into the tenant's container by other means than HTTP (spec operations.md §5)."""

from __future__ import annotations

import json
import time

import httpx
import pytest
from azure.storage.blob import ContainerClient

from tests.support import dicom
from tests.support.server import Server

_SECONDS = 60.0


@pytest.mark.spec("operations", 42, 43)
def test_dropped_files_are_stored_or_reported(
    server: Server, http: httpx.Client, tenants: tuple[str, str]
) -> None:
    ds = dicom.ct()
    data = dicom.part10(ds)
    instance = (
        f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    )
    with ContainerClient.from_connection_string(
        server.connection, f"dicom-{tenants[0]}"
    ) as container:
        container.upload_blob("import/a/b/good", data)
        container.upload_blob("import/a/bad.txt", b"no DICOM")
        container.upload_blob("import/partitions/dropped/c", data)
        deadline = time.monotonic() + _SECONDS
        while list(container.list_blob_names(name_starts_with="import/")):
            assert time.monotonic() < deadline, "not taken in"
            time.sleep(0.2)
        errors = list(container.list_blob_names(name_starts_with="import-errors/a/bad.txt/"))
        file, report = errors
        assert container.download_blob(file).readall() == b"no DICOM"
        told = json.loads(container.download_blob(report).readall())
        assert (told["path"], told["reason"]) == ("import/a/bad.txt", 43264)
    for prefix in ("", "partitions/dropped/"):
        answer = http.get(prefix + instance, headers={"Accept": "application/dicom"})
        assert answer.content == data
        found = http.get(f"{prefix}instances", params={"SOPInstanceUID": ds.SOPInstanceUID})
        assert len(found.json()) == 1

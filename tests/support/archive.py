"""A tenant's stores, looked at from outside the service: what is there, and whether it agrees."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.azure.clients import blob_service
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.config import StorageConnection
from shared.feed.shapes import ENTRY
from shared.index import shapes
from shared.index.shapes import parse_blob_key
from shared.ports import Documents, JsonObject
from shared.where import And, Order

_PAGE = 1_000


@dataclass(slots=True)
class Archive:
    """All documents of the index and all blobs of one tenant."""

    documents: list[JsonObject] = field(default_factory=list)
    blobs: set[str] = field(default_factory=set)
    entries: list[JsonObject] = field(default_factory=list)

    def of_type(self, kind: str) -> list[JsonObject]:
        """The documents of one type."""
        return [body for body in self.documents if body["type"] == kind]

    def faults(self) -> list[str]:
        """What breaks the invariants of architecture §6; empty if all hold."""
        return [
            *self._order(),
            *self._files(),
            *self._counts(),
            *self._announcements(),
            *self._repeated_terms(),
        ]

    def _order(self) -> list[str]:
        """The feed has no gap, and its times run with its sequence numbers."""
        entries = sorted(self.entries, key=lambda entry: int(entry["sequence"]))
        numbers = [entry["sequence"] for entry in entries]
        times = [entry["timestamp"] for entry in entries]
        faults = [] if numbers == list(range(1, len(numbers) + 1)) else [f"feed {numbers}"]
        return faults if times == sorted(set(times)) else [*faults, "times of the feed"]

    def _files(self) -> list[str]:
        named = {
            file["blob"] for body in self.of_type(shapes.INSTANCE) for file in shapes.files_of(body)
        }
        buried = {
            file["blob"]
            for tombstone in self.of_type(shapes.TOMBSTONE)
            for body in tombstone["instances"]
            for file in shapes.files_of(body)
        }
        files = {key for key in self.blobs if parse_blob_key(key) is not None}
        segments = {
            place["segment"]
            for body in self.of_type(shapes.INSTANCE)
            for file in shapes.files_of(body)
            for place in (file["metadata"], file.get("ranges") or {})
            if "segment" in place
        } | {
            body["compacted"]["segment"]
            for body in self.of_type(shapes.SERIES)
            if "compacted" in body
        }
        return [
            *(f"no file: {key}" for key in sorted(named - files)),
            *(f"no segment: {key}" for key in sorted(segments - self.blobs)),
            *(f"a file that nothing names: {key}" for key in sorted(files - named - buried)),
            *(f"an update left {body['id']}" for body in self.of_type(shapes.PREPARED)),
        ]

    def _counts(self) -> list[str]:
        faults: list[str] = []
        below_study = Counter(body["pk"] for body in self.of_type(shapes.INSTANCE))
        below_series = Counter(
            (body["pk"], body["series"]) for body in self.of_type(shapes.INSTANCE)
        )
        series = Counter(body["pk"] for body in self.of_type(shapes.SERIES))
        studies = {body["pk"]: body for body in self.of_type(shapes.STUDY)}
        if studies.keys() != below_study.keys():
            faults.append("studies without instances, or instances without study")
        for pk, body in studies.items():
            if body["instanceCount"] != below_study[pk] or body["seriesCount"] != series[pk]:
                faults.append(f"counts of study {pk}")
        documents = {(body["pk"], body["series"]): body for body in self.of_type(shapes.SERIES)}
        if documents.keys() != below_series.keys():
            faults.append("series without instances, or instances without series")
        faults += [
            f"count of series {key}"
            for key, body in documents.items()
            if body["instanceCount"] != below_series[key]
        ]
        return faults

    def _announcements(self) -> list[str]:
        """Each version is announced once, and once more as deleted if it was not replaced."""
        appended = {entry["id"] for entry in self.entries}
        announced = Counter((_of(entry), entry["version"]) for entry in self.entries)
        announced.update(
            (_of(change), change["version"])
            for body in self.of_type(shapes.OUTBOX)
            for number, change in enumerate(body["changes"])
            if f"{body['id']}|{number}" not in appended
        )
        expected = Counter(
            ("Create", version)
            for body in self.of_type(shapes.INSTANCE)
            for version in shapes.versions_of(body)
        )
        for tombstone in self.of_type(shapes.TOMBSTONE):
            for body in tombstone["instances"]:
                expected.update(("Create", version) for version in shapes.versions_of(body))
                if not tombstone.get("replaced"):
                    expected["Delete", body["version"]] += 1
        return [] if announced == expected else [f"announced {announced}, expected {expected}"]

    def _repeated_terms(self) -> list[str]:
        """Documents below a study repeat its terms, and those of their series."""
        faults = [
            f"study {body['pk']} is not aligned"
            for body in self.of_type(shapes.STUDY)
            if body["spreading"]
        ]
        above = {body["pk"]: body["q"] for body in self.of_type(shapes.STUDY)}
        for body in self.of_type(shapes.SERIES):
            faults += _differences(body, above.get(body["pk"], {}))
        series = {(body["pk"], body["series"]): body["q"] for body in self.of_type(shapes.SERIES)}
        for body in self.of_type(shapes.INSTANCE):
            faults += _differences(body, series.get((body["pk"], body["series"]), {}))
        return faults


def _of(change: JsonObject) -> str:
    """The action; a new version is one that was created."""
    return str(change["action"]).replace("Update", "Create")


def _differences(body: JsonObject, above: JsonObject) -> list[str]:
    return [
        f"{body['id']} has another {tag} than the document above it"
        for tag, value in above.items()
        if body["q"].get(tag) != value
    ]


async def look(connection: str, index: Path, tenant: str = "main") -> Archive:
    """All that a tenant has, read past the service.

    Parameters
    ----------
    connection : str
        Connection string of the storage account.
    index : Path
        Folder of the SQLite files.
    tenant : str
        Name of the tenant.
    """
    archive = Archive()
    documents = SqliteDocuments(index / f"dicom-{tenant}.sqlite")
    service = blob_service(StorageConnection(connection_string=connection))
    blobs = AzureBlobs(service, f"dicom-{tenant}")
    try:
        archive.documents = await _all(documents, "index", "pk")
        changes = await _all(documents, "changes", "bucket")
        archive.entries = [body for body in changes if body["type"] == ENTRY]
        async for page in blobs.pages(""):
            archive.blobs.update(info.key for info in page.blobs)
    finally:
        await documents.close()
        await blobs.close()
    return archive


async def _all(documents: Documents, container: str, partition_key: str) -> list[JsonObject]:
    found: list[JsonObject] = []
    order = [Order((partition_key,)), Order(("id",))]
    after: list[str] | None = None
    while True:
        page = await documents.query(container, And(()), order=order, limit=_PAGE, after=after)
        found += page
        if len(page) < _PAGE:
            return found
        after = [page[-1][partition_key], page[-1]["id"]]

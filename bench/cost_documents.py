"""What one store request writes, measured: the documents, their sizes, and what is indexed.

The real code stores a real header (pydicom's ``CT_small.dcm``, a GE CT) into the embedded index;
what it asks of the port is recorded. UIDs have the length that scanners give them.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.data import get_testdata_file

from shared.adapters.sqlite.documents import SqliteDocuments
from shared.config import Limits
from shared.feed.sequencer import Sequencer
from shared.index.commit import Committer
from shared.index.removal import Remover
from shared.index.replacement import Replacer
from shared.index.schema import CONTAINERS
from shared.ports import Create, Delete, JsonObject, Operation, Replace
from shared.store.intake import Destination
from shared.store.service import StoreService
from tests.support.fakes import FixedClock, MemoryBlobs, MemoryQueue

_ROOT = "1.2.840.113619.2.278.3.2831208458.17.1511234567"
_PAD = 9


@dataclass(frozen=True, slots=True)
class Shape:
    """A document: bytes of JSON, and values that the container's policy indexes."""

    size: int
    paths: int

    @property
    def kb(self) -> float:
        """Size in KB, rounded up to tenths: compressors differ by some bytes."""
        return math.ceil(self.size / 102.4) / 10


@dataclass(frozen=True, slots=True)
class Measured:
    """What storing one new series of a new study does.

    Parameters
    ----------
    instances : int
        In the request.
    shapes : dict
        By the type of document.
    operations : Counter
        How many, by what is done and the type of document.
    blob_writes : int
        Blobs that were written.
    metadata_size : int
        Bytes of the metadata beside the files.
    """

    instances: int
    shapes: dict[str, Shape]
    operations: Counter[tuple[str, str]]
    blob_writes: int
    metadata_size: int


class _Counted:
    """Versions and names of constant length, so that figures are the same in each run."""

    def __init__(self) -> None:
        self._next = 4_000_000_000_000_000_000

    def version(self) -> str:
        self._next += 1
        return str(self._next)

    def unique(self) -> str:
        return f"{int(self.version()):032x}"


class _Recording(SqliteDocuments):
    """The embedded index; it notes what it is asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.shapes: dict[str, Shape] = {}
        self.operations: Counter[tuple[str, str]] = Counter()

    async def get(self, container: str, partition: str, document_id: str) -> Any:
        self.operations["read", document_id.partition("|")[0]] += 1
        return await super().get(container, partition, document_id)

    async def query(self, container: str, *arguments: Any, **options: Any) -> list[JsonObject]:
        self.operations["query", container] += 1
        return await super().query(container, *arguments, **options)

    async def commit(self, container: str, partition: str, operations: Sequence[Operation]) -> None:
        await super().commit(container, partition, operations)
        for operation in operations:
            if isinstance(operation, Create | Replace):
                kind = operation.body["type"]
                shape = shape_of(operation.body, container)
                if shape.size > self.shapes.get(kind, Shape(0, 0)).size:
                    self.shapes[kind] = shape
                verb = "create" if isinstance(operation, Create) else "replace"
            else:
                kind = operation.id.partition("|")[0]
                verb = "delete" if isinstance(operation, Delete) else "patch"
            self.operations[verb, kind] += 1


def shape_of(body: JsonObject, container: str) -> Shape:
    """Size of a document as it is sent, and how many of its values are indexed."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    indexed = {path[0] for path in CONTAINERS[container].indexed}
    return Shape(len(text.encode()), sum(_values(body[name]) for name in indexed & body.keys()))


def _values(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_values, value.values()))
    return sum(map(_values, value)) if isinstance(value, list) else 1


async def measure(instances: int) -> Measured:
    """Store a series, and then another of another study, of which the figures are."""
    with tempfile.TemporaryDirectory() as folder:
        documents = _Recording(Path(folder) / "index.sqlite")
        blobs, queue, ids = MemoryBlobs(), MemoryQueue(), _Counted()
        clock = FixedClock(datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC))
        sequencer = Sequencer(documents, clock)
        committer = Committer(documents, ids, clock, announcer=sequencer)
        remover = Remover(
            documents,
            committer,
            queue,
            ids=ids,
            clock=clock,
            tenant="main",
            retention=timedelta(days=3),
        )
        replacer = Replacer(documents, committer, remover, ids, clock)
        store = StoreService(
            blobs, committer, replacer, ids, Limits(), clock=clock, grace=timedelta(hours=1)
        )
        try:
            for study in (1, 2):
                documents.operations.clear()
                before = set(blobs.content)
                destination = Destination("Microsoft.Default", None, 2, "http://host/main/v2")
                result = await store.store(_contents(study, instances), destination)
                assert len(result.stored) == instances, result
                await sequencer.settled()
        finally:
            await documents.close()
        written = blobs.content.keys() - before
        metadata = [key for key in written if not key.endswith(".dcm")]
        return Measured(
            instances,
            documents.shapes,
            documents.operations,
            len(written),
            sum(len(blobs.content[key]) for key in metadata),
        )


async def _contents(study: int, instances: int) -> AsyncIterator[AsyncIterator[bytes]]:
    ds = dcmread(get_testdata_file("CT_small.dcm"))
    ds.StudyInstanceUID = f"{_ROOT}.1.{study:0{_PAD}}".replace(".0", ".1")
    ds.SeriesInstanceUID = f"{_ROOT}.2.{study:0{_PAD}}".replace(".0", ".1")
    for number in range(instances):
        ds.SOPInstanceUID = f"{_ROOT}.3.{study * 1000 + number:0{_PAD}}".replace(".0", ".1")
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.InstanceNumber = 100 + number
        file = io.BytesIO()
        ds.save_as(file)
        yield _one(file.getvalue())


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data

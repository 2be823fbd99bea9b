"""What the archive knows of a study and of a patient, read for FHIR."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator

from shared.cast import values
from shared.cast.values import Attributes
from shared.dicom import attributes as dicom
from shared.errors import BlobNotFound, CorruptData
from shared.index import shapes
from shared.index.metadata import ChunkPlace, chunk_texts
from shared.index.schema import INDEX
from shared.index.terms import level_terms
from shared.ports import Blobs, Documents, JsonObject
from shared.where import And, Eq, Order, Where

_PAGE = 500
_OF_PATIENT = 50
_NEWEST_FIRST = (Order(("version",), descending=True), Order(("id",)))
_MEMBERS = ("id", "version", "study", "series", "instance", "d", shapes.LEFT_OUT)


class Archive:
    """Reads one tenant's index."""

    def __init__(self, documents: Documents, blobs: Blobs) -> None:
        self._documents = documents
        self._blobs = blobs

    async def state(self, partition: str, study: str) -> str | None:
        """A text that changes with anything below the study; ``None`` if it is not there."""
        pk = shapes.partition_key(partition, study)
        found = await self._documents.get(INDEX.name, pk, shapes.study_id(study))
        return None if found is None else f"{found.body['version']}/{found.body['revision']}"

    async def instances(self, partition: str, study: str) -> AsyncIterator[JsonObject]:
        """The instance documents of a study, the newest first; their attributes as in the files."""
        after: list[str] | None = None
        while True:
            page = await self._documents.query(
                INDEX.name,
                Eq(("type",), shapes.INSTANCE),
                order=_NEWEST_FIRST,
                limit=_PAGE,
                after=after,
                partition=shapes.partition_key(partition, study),
                members=_MEMBERS,
            )
            for body in page:
                yield body
            if len(page) < _PAGE:
                return
            after = [page[-1]["version"], page[-1]["id"]]

    async def of_patient(self, partition: str, patient_id: str) -> list[JsonObject]:
        """The newest instance documents of a patient in all studies of a partition."""
        element = {"vr": "LO", "Value": [patient_id]}
        terms = level_terms({values.PATIENT_ID: element}, dicom.STUDY)
        where: list[Where] = [
            Eq(("type",), shapes.INSTANCE),
            Eq(("partition",), partition.lower()),
            *(Eq(("q", name), value) for name, value in terms.items()),
        ]
        page = await self._documents.query(
            INDEX.name, And(tuple(where)), order=_NEWEST_FIRST, limit=_OF_PATIENT, members=_MEMBERS
        )
        return [body for body in page if _patient_id(body["d"]) == patient_id]

    async def data_set(
        self, partition: str, study: str, series: str, instance: str
    ) -> Attributes | None:
        """The whole metadata of an instance; ``None`` if it is gone.

        Raises
        ------
        CorruptData
            It is not what was stored.
        """
        found = await self._documents.get(
            INDEX.name,
            shapes.partition_key(partition, study),
            shapes.instance_id(series, instance),
        )
        if found is None:
            return None
        place = ChunkPlace.from_json(found.body["metadata"])
        try:
            text = b"".join([piece async for piece in chunk_texts(self._blobs, [place], "")])
        except BlobNotFound:
            return None
        except zlib.error:
            raise CorruptData("A metadata chunk is not what was stored.") from None
        attributes: Attributes = json.loads(text)
        return attributes


def _patient_id(attributes: Attributes) -> str | None:
    try:
        return values.text(attributes, values.PATIENT_ID)
    except values.InvalidTag:
        return None

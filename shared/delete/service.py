"""Delete studies, series and instances; purge their files when the retention time is over."""

from __future__ import annotations

from datetime import datetime

from shared.errors import InstanceNotFound, OperationRefused, SeriesNotFound, StudyNotFound
from shared.index import shapes
from shared.index.documents import iso
from shared.index.removal import LONGEST_DELAY_S, PURGE_QUEUE, Remover
from shared.index.schema import INDEX
from shared.ports import Blobs, Clock, Delete, Documents, JsonObject, Queue, Replace
from shared.telemetry import traced
from shared.where import And, Eq, In, Order, Range

_PAGE = 100
_SEGMENTS = (
    ("metadata", "segment"), ("ranges", "segment"),
    (shapes.ORIGINAL, "metadata", "segment"), (shapes.ORIGINAL, "ranges", "segment"),
)  # fmt: skip


class DeleteService:
    """The delete transactions of one tenant (spec dicomweb.md §5)."""

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        remover: Remover,
        *,
        queue: Queue,
        clock: Clock,
        tenant: str,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._remover = remover
        self._queue = queue
        self._clock = clock
        self._tenant = tenant

    @traced("delete")
    async def delete(
        self, partition: str, study: str, series: str | None = None, instance: str | None = None
    ) -> None:
        """Delete what the UIDs name. It is gone from search and retrieval at once.

        Parameters
        ----------
        partition : str
            Data partition, as first spelled.
        study, series, instance : str
            Normalised UIDs.

        Raises
        ------
        StudyNotFound, SeriesNotFound, InstanceNotFound
            There is nothing to delete.
        """
        if await self._remover.remove(partition, study, series, instance):
            return
        if instance is not None:
            raise InstanceNotFound("The instance could not be found.")
        if series is not None:
            raise SeriesNotFound("The series could not be found.")
        raise StudyNotFound("The study could not be found.")

    async def purge(self, pk: str, tombstone_id: str) -> None:
        """Remove the files that a tombstone names, if it is due; otherwise ask again later.

        Running it twice, or after a crash half-way, ends in the same state. The tombstone is
        marked first, so that nobody restores what is half gone.
        """
        found = await self._documents.get(INDEX.name, pk, tombstone_id)
        if found is None:
            return  # done before
        due = datetime.fromisoformat(found.body["due"])
        wait = (due - self._clock.now()).total_seconds()
        if wait > 0:
            message = {"tenant": self._tenant, "pk": pk, "tombstone": tombstone_id}
            await self._queue.send(PURGE_QUEUE, message, delay_s=min(wait + 1, LONGEST_DELAY_S))
            return
        if not found.body.get("purging"):
            mark = Replace({**found.body, "purging": True}, found.etag)
            try:
                await self._documents.commit(INDEX.name, pk, [mark])
            except OperationRefused:
                return  # another worker was faster, or it is being restored
        restored = await self._restored(pk, found.body["instances"])
        gone = [body for body in found.body["instances"] if body["version"] not in restored]
        for file in [file for body in gone for file in shapes.files_of(body)]:
            await self._blobs.delete(file["blob"])
        segments = _segments(found.body["instances"]) | set(found.body.get("segments", ()))
        for segment in sorted(segments):
            if not await self._is_used(pk, segment):
                await self._blobs.delete(segment)
        try:
            await self._documents.commit(INDEX.name, pk, [Delete(tombstone_id)])
        except OperationRefused:
            return  # another worker was faster

    async def purge_due(self) -> int:
        """Purge tombstones whose message was lost. Returns how many were due."""
        due = await self._documents.query(
            INDEX.name,
            And((Eq(("type",), shapes.TOMBSTONE), Range(("due",), high=iso(self._clock.now())))),
            order=[Order(("due",))],
            limit=_PAGE,
            members=["id", "pk"],
        )
        for body in due:
            await self.purge(body["pk"], body["id"])
        return len(due)

    async def _restored(self, pk: str, instances: list[JsonObject]) -> set[str]:
        """The versions that are in the index again: their restorer died before it was done."""
        where = In(("id",), tuple(body["id"] for body in instances))
        found = await self._documents.query(
            INDEX.name,
            And((Eq(("type",), shapes.INSTANCE), where)),
            limit=len(instances) + 1,
            partition=pk,
            members=["version"],
        )
        return {body["version"] for body in found}

    async def _is_used(self, pk: str, segment: str) -> bool:
        """Whether an instance of the study still has its metadata or ranges in a segment."""
        for path in _SEGMENTS:
            where = And((Eq(("type",), shapes.INSTANCE), Eq(path, segment)))
            if await self._documents.query(
                INDEX.name, where, limit=1, partition=pk, members=["id"]
            ):
                return True
        return False


def _segments(instances: list[JsonObject]) -> set[str]:
    return {
        place["segment"]
        for body in instances
        for file in shapes.files_of(body)
        for place in (file.get("metadata") or {}, file.get("ranges") or {})
        if "segment" in place
    }

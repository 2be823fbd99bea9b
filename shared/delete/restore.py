"""Undelete: bring back what was deleted, until its retention time is over.

A tombstone holds the deleted documents, and its files are still there. Restoring first puts off
the tombstone's end, then commits the instances as a store does, then takes them from the
tombstone. A process that dies in between leaves instances that are back and still in the
tombstone: purging leaves their files alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from shared.errors import InstanceNotFound, OperationRefused
from shared.index import shapes
from shared.index.commit import Committer, Outcome
from shared.index.documents import NewInstance, iso
from shared.index.schema import INDEX
from shared.ports import Blobs, Clock, Delete, Document, Documents, JsonObject, Operation, Replace
from shared.tags.indexing import TagIndexer
from shared.where import And, Eq, Order

_PAGE = 50
_POSTPONED = timedelta(hours=1)
_NOT_DETAILS = frozenset(
    ("id", "pk", "type", "partition", "study", "series", "instance", "version", "q", "d")
)


@dataclass(slots=True)
class Restored:
    """How many instances are back, and how many stay deleted as others have taken their place."""

    restored: int = 0
    replaced: int = 0


class RestoreService:
    """Undelete of one tenant, for operators."""

    def __init__(
        self,
        documents: Documents,
        blobs: Blobs,
        committer: Committer,
        clock: Clock,
        *,
        indexer: TagIndexer | None = None,
    ) -> None:
        self._documents = documents
        self._blobs = blobs
        self._committer = committer
        self._clock = clock
        self._indexer = indexer

    async def restore(
        self, partition: str, study: str, series: str | None = None, instance: str | None = None
    ) -> Restored:
        """Restore what was deleted of a study, a series or an instance, the newest version of each.

        Parameters
        ----------
        partition : str
            Data partition.
        study, series, instance : str
            Normalised UIDs.

        Raises
        ------
        InstanceNotFound
            Nothing below the address was deleted, or it is purged.
        """
        pk = shapes.partition_key(partition, study)
        total = Restored()
        after: list[str] | None = None
        while True:
            page = await self._documents.query(
                INDEX.name,
                And((Eq(("type",), shapes.TOMBSTONE),)),
                order=[Order(("version",), descending=True)],
                limit=_PAGE,
                after=after,
                partition=pk,
                members=["id", "version"],
            )
            for body in page:
                await self._restore_from(pk, body["id"], series, instance, total)
            if len(page) < _PAGE:
                break
            after = [page[-1]["version"]]
        if total.restored and self._indexer is not None:
            # tags may have been added since the deletion
            await self._indexer.catch_up({pk}, 0)
        if not total.restored and not total.replaced:
            raise InstanceNotFound("Nothing deleted is left to be restored.")
        return total

    async def _restore_from(
        self, pk: str, name: str, series: str | None, instance: str | None, total: Restored
    ) -> None:
        tombstone = await self._documents.get(INDEX.name, pk, name)
        if tombstone is None or tombstone.body.get("purging"):
            return
        wanted = [
            body
            for body in tombstone.body["instances"]
            if series in (None, body["series"]) and instance in (None, body["instance"])
        ]
        if not wanted:
            return
        body = {**tombstone.body, "due": iso(self._clock.now() + _POSTPONED)}
        if body["due"] > tombstone.body["due"] and not await self._commit(
            pk, Replace(body, tombstone.etag)
        ):
            return  # it is being purged
        partition = tombstone.body["partition"]
        outcomes = await self._committer.add([_again(each, partition) for each in wanted])
        back: set[str] = set()
        for each, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, Exception):
                raise outcome
            if outcome is Outcome.STORED:
                back.add(each["version"])
        total.restored += len(back)
        total.replaced += len(wanted) - len(back)
        await self._take_out(pk, name, back)

    async def _take_out(self, pk: str, name: str, versions: set[str]) -> None:
        while versions:
            tombstone = await self._documents.get(INDEX.name, pk, name)
            if tombstone is None:
                return
            change = _without(tombstone, versions)
            if isinstance(change, Delete):
                for segment in tombstone.body.get("segments", ()):
                    await self._blobs.delete(segment)  # of a series that is made anew
            if await self._commit(pk, change):
                return

    async def _commit(self, pk: str, operation: Operation) -> bool:
        try:
            await self._documents.commit(INDEX.name, pk, [operation])
        except OperationRefused:
            return False
        return True


def _again(body: JsonObject, partition: str) -> NewInstance:
    details = {name: value for name, value in body.items() if name not in _NOT_DETAILS}
    return NewInstance(shapes.instance_key(body, partition), body["version"], body["d"], details)


def _without(tombstone: Document, versions: set[str]) -> Operation:
    left = [body for body in tombstone.body["instances"] if body["version"] not in versions]
    if not left:
        return Delete(tombstone.body["id"], tombstone.etag)
    body = {
        **tombstone.body,
        "instances": left,
        "versions": [version for each in left for version in shapes.versions_of(each)],
    }
    return Replace(body, tombstone.etag)

"""Studies that expire: a store says when, and the sweep deletes them (spec dicomweb.md §2.1).

The newest store into a study decides. A deletion goes batch by batch, each complete in itself, and
looks at the study's expiry under its ETag before each: a store in between that takes the expiry
away is heeded, and what a killed process left is deleted by the next sweep.
"""

from __future__ import annotations

from shared.index import shapes
from shared.index.documents import iso
from shared.index.partitions import Partitions
from shared.index.removal import Remover
from shared.index.schema import INDEX
from shared.ports import Clock, Documents
from shared.where import And, Eq, Order, Range

_MOST_STUDIES = 100
_MOST_INSTANCES = 5_000


class ExpiryService:
    """Deletes the expired studies of one tenant."""

    def __init__(
        self, documents: Documents, remover: Remover, partitions: Partitions, clock: Clock
    ) -> None:
        self._documents = documents
        self._remover = remover
        self._partitions = partitions
        self._clock = clock

    async def delete_expired(self) -> int:
        """Delete studies that have expired, those first that did so first.

        Returns
        -------
        int
            How many instances were deleted: some 5,000 at most, the rest is left to the next call.
        """
        now = iso(self._clock.now())
        expired = await self._documents.query(
            INDEX.name,
            And((Eq(("type",), shapes.STUDY), Range(("due",), low="", high=now))),
            order=[Order(("due",))],
            limit=_MOST_STUDIES,
            members=["partition", "study"],
        )
        deleted = 0
        for body in expired:
            partition = await self._partitions.resolve(body["partition"], create=False)
            deleted += await self._remover.remove(
                partition.name, body["study"], due_by=now, most=_MOST_INSTANCES - deleted
            )
            if deleted >= _MOST_INSTANCES:
                break
        return deleted

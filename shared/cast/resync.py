"""The operation that brings every study of a tenant up to date, whatever the feed says.

First each study of the archive, then each ImagingStudy of ours in FHIR that the archive lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.cast.dispatch import Dispatcher
from shared.cast.failures import CastTrouble
from shared.cast.resources import STUDY_SYSTEM, is_own, oid
from shared.cast.sync import StudySync
from shared.cast.worker import message_of
from shared.errors import Unavailable
from shared.index import shapes
from shared.index.partitions import Partitions
from shared.index.schema import INDEX
from shared.operations.models import Status, Step, Work
from shared.ports import Documents, JsonObject
from shared.where import Eq, Order

RESYNC = "fhir-resync"

_PAGE = 200
_NEWEST_FIRST = (Order(("version",), descending=True), Order(("id",)))


class Pages(Protocol):
    """The part of a FHIR client that lists."""

    async def page(
        self, kind: str, query: Sequence[tuple[str, str]] = (), *, after: str | None = None
    ) -> tuple[list[JsonObject], str | None]:
        """A page of resources, and what gives the next one."""
        ...


class Resync:
    """The operation ``fhir-resync`` of one tenant."""

    def __init__(
        self,
        tenant: str,
        documents: Documents,
        *,
        partitions: Partitions,
        dispatcher: Dispatcher,
        sync: StudySync,
        fhir: Pages,
    ) -> None:
        self._tenant = tenant
        self._documents = documents
        self._partitions = partitions
        self._dispatcher = dispatcher
        self._sync = sync
        self._fhir = fhir

    async def step(self, work: Work) -> Step:
        """Send messages for a page of studies."""
        if "next" in work.checkpoint:
            return await self._look_at_fhir(work)
        return await self._look_at_archive(work)

    async def end(self, work: Work, status: Status) -> None:
        """Nothing to put away."""

    async def _look_at_archive(self, work: Work) -> Step:
        page = await self._documents.query(
            INDEX.name,
            Eq(("type",), shapes.STUDY),
            order=_NEWEST_FIRST,
            limit=_PAGE,
            after=work.checkpoint.get("after"),
            members=["id", "version", "partition", "study"],
        )
        spelled = {one.folded: one.name async for one in self._partitions.list()}
        await self._dispatcher.send(
            [
                message_of(self._tenant, spelled.get(one["partition"], ""), one["study"])
                for one in page
            ]
        )
        results = {**work.results, "studies": work.results.get("studies", 0) + len(page)}
        if len(page) < _PAGE:
            return Step({"next": None, "seen": ""}, results)
        return Step({"after": [page[-1]["version"], page[-1]["id"]]}, results)

    async def _look_at_fhir(self, work: Work) -> Step:
        """A page of what FHIR has: of one partition after the other, by their endpoints."""
        partitions = sorted([one.name async for one in self._partitions.list()], key=str.lower)
        left = [one for one in partitions if one.lower() >= work.checkpoint["seen"]]
        source = self._sync.address(left[0])
        try:
            found, following = await self._fhir.page(
                "ImagingStudy",
                [("_source", source), ("_count", str(_PAGE))],
                after=work.checkpoint["next"],
            )
        except CastTrouble as trouble:
            raise Unavailable from trouble
        gone = [
            study
            for one in found
            if is_own(one, source)
            and (study := _uid(one)) is not None
            and await self._is_gone(left[0], study)
        ]
        await self._dispatcher.send([message_of(self._tenant, left[0], one) for one in gone])
        results = {**work.results, "notInArchive": work.results.get("notInArchive", 0) + len(gone)}
        if following is not None:
            return Step({"next": following, "seen": left[0].lower()}, results)
        if len(left) == 1:
            return Step(work.checkpoint, results, 100, done=True)
        return Step({"next": None, "seen": left[1].lower()}, results)

    async def _is_gone(self, partition: str, study: str) -> bool:
        pk = shapes.partition_key(partition, study)
        return await self._documents.get(INDEX.name, pk, shapes.study_id(study)) is None


def _uid(resource: JsonObject) -> str | None:
    prefix = oid("")
    for identifier in resource.get("identifier", []):
        value = str(identifier.get("value", ""))
        if identifier.get("system") == STUDY_SYSTEM and value.startswith(prefix):
            return value.removeprefix(prefix)
    return None

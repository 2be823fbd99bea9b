"""Which files an export has, some at a time (spec operations.md §4.2).

A source gives *wanted* things: a study, a series, an instance, each with a place in the source's
own order. Studies and series are expanded to their instances. A cursor says where to go on::

    after    place of the last wanted thing that is done with; absent at the beginning
    within   a wanted thing that is half done, and the place of its last instance
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from shared.export.models import File, Missing
from shared.index import shapes
from shared.index.schema import INDEX
from shared.ports import Documents, Json, JsonObject
from shared.where import And, Eq, Order, Where

MEMBERS = ("series", "instance", "version", "blob", "size", "sha256")

_ORDER = (Order(("series",)), Order(("version",)))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that is to be exported.

    Parameters
    ----------
    place : Json
        Where it stands in its source.
    study, series : str
        UIDs, normalised; an empty one: the level above as a whole.
    file : File or None
        The file, where the source knows it: there is exactly this one.
    identifier : str
        As the caller wrote it; empty: nothing is said if nothing is there.
    """

    place: Json
    study: str
    series: str = ""
    file: File | None = None
    identifier: str = ""


class Source(Protocol):
    """A source of wanted things, in an order that stays."""

    async def wanted(self, after: Json, limit: int) -> list[Wanted]:
        """What comes after a place (``None``: from the beginning), at most ``limit``.

        None at all: that is the end.
        """
        ...


@dataclass(slots=True)
class Plan:
    """A plan that grows: at most ``files`` entries and, but for the last one, ``size`` bytes."""

    files: int
    size: int
    cursor: JsonObject
    entries: list[File | Missing] = field(default_factory=list)
    ended: bool = False

    @property
    def room(self) -> int:
        """How many more entries it takes."""
        return self.files - len(self.entries) if self.size > 0 else 0

    def add(self, entry: File | Missing) -> None:
        """Take an entry in."""
        self.entries.append(entry)
        self.size -= entry.size if isinstance(entry, File) else 0


class Planner:
    """Plans of one tenant's data partition, from a source."""

    def __init__(self, documents: Documents, source: Source, partition: str) -> None:
        self._documents = documents
        self._source = source
        self._partition = partition

    async def fill(self, plan: Plan) -> None:
        """Fill a plan from its cursor on, and move that."""
        half_done = plan.cursor.get("within")
        if half_done is not None:
            wanted = Wanted(half_done["place"], half_done["study"], half_done["series"])
            await self._expand(plan, wanted, half_done["at"])
        while plan.room and not plan.ended:
            found = await self._source.wanted(plan.cursor.get("after"), plan.room)
            plan.ended = not found
            for wanted in found:
                if not plan.room:
                    break
                await self._take(plan, wanted)

    async def _take(self, plan: Plan, wanted: Wanted) -> None:
        if wanted.file is not None:
            plan.add(wanted.file)
            plan.cursor = {"after": wanted.place}
        elif wanted.identifier.count("/") == 2:
            plan.add(Missing(wanted.identifier))
            plan.cursor = {"after": wanted.place}
        else:
            await self._expand(plan, wanted, None)

    async def _expand(self, plan: Plan, wanted: Wanted, at: list[str] | None) -> None:
        """Take the instances of a study or series, as far as there is room."""
        terms: list[Where] = [Eq(("type",), shapes.INSTANCE)]
        if wanted.series:
            terms.append(Eq(("series",), wanted.series))
        while plan.room:
            limit = plan.room
            page = await self._documents.query(
                INDEX.name,
                And(tuple(terms)),
                order=_ORDER,
                limit=limit,
                after=at,
                partition=shapes.partition_key(self._partition, wanted.study),
                members=MEMBERS,
            )
            if not page and at is None and wanted.identifier:
                plan.add(Missing(wanted.identifier))
            taken = 0
            for body in page:
                if not plan.room:
                    break
                plan.add(File.from_json(body))
                at = [body["series"], body["version"]]
                taken += 1
            if taken == len(page) < limit:
                plan.cursor = {"after": wanted.place}
                return
        plan.cursor = {
            **{name: plan.cursor[name] for name in ("after",) if name in plan.cursor},
            "within": {
                "place": wanted.place, "study": wanted.study, "series": wanted.series, "at": at,
            },
        }  # fmt: skip

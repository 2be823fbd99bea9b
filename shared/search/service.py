"""Search: one query of the index a page, whatever the level (PS3.18 10.6, architecture §5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.dicom import attributes as dicom
from shared.index import shapes
from shared.index.schema import INDEX
from shared.ports import Blobs, Documents, JsonObject
from shared.search.matching import conditions
from shared.search.results import MEMBERS, plan
from shared.search.sources import Sources
from shared.telemetry import traced
from shared.web.query import Scope, SearchQuery, continuation
from shared.where import And, Eq, Order, Range, Where

_NEWEST_FIRST = (Order(("version",), descending=True), Order(("id",)))


@dataclass(frozen=True, slots=True)
class Page:
    """A page of results.

    Parameters
    ----------
    rows : list of JsonObject
        Data sets in the DICOM JSON model.
    continuation : str, optional
        Where the next page begins; absent on the last one.
    total : int, optional
        How many results there are on all pages together, if that was asked for.
    """

    rows: list[JsonObject]
    continuation: str | None = None
    total: int | None = None


class SearchService:
    """The search transactions of one tenant."""

    def __init__(self, documents: Documents, blobs: Blobs) -> None:
        self._documents = documents
        self._blobs = blobs

    @traced("search")
    async def search(
        self,
        query: SearchQuery,
        scope: Scope,
        *,
        partition: str,
        major: int,
        base_url: str,
        resources_url: str = "",
        study: str | None = None,
        series: str | None = None,
        count: bool = False,
    ) -> Page:
        """One page of results, newest first: studies and series by when they came to be.

        Parameters
        ----------
        query : SearchQuery
            What is asked.
        scope : Scope
            The resource.
        partition : str
            Data partition, in lower case.
        major : int
            Version of the API: says which attributes are returned by default.
        base_url : str
            Absolute address of the partition's resources, for RetrieveURL.
        resources_url : str
            The same for addresses of bulk data.
        study, series : str, optional
            UIDs of the path, normalised.
        count : bool
            Count all results too.

        Returns
        -------
        Page
            Without rows if nothing matches, also for an unknown study.

        Raises
        ------
        MalformedQuery
            A value is malformed; the message names the attribute.

        References
        ----------
        PS3.18 10.6.1, 10.6.3.
        """
        where = _where(query, scope.level, partition, series)
        within = None if study is None else shapes.partition_key(partition, study)
        found = await self._documents.query(
            INDEX.name,
            _from(query.after, where),
            order=_NEWEST_FIRST,
            limit=query.limit + 1,  # one more tells whether there is a next page
            after=query.after,
            skip=query.offset,
            partition=within,
            members=MEMBERS,
        )
        bodies, more = found[: query.limit], len(found) > query.limit
        total = None
        if count:
            total = await self._documents.count(INDEX.name, where, partition=within)
        made_of = plan(query, scope, major=major)
        sources = Sources(self._documents, self._blobs, partition=partition)
        above = await sources.above(bodies, made_of.above)
        metadata = await sources.metadata(bodies, made_of.read, resources_url)
        rows = [
            made_of.row(body, base_url, ancestors, read)
            for body, ancestors, read in zip(bodies, above, metadata, strict=True)
        ]
        last = bodies[-1] if more else None
        return Page(rows, continuation(last["version"], last["id"]) if last else None, total)

    def require_sensible(self, query: SearchQuery) -> None:
        """Refuse a query whose values cannot be understood.

        Raises
        ------
        MalformedQuery
            A value is malformed; the message names the attribute.
        """
        conditions(query)

    async def find(
        self,
        query: SearchQuery,
        scope: Scope,
        *,
        partition: str,
        study: str | None,
        series: str | None,
        after: Sequence[str] | None,
        limit: int,
        members: Sequence[str],
    ) -> list[JsonObject]:
        """Documents that a search finds, in its order, for other use cases than answers.

        Parameters
        ----------
        after : Sequence of str, optional
            Version and id of the last document of the page before.
        limit : int
            Most documents.
        members : Sequence of str
            What of them is wanted.
        """
        at = None if after is None else (after[0], after[1])
        return await self._documents.query(
            INDEX.name,
            _from(at, _where(query, scope.level, partition, series)),
            order=_NEWEST_FIRST,
            limit=limit,
            after=at,
            partition=None if study is None else shapes.partition_key(partition, study),
            members=members,
        )


def _where(query: SearchQuery, level: dicom.Level, partition: str, series: str | None) -> Where:
    terms: list[Where] = [Eq(("type",), level), Eq(("partition",), partition)]
    if series is not None:
        terms.append(Eq(("series",), series))
    return And((*terms, *conditions(query)))


def _from(after: tuple[str, str] | None, where: Where) -> Where:
    """``where`` with a range that an index can seek, so that a page far behind costs no more."""
    return where if after is None else And((where, Range(("version",), high=after[0])))

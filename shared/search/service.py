"""Search: one query of the index a page, whatever the level (PS3.18 10.6, architecture §5)."""

from __future__ import annotations

from shared.dicom import attributes as dicom
from shared.index import shapes
from shared.index.schema import INDEX
from shared.ports import Documents, JsonObject
from shared.search.matching import predicate
from shared.search.results import MEMBERS, row_maker
from shared.web.query import Scope, SearchQuery
from shared.where import And, Eq, Order, Where

_NEWEST_FIRST = (Order(("version",), descending=True), Order(("id",)))


class SearchService:
    """The search transactions of one tenant."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def search(
        self,
        query: SearchQuery,
        scope: Scope,
        *,
        partition: str,
        major: int,
        base_url: str,
        study: str | None = None,
        series: str | None = None,
    ) -> list[JsonObject]:
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
        study, series : str, optional
            UIDs of the path, normalised.

        Returns
        -------
        list of JsonObject
            Data sets in the DICOM JSON model; none if nothing matches, also for an unknown study.

        Raises
        ------
        MalformedQuery
            A value is malformed; the message names the attribute.

        References
        ----------
        PS3.18 10.6.1, 10.6.3.
        """
        row = row_maker(query, scope, major=major, base_url=base_url)
        found = await self._documents.query(
            INDEX.name,
            _where(query, scope.level, partition, series),
            order=_NEWEST_FIRST,
            limit=query.limit,
            skip=query.offset,
            partition=None if study is None else shapes.partition_key(partition, study),
            members=MEMBERS,
        )
        return [row(body) for body in found]


def _where(query: SearchQuery, level: dicom.Level, partition: str, series: str | None) -> Where:
    terms: list[Where] = [Eq(("type",), level), Eq(("partition",), partition)]
    if series is not None:
        terms.append(Eq(("series",), series))
    for wanted in query.filters:
        matches = predicate(wanted, fuzzy=query.fuzzy)
        if matches is not None:
            terms.append(matches)
    return And(tuple(terms))

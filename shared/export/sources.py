"""The sources of exports: identifiers, all that a search finds, all that changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable
from typing import TypeVar
from urllib.parse import parse_qsl

from shared.dicom import uid
from shared.errors import MalformedQuery, MalformedRequest
from shared.export.models import File
from shared.export.planning import MEMBERS, Planner, Source, Wanted
from shared.export.request import CHANGES, IDENTIFIERS
from shared.feed.reader import ChangeFeed
from shared.index import shapes
from shared.index.schema import INDEX
from shared.ports import Documents, Json, JsonObject
from shared.search.service import SearchService
from shared.web import query as scopes
from shared.web.query import Scope, SearchQuery, parse_search_query

_T = TypeVar("_T")
_AT_ONCE = 16
_ENTRIES = 500
_MOST_EXPANDED = 20  # studies and series at a time: a few of them fill a plan
_RESOURCE = re.compile(
    r"/?(?:studies(?:/(?P<study>[0-9.]{1,64})(?:/series/(?P<series>[0-9.]{1,64}))?)?/)?"
    r"(?P<of>studies|series|instances)"
)
_PAGED = ("limit", "offset", "continuation")
_SCOPES = {
    ("studies", 0): scopes.STUDIES,
    ("series", 0): scopes.SERIES,
    ("instances", 0): scopes.INSTANCES,
    ("series", 1): scopes.SERIES_OF_STUDY,
    ("instances", 1): scopes.INSTANCES_OF_STUDY,
    ("instances", 2): scopes.INSTANCES_OF_SERIES,
}


class Sources:
    """The sources of one tenant."""

    def __init__(self, documents: Documents, search: SearchService, feed: ChangeFeed) -> None:
        self._documents = documents
        self._search = search
        self._feed = feed

    async def fixed(self, source: JsonObject) -> JsonObject:
        """A source as it is kept: checked, and with an end where it has none.

        Raises
        ------
        MalformedRequest, MalformedQuery
            The search is not one.
        """
        match source["type"]:
            case "search":
                _Search(self._search, "", source["query"])
            case "changes":
                return {**source, "through": await self._feed.last_sequence()}
        return source

    def planner(self, source: JsonObject, partition: str) -> Planner:
        """A planner of a data partition for a source that ``fixed`` gave."""
        return Planner(self._documents, self._source(source, partition), partition)

    def _source(self, source: JsonObject, partition: str) -> Source:
        if source["type"] == IDENTIFIERS:
            return _Identifiers(self._documents, partition, source["values"])
        if source["type"] == CHANGES:
            return _Changes(self._documents, self._feed, partition, source)
        return _Search(self._search, partition, source["query"])


class _Identifiers:
    """A place is the number of the identifier."""

    def __init__(self, documents: Documents, partition: str, values: list[str]) -> None:
        self._documents = documents
        self._partition = partition
        self._values = values

    async def wanted(self, after: Json, limit: int) -> list[Wanted]:
        first = 0 if after is None else after + 1
        numbers = range(first, min(first + limit, len(self._values)))
        return await _at_once(self._one(number) for number in numbers)

    async def _one(self, number: int) -> Wanted:
        identifier = self._values[number]
        study, series, instance = [
            *(uid.normalised(each) for each in identifier.split("/")), "", "",
        ][:3]  # fmt: skip
        file = None
        if instance:
            body = await _document(self._documents, self._partition, study, series, instance)
            file = None if body is None else File.from_json(body)
        return Wanted(number, study, series, file, identifier)


class _Search:
    """A place is that of a search result: version and id. What is stored meanwhile is not found."""

    def __init__(self, search: SearchService, partition: str, text: str) -> None:
        self._search = search
        self._partition = partition
        self._scope, self._study, self._series, self._query = _parsed(text)
        search.require_sensible(self._query)

    async def wanted(self, after: Json, limit: int) -> list[Wanted]:
        of_instances = self._scope.level == "instance"
        found = await self._search.find(
            self._query,
            self._scope,
            partition=self._partition,
            study=self._study,
            series=self._series,
            after=after,
            limit=limit if of_instances else min(limit, _MOST_EXPANDED),
            members=["id", "study", *MEMBERS],
        )
        return [
            Wanted(
                [body["version"], body["id"]],
                body["study"],
                body.get("series", ""),
                File.from_json(body) if of_instances else None,
            )
            for body in found
        ]


class _Changes:
    """A place is a sequence number.

    Of several entries of one instance the last one counts, and only if its file is still the
    instance's: if it changed after the export's end, the next export has it.
    """

    def __init__(
        self, documents: Documents, feed: ChangeFeed, partition: str, source: JsonObject
    ) -> None:
        self._documents = documents
        self._feed = feed
        self._partition = partition
        self._after, self._through = source["after"], source["through"]

    async def wanted(self, after: Json, limit: int) -> list[Wanted]:
        last = self._after if after is None else after
        while last < self._through:
            high = min(last + _ENTRIES, self._through)
            entries = [
                entry
                for entry in await self._feed.entries(last, high)
                if entry["partition"].lower() == self._partition
            ]
            found = await _at_once(self._one(entry) for entry in entries)
            current = [wanted for wanted in found if wanted is not None]
            if current:
                return current[:limit]
            last = high
        return []

    async def _one(self, entry: JsonObject) -> Wanted | None:
        uids = entry["study"], entry["series"], entry["instance"]
        body = await _document(self._documents, self._partition, *uids)
        if body is None or body["version"] != entry["version"] or entry["action"] == "Delete":
            return None
        return Wanted(entry["sequence"], entry["study"], entry["series"], File.from_json(body))


def _parsed(text: str) -> tuple[Scope, str | None, str | None, SearchQuery]:
    """A search as in its address: resource and query."""
    resource, _, query = text.partition("?")
    found = _RESOURCE.fullmatch(resource)
    uids = [each for each in (found["study"], found["series"]) if each] if found else []
    scope = _SCOPES.get((found["of"], len(uids))) if found else None
    if scope is None or not all(uid.is_valid(each) for each in uids):
        raise MalformedRequest(
            "source.settings.query must be a search as in its address: 'studies?PatientID=…'."
        )
    scopes.require_harmless(query)
    items = parse_qsl(query, keep_blank_values=True)
    for name, _ in items:
        if name.lower() in _PAGED:
            raise MalformedQuery(f"Invalid query: {name}: an export has all results.")
    study, series = [*uids, None, None][:2]
    return scope, study, series, parse_search_query(items, scope, most=scopes.DEFAULT_LIMIT)


async def _document(
    documents: Documents, partition: str, study: str, series: str, instance: str
) -> JsonObject | None:
    pk = shapes.partition_key(partition, study)
    found = await documents.get(INDEX.name, pk, shapes.instance_id(series, instance))
    return None if found is None else found.body


async def _at_once(calls: Iterable[Coroutine[None, None, _T]]) -> list[_T]:
    """Some calls at the same time, their answers in order."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(call: Coroutine[None, None, _T]) -> _T:
        async with room:
            return await call

    return list(await asyncio.gather(*map(one, calls)))

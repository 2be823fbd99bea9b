"""Search (PS3.18 10.6): studies, series, instances."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._catalogue import SEARCH
from functions._http import Call, dicom_json, dicom_xml, dicomweb, path_uid, wants_xml
from shared.dicom.native_xml import document
from shared.ports import JsonObject
from shared.search.paging import page_headers, wants_count
from shared.tags.search import search_keys
from shared.web import query as scopes
from shared.web.query import (
    ExtendedKeys,
    Scope,
    SearchQuery,
    names_unknown_attribute,
    parse_search_query,
    require_harmless,
)

bp = func.Blueprint()

_COLLECTIONS = {"study": "studies", "series": "series", "instance": "instances"}


@dicomweb(bp, "search_studies", "studies", "GET", doc=SEARCH)
async def search_studies(req: Request, call: Call) -> Response:
    """All studies."""
    return await _search(req, call, scopes.STUDIES)


@dicomweb(bp, "search_series", "series", "GET", doc=SEARCH)
async def search_series(req: Request, call: Call) -> Response:
    """All series."""
    return await _search(req, call, scopes.SERIES)


@dicomweb(bp, "search_instances", "instances", "GET", doc=SEARCH)
async def search_instances(req: Request, call: Call) -> Response:
    """All instances."""
    return await _search(req, call, scopes.INSTANCES)


@dicomweb(bp, "search_series_of_study", "studies/{study}/series", "GET", doc=SEARCH)
async def search_series_of_study(req: Request, call: Call) -> Response:
    """The series of a study."""
    return await _search(req, call, scopes.SERIES_OF_STUDY)


@dicomweb(bp, "search_instances_of_study", "studies/{study}/instances", "GET", doc=SEARCH)
async def search_instances_of_study(req: Request, call: Call) -> Response:
    """The instances of a study."""
    return await _search(req, call, scopes.INSTANCES_OF_STUDY)


@dicomweb(
    bp, "search_instances_of_series", "studies/{study}/series/{series}/instances", "GET", doc=SEARCH
)
async def search_instances_of_series(req: Request, call: Call) -> Response:
    """The instances of a series."""
    return await _search(req, call, scopes.INSTANCES_OF_SERIES)


async def _search(req: Request, call: Call, scope: Scope) -> Response:
    xml = wants_xml(req)
    require_harmless(req.url.query)
    parameters = req.query_params.multi_items()
    extended = ExtendedKeys()
    if names_unknown_attribute(parameters):
        extended = search_keys((await call.tenant.tags.registry.read()).entries)
    query = parse_search_query(parameters, scope, most=call.limits.search_limit, extended=extended)
    uids: dict[str, str] = {
        name: path_uid(req, name) for name in ("study", "series") if name in req.path_params
    }
    page = await call.tenant.search.search(
        query,
        scope,
        partition=call.partition.folded,
        major=call.major,
        base_url=call.base_url,
        resources_url=call.resources_url,
        count=wants_count(req.headers.getlist("prefer")),
        **uids,
    )
    headers = page_headers(page, query, _address(call, scope, uids), parameters, call.base_url)
    headers |= await _erroneous(call, query)
    if not page.rows:
        return Response(status_code=204, headers=headers)
    if xml:
        return dicom_xml(_documents(page.rows), headers)
    return dicom_json(page.rows, headers=headers)


async def _erroneous(call: Call, query: SearchQuery) -> dict[str, str]:
    """The header that names tags whose values the index has not all (tags spec §8)."""
    names = [each.name for each in query.filters if each.key.stored_as]
    if not names:
        return {}
    entries = {entry.key: entry for entry in (await call.tenant.tags.registry.known()).entries}
    wrong = [
        each.name
        for each in query.filters
        if (entry := entries.get(each.key.stored_as)) is not None
        and entry.has_errors
        and await call.tenant.tag_errors.count(entry)
    ]
    return {"erroneous-dicom-attributes": ",".join(wrong)} if wrong else {}


async def _documents(rows: list[JsonObject]) -> AsyncIterator[bytes]:
    for row in rows:
        yield document(row)


def _address(call: Call, scope: Scope, uids: Mapping[str, str]) -> str:
    """The public address of the resource, which need not be the one that the request came to."""
    within = "".join(f"/{_COLLECTIONS[name]}/{uid}" for name, uid in uids.items())
    return f"{call.base_url}{within}/{_COLLECTIONS[scope.level]}"

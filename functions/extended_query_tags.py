"""Extended query tags (spec extended-query-tags.md)."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._body import JSON, json_body
from functions._catalogue import Doc
from functions._http import Call, dicomweb
from functions._query import whole_number
from functions.operations import accepted, address, already_running, service_url
from shared.errors import MalformedRequest, OperationRunning
from shared.operations.reindex import start_adding
from shared.ports import JsonObject
from shared.tags.models import ExtendedTag, Status
from shared.tags.requests import entries_of, query_status_of, tag_of_path

bp = func.Blueprint()

_COLLECTION = "extendedquerytags"
_TAG = _COLLECTION + "/{tag}"
_PAGE = ("limit", "offset")
_MOST_BODY = 256 * 1024
_MOST_LISTED = 200


@dicomweb(
    bp,
    "add_extended_query_tags",
    _COLLECTION,
    "POST",
    partitioned=False,
    doc=Doc((202, 400, 409, 415), (JSON,), (JSON,)),
)
async def add_extended_query_tags(req: Request, call: Call) -> Response:
    """Make attributes searchable, also in what is stored already."""
    entries = entries_of(await json_body(req, _MOST_BODY))
    tenant = call.tenant
    try:
        return accepted(call, await start_adding(tenant.operations, tenant.tags, entries))
    except OperationRunning as running:
        return already_running(call, running)


@dicomweb(
    bp,
    "list_extended_query_tags",
    _COLLECTION,
    "GET",
    partitioned=False,
    doc=Doc((200, 400), (JSON,), query=_PAGE),
)
async def list_extended_query_tags(req: Request, call: Call) -> Response:
    """The extended query tags, in the order in which they were added."""
    limit, offset = _page(req)
    entries = (await call.tenant.tags.registry.read()).entries[offset : offset + limit]
    return JSONResponse([await _shown(call, entry) for entry in entries])


@dicomweb(
    bp,
    "retrieve_extended_query_tag",
    _TAG,
    "GET",
    partitioned=False,
    doc=Doc((200, 400, 404), (JSON,)),
)
async def retrieve_extended_query_tag(req: Request, call: Call) -> Response:
    """One extended query tag."""
    return JSONResponse(await _shown(call, await call.tenant.tags.registry.get(_tag(req))))


@dicomweb(
    bp,
    "update_extended_query_tag",
    _TAG,
    "PATCH",
    partitioned=False,
    doc=Doc((200, 400, 404, 415), (JSON,), (JSON,)),
)
async def update_extended_query_tag(req: Request, call: Call) -> Response:
    """Let an extended query tag be searched by, or not."""
    tag = _tag(req)
    body = await json_body(req, _MOST_BODY)
    if not isinstance(body, dict):
        raise MalformedRequest("The body must be a JSON object.")
    entry = await call.tenant.tags.registry.set_query_status(tag, query_status_of(body))
    return JSONResponse(await _shown(call, entry))


@dicomweb(
    bp,
    "delete_extended_query_tag",
    _TAG,
    "DELETE",
    partitioned=False,
    doc=Doc((204, 400, 404)),
)
async def delete_extended_query_tag(req: Request, call: Call) -> Response:
    """Delete an extended query tag and its values in the index."""
    await call.tenant.tags.registry.delete(_tag(req))
    return Response(status_code=204)


@dicomweb(
    bp,
    "list_extended_query_tag_errors",
    _TAG + "/errors",
    "GET",
    partitioned=False,
    doc=Doc((200, 400, 404), (JSON,), query=_PAGE),
)
async def list_extended_query_tag_errors(req: Request, call: Call) -> Response:
    """What was found invalid when stored instances were indexed by a tag."""
    limit, offset = _page(req)
    entry = await call.tenant.tags.registry.get(_tag(req))
    errors = await call.tenant.tag_errors.page(entry, limit=limit, offset=offset)
    return JSONResponse(errors)


async def _shown(call: Call, entry: ExtendedTag) -> JsonObject:
    """A tag as callers see it (spec §2)."""
    url = f"{service_url(call)}/{_COLLECTION}/{entry.path}"
    shown: JsonObject = {"path": entry.path, "vr": entry.vr}
    if entry.creator is not None:
        shown["privateCreator"] = entry.creator
    shown |= {
        "level": entry.level,
        "status": entry.status.value,
        "queryStatus": entry.query_status.value,
    }
    if entry.has_errors:
        count = await call.tenant.tag_errors.count(entry)
        if count:
            shown["errors"] = {"count": count, "href": f"{url}/errors"}
    if entry.status is Status.ADDING and entry.operation is not None:
        shown["operation"] = {"id": entry.operation, "href": address(call, entry.operation)}
    return shown


def _tag(req: Request) -> int:
    return tag_of_path(str(req.path_params["tag"]))


def _page(req: Request) -> tuple[int, int]:
    return (
        whole_number(req.query_params, "limit", 100, least=1, most=_MOST_LISTED),
        whole_number(req.query_params, "offset", 0, least=0, most=2**31 - 1),
    )

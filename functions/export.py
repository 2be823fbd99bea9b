"""Export of stored files to a container of the caller's (spec operations.md §4)."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._body import JSON, json_object
from functions._catalogue import Doc
from functions._http import Call, dicomweb
from functions.operations import accepted
from shared.errors import RouteNotFound

bp = func.Blueprint()

_PRERELEASE = "1.0-prerelease"
_MOST_BODY = 512 * 1024  # it is part of a document that each step writes anew


@dicomweb(bp, "export", "export", "POST", doc=Doc((202, 400, 404, 415), (JSON,), (JSON,)))
async def export(req: Request, call: Call) -> Response:
    """Copy stored files to a container of the caller's."""
    if call.version == _PRERELEASE or call.tenant.export is None:
        raise RouteNotFound("There is no export here.")
    body = await json_object(req, _MOST_BODY)
    return accepted(call, await call.tenant.export.start(body, call.partition.folded))

"""What no other trigger answers: ``OPTIONS``, and paths or methods that are not there.

One function takes every path, so that these answers are the same on every host, and preflights
need no trigger for each route. Its name sorts after all others: the host in Azure tries functions
in the order of their names.
"""

from __future__ import annotations

import re

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions import _catalogue
from functions._http import accept, respond
from functions._openapi import capabilities, wadl
from shared.container import services
from shared.errors import InvalidPartitionName, NotAcceptable, RouteNotFound
from shared.web.media_types import JSON, accepts

bp = func.Blueprint()

WADL = "application/vnd.sun.wadl+xml"
_ROOT = re.compile(r"/[^/]+/v(?P<major>[12])(?:\.0-prerelease)?/?")
_NO_PARTITION = re.compile(r"/[^/]+/v[12][^/]*/partitions//.*")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@bp.function_name("z_fallback")
@bp.route(
    route="{*path}",
    methods=[func.HttpMethod[method] for method in _METHODS],
    auth_level=func.AuthLevel.ANONYMOUS,
)
async def fallback(req: Request) -> Response:
    """Answer ``OPTIONS``; else 405 or 404."""
    return await respond("z_fallback", req, lambda: _answer(req))


async def _answer(req: Request) -> Response:
    root = _ROOT.fullmatch(req.url.path)
    preflight = "access-control-request-method" in req.headers
    if req.method == "OPTIONS" and root is not None and not preflight:
        return await _capabilities(req, root["major"])
    if _NO_PARTITION.fullmatch(req.url.path):
        raise InvalidPartitionName("The partition has no name.")
    allowed = ["OPTIONS"] if root is not None else _catalogue.allowed(req.url.path)
    if not allowed or (req.method in allowed and req.method != "OPTIONS"):
        # also what looks like a route and is none, as a segment of dots
        raise RouteNotFound("The path names no resource.")
    headers = {"Allow": ", ".join(allowed)}
    if req.method != "OPTIONS":
        return Response(status_code=405, headers=headers)
    if preflight:
        headers |= (await services()).settings.cross_origin.preflight(
            req.headers.get("origin"),
            allowed,
            asked_headers=req.headers.get("access-control-request-headers"),
            private_network=req.headers.get("access-control-request-private-network") == "true",
        )
    return Response(status_code=204, headers=headers)


async def _capabilities(req: Request, major: str) -> Response:
    """What the service has (PS3.18 8.9): WADL, or JSON if ``Accept`` prefers it."""
    base_url = (await services()).settings.public_base_url
    found = capabilities(f"{base_url}{req.url.path.rstrip('/')}", int(major))
    headers = {"Allow": "OPTIONS", "Vary": "Accept"}
    if accepts(accept(req), WADL):
        return Response(wadl(found), headers=headers, media_type=WADL)
    if accepts(accept(req), JSON):
        return JSONResponse(found, headers=headers)
    raise NotAcceptable(f"The answer is {WADL} or {JSON}; Accept does not allow it.")

"""What no other trigger answers: ``OPTIONS``, and paths or methods that are not there.

One function takes every path, so that these answers are the same on every host, and preflights
need no trigger for each route. Its name sorts after all others: the host in Azure tries functions
in the order of their names.
"""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions import _catalogue
from functions._http import respond
from shared.container import services
from shared.errors import RouteNotFound

bp = func.Blueprint()

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
    allowed = _catalogue.allowed(req.url.path)
    if not allowed:
        raise RouteNotFound("The path names no resource.")
    headers = {"Allow": ", ".join(allowed)}
    if req.method != "OPTIONS":
        return Response(status_code=405, headers=headers)
    if "access-control-request-method" in req.headers:
        headers |= (await services()).settings.cross_origin.preflight(
            req.headers.get("origin"),
            allowed,
            asked_headers=req.headers.get("access-control-request-headers"),
            private_network=req.headers.get("access-control-request-private-network") == "true",
        )
    return Response(status_code=204, headers=headers)

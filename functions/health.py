"""Health: whether the stores answer (spec dicomweb.md §6.1)."""

from __future__ import annotations

import json

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._http import respond
from shared.container import services
from shared.errors import ServiceTrouble

bp = func.Blueprint()


@bp.function_name("health")
@bp.route(route="health/check", methods=[func.HttpMethod.GET], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: Request) -> Response:
    """Answer 200 if the stores answer, 503 if one does not."""
    return await respond("health", req, _check)


async def _check() -> Response:
    details = []
    for name, check in (await services()).checks():
        try:
            await check()
        except ServiceTrouble as trouble:
            details.append({"name": name, "status": "Unhealthy", "description": str(trouble)})
        else:
            details.append({"name": name, "status": "Healthy", "description": "answers"})
    healthy = all(detail["status"] == "Healthy" for detail in details)
    body = {"overallStatus": "Healthy" if healthy else "Unhealthy", "details": details}
    return Response(json.dumps(body), 200 if healthy else 503, media_type="application/json")

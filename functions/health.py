"""Health: whether the stores answer (spec dicomweb.md §6.1)."""

from __future__ import annotations

import json

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._catalogue import Doc
from functions._http import http_trigger, respond, summary_of
from shared.container import services
from shared.errors import ServiceTrouble

bp = func.Blueprint()


async def health(req: Request) -> Response:
    """Answer 200 if the stores answer, 503 if one does not."""
    return await respond("health", req, _check)


http_trigger(
    bp, "health", "health/check", "GET", health,
    summary=summary_of(health), doc=Doc((200, 503), ("application/json",)),
)  # fmt: skip


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

"""The OpenAPI documents (spec dicomweb.md §6.1)."""

from __future__ import annotations

import json

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._catalogue import Doc
from functions._http import SUPPORTED_VERSIONS, http_trigger, respond, summary_of
from functions._openapi import openapi
from shared.container import services
from shared.errors import RouteNotFound

bp = func.Blueprint()


async def api_json(req: Request) -> Response:
    """The API's description in JSON."""
    return await respond("api_json", req, lambda: _document(req, "application/json"))


async def api_yaml(req: Request) -> Response:
    """The API's description in YAML."""
    return await respond("api_yaml", req, lambda: _document(req, "application/yaml"))


async def _document(req: Request, media_type: str) -> Response:
    version = str(req.path_params["document"]).removeprefix("v")
    if version not in SUPPORTED_VERSIONS:
        raise RouteNotFound("The path names no resource.")
    base_url = (await services()).settings.public_base_url
    # JSON is YAML too (YAML 1.2 1.3)
    text = json.dumps(openapi(version, base_url), ensure_ascii=False, indent=1)
    return Response(text, media_type=media_type)


for _trigger, _kind in ((api_json, "json"), (api_yaml, "yaml")):
    http_trigger(
        bp, f"api_{_kind}", f"{{document}}/api.{_kind}", "GET", _trigger,
        summary=summary_of(_trigger), doc=Doc((200, 404), (f"application/{_kind}",)),
    )  # fmt: skip

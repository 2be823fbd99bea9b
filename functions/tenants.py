"""Administration of tenants, for operators of the service (docs/security.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._body import JSON, json_object
from functions._catalogue import Doc
from functions._door import let_in_to_service
from functions._http import http_trigger, respond, summary_of
from shared.auth.tenants import Tenants
from shared.container import services

bp = func.Blueprint()

_MOST_BODY = 64 * 1024
_ONE = "tenants/{tenant}"


async def list_tenants(req: Request, tenants: Tenants) -> Response:
    """All tenants of the service."""
    return JSONResponse(await tenants.list())


async def retrieve_tenant(req: Request, tenants: Tenants) -> Response:
    """One tenant."""
    return JSONResponse(await tenants.get(req.path_params["tenant"]))


async def put_tenant(req: Request, tenants: Tenants) -> Response:
    """Make a tenant, or change its state or whose tokens it takes."""
    body = await json_object(req, _MOST_BODY)
    found, new = await tenants.put(req.path_params["tenant"], body)
    return JSONResponse(found, 201 if new else 200)


async def remove_tenant(req: Request, tenants: Tenants) -> Response:
    """Close a tenant for good; the second time, forget it."""
    found = await tenants.remove(req.path_params["tenant"])
    return Response(status_code=204) if found is None else JSONResponse(found)


def _register(
    handler: Callable[[Request, Tenants], Awaitable[Response]], route: str, method: str, doc: Doc
) -> None:
    # the host in Azure tries functions in the order of their names: before api_json
    name = f"admin_{handler.__name__}"

    async def run(req: Request) -> Response:
        async def work() -> Response:
            await let_in_to_service(name, req)
            return await handler(req, (await services()).administration)

        return await respond(name, req, work)

    run.__name__ = name
    http_trigger(bp, name, route, method, run, summary=summary_of(handler), doc=doc)


_register(list_tenants, "tenants", "GET", Doc((200, 401, 403), (JSON,)))
_register(retrieve_tenant, _ONE, "GET", Doc((200, 401, 403, 404), (JSON,)))
_register(put_tenant, _ONE, "PUT", Doc((200, 201, 400, 401, 403, 409, 415), (JSON,), (JSON,)))
_register(remove_tenant, _ONE, "DELETE", Doc((200, 204, 401, 403, 404, 409), (JSON,)))

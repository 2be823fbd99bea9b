"""Delete (spec dicomweb.md §5) and undelete: studies, series, instances."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._catalogue import DELETE, UNDELETE
from functions._http import Call, dicomweb
from functions.retrieve import address_of
from shared.errors import RouteNotFound

bp = func.Blueprint()


_STUDY = "studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"


@dicomweb(bp, "delete_study", _STUDY, "DELETE", doc=DELETE)
async def delete_study(req: Request, call: Call) -> Response:
    """Delete a study."""
    return await _delete(req, call)


@dicomweb(bp, "delete_series", _SERIES, "DELETE", doc=DELETE)
async def delete_series(req: Request, call: Call) -> Response:
    """Delete a series."""
    return await _delete(req, call)


@dicomweb(bp, "delete_instance", _INSTANCE, "DELETE", doc=DELETE)
async def delete_instance(req: Request, call: Call) -> Response:
    """Delete an instance."""
    return await _delete(req, call)


async def _delete(req: Request, call: Call) -> Response:
    address = address_of(req, call)
    await call.tenant.delete.delete(
        call.partition.name, address.study, address.series, address.instance
    )
    return Response(status_code=204)


@dicomweb(bp, "undelete_study", _STUDY + "/$undelete", "POST", doc=UNDELETE)
async def undelete_study(req: Request, call: Call) -> Response:
    """Bring back what was deleted of a study."""
    return await _undelete(req, call)


@dicomweb(bp, "undelete_series", _SERIES + "/$undelete", "POST", doc=UNDELETE)
async def undelete_series(req: Request, call: Call) -> Response:
    """Bring back what was deleted of a series."""
    return await _undelete(req, call)


@dicomweb(bp, "undelete_instance", _INSTANCE + "/$undelete", "POST", doc=UNDELETE)
async def undelete_instance(req: Request, call: Call) -> Response:
    """Bring back a deleted instance."""
    return await _undelete(req, call)


async def _undelete(req: Request, call: Call) -> Response:
    if call.major < 2:
        raise RouteNotFound("Undelete is part of version 2.")
    address = address_of(req, call)
    done = await call.tenant.restore.restore(
        call.partition.name, address.study, address.series, address.instance
    )
    return JSONResponse({"restored": done.restored, "replaced": done.replaced})

"""Delete (spec dicomweb.md §5): studies, series, instances."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._http import Call, dicomweb
from functions.retrieve import address_of

bp = func.Blueprint()


@dicomweb(bp, "delete_study", "studies/{study}", "DELETE")
async def delete_study(req: Request, call: Call) -> Response:
    """Delete a study."""
    return await _delete(req, call)


@dicomweb(bp, "delete_series", "studies/{study}/series/{series}", "DELETE")
async def delete_series(req: Request, call: Call) -> Response:
    """Delete a series."""
    return await _delete(req, call)


@dicomweb(bp, "delete_instance", "studies/{study}/series/{series}/instances/{instance}", "DELETE")
async def delete_instance(req: Request, call: Call) -> Response:
    """Delete an instance."""
    return await _delete(req, call)


async def _delete(req: Request, call: Call) -> Response:
    address = address_of(req, call)
    await call.tenant.delete.delete(
        call.partition.name, address.study, address.series, address.instance
    )
    return Response(status_code=204)

"""List the data partitions of a tenant (spec partitions-and-security.md §1.3)."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._catalogue import Doc
from functions._http import Call, accept, dicomweb
from shared.errors import NotAcceptable
from shared.web.media_types import JSON, accepts

bp = func.Blueprint()


@dicomweb(
    bp, "list_partitions", "partitions", "GET", partitioned=False, doc=Doc((200, 406), (JSON,))
)
async def list_partitions(req: Request, call: Call) -> Response:
    """The data partitions, in the order of their creation."""
    if not accepts(accept(req), JSON):
        raise NotAcceptable(f"The answer is {JSON}; Accept does not allow it.")
    return JSONResponse(
        [
            {
                "partitionKey": partition.key,
                "partitionName": partition.name,
                "createdDate": partition.created.isoformat() if partition.created else None,
            }
            async for partition in call.tenant.partitions.list()
        ]
    )

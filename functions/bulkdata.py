"""Retrieve bulk data (PS3.18 10.4.1.1.5): the values that metadata names by ``BulkDataURI``."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from functions._catalogue import BULK_DATA
from functions._http import Call, accept, dicomweb
from functions.retrieve import address_of
from shared.retrieve.instances import Address
from shared.web.media_types import OCTET_STREAM
from shared.web.multipart import MultipartWriter, OutgoingPart
from shared.web.negotiation import BULK_DATA_OFFERS, Payload, ranked
from shared.web.ranges import content_range, requested_span

bp = func.Blueprint()


@dicomweb(
    bp,
    "retrieve_bulk_data",
    "studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}",
    "GET",
    doc=BULK_DATA,
)
async def retrieve_bulk_data(req: Request, call: Call) -> Response:
    """One value; of a single part also a range."""
    address = address_of(req, call)
    choice = ranked(accept(req), BULK_DATA_OFFERS)[0]
    path = req.path_params["path"]
    if req.method == "HEAD":
        return await _headers_only(call, address, path, choice.payload)
    span = None
    if choice.payload is Payload.SINGLE and "range" in req.headers:
        size = await call.tenant.retrieve.bulk_data_size(address, path)
        span = requested_span(req.headers["range"], size)
    found = await call.tenant.retrieve.bulk_data(address, path, span)
    if choice.payload is Payload.MULTIPART:
        writer = MultipartWriter(OCTET_STREAM)
        parts = [OutgoingPart(OCTET_STREAM, found.content)]
        length = writer.length([(writer.before(OCTET_STREAM), found.size)])
        return StreamingResponse(
            writer.body(parts),
            headers={"Content-Length": str(length)},
            media_type=writer.content_type,
        )
    headers = {"Content-Length": str(found.span.length), "Accept-Ranges": "bytes"}
    if span is not None:
        headers["Content-Range"] = content_range(found.span, found.size)
    return StreamingResponse(
        found.content, 206 if span is not None else 200, headers, media_type=OCTET_STREAM
    )


async def _headers_only(call: Call, address: Address, path: str, payload: Payload) -> Response:
    size = await call.tenant.retrieve.bulk_data_size(address, path)
    if payload is Payload.MULTIPART:
        writer = MultipartWriter(OCTET_STREAM)
        length = writer.length([(writer.before(OCTET_STREAM), size)])
        headers = {"Content-Length": str(length)}
        return Response(headers=headers, media_type=writer.content_type)
    headers = {"Content-Length": str(size), "Accept-Ranges": "bytes"}
    return Response(headers=headers, media_type=OCTET_STREAM)

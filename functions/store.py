"""Store (PS3.18 10.5): one instance, or many in a multipart body; POST adds, PUT also replaces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from urllib.parse import urlsplit

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._catalogue import STORE
from functions._http import Call, dicom_json, dicomweb, path_uid, wants_xml
from functions._record import note
from shared.dicom.native_xml import document
from shared.errors import PayloadTooLarge
from shared.store.assembly import instances
from shared.store.intake import Destination
from shared.store.response import store_response, store_status
from shared.web.expiry import expires_after
from shared.web.media_types import (
    DICOM_JSON,
    DICOM_XML,
    MultipartBody,
    StoreBody,
    require_dicom_part,
    store_body,
)
from shared.web.multipart import parts

bp = func.Blueprint()


@dicomweb(bp, "store", "studies", "POST", creates_partition=True, doc=STORE)
async def store(req: Request, call: Call) -> Response:
    """Store instances of any studies."""
    return await _store(req, call, None)


@dicomweb(bp, "store_in_study", "studies/{study}", "POST", creates_partition=True, doc=STORE)
async def store_in_study(req: Request, call: Call) -> Response:
    """Store instances of one study."""
    return await _store(req, call, path_uid(req, "study"))


@dicomweb(bp, "upsert", "studies", "PUT", creates_partition=True, doc=STORE)
async def upsert(req: Request, call: Call) -> Response:
    """Store instances of any studies, in place of those that are stored already."""
    return await _store(req, call, None, upsert=True)


@dicomweb(bp, "upsert_in_study", "studies/{study}", "PUT", creates_partition=True, doc=STORE)
async def upsert_in_study(req: Request, call: Call) -> Response:
    """Store instances of one study, in place of those that are stored already."""
    return await _store(req, call, path_uid(req, "study"), upsert=True)


async def _store(req: Request, call: Call, study: str | None, *, upsert: bool = False) -> Response:
    xml = wants_xml(req, multipart=False)
    body = store_body(req.headers.get("content-type"))
    destination = Destination(
        call.partition.name,
        study,
        call.major,
        call.resources_url,
        upsert,
        expires_after(req.headers),
    )
    result = await call.tenant.store.store(_contents(req, call, body), destination)
    note(req, "studies", sorted({row.key.study for row in result.stored}))
    status = store_status(result, call.major)
    if status == 204:
        return Response(status_code=204)
    headers = {}
    if result.several_values:
        host = urlsplit(call.base_url).hostname or "-"
        headers["Warning"] = (
            f'299 {host}: "Of a searchable attribute with several values the first is indexed."'
        )
    answer = store_response(result, major=call.major, base_url=call.base_url, study=study)
    if xml:
        return Response(document(answer), status, headers, media_type=DICOM_XML)
    return dicom_json(answer, status=status, headers=headers)


async def _contents(
    req: Request, call: Call, body: StoreBody
) -> AsyncGenerator[AsyncIterator[bytes], None]:
    stream = _limited(req, call.limits.request_bytes)
    if not isinstance(body, MultipartBody):
        yield stream
        return
    received = parts(stream, body.boundary, max_parts=call.limits.parts)
    if body.part_type == DICOM_JSON:
        async with aclosing(instances(received, call.limits)) as files:
            async for content in files:
                yield content
        return
    index = 0
    async for part in received:
        require_dicom_part(part.headers.get("content-type"), body, index)
        index += 1
        yield part.content


async def _limited(req: Request, most: int) -> AsyncIterator[bytes]:
    """The body as it arrives, up to the limit.

    Raises
    ------
    PayloadTooLarge
        There is more.
    """
    declared = req.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise PayloadTooLarge(f"A request may have at most {most} bytes.")
    size = 0
    async for piece in req.stream():
        size += len(piece)
        if size > most:
            raise PayloadTooLarge(f"A request may have at most {most} bytes.")
        if piece:
            yield piece

"""Retrieve (PS3.18 10.4): studies, series, instances, frames, metadata."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from dataclasses import replace
from typing import TypeVar

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from functions._catalogue import FILE, FILES, FRAMES, METADATA, ORIGINAL_HEADER
from functions._http import Call, accept, dicom_xml, dicomweb, one_piece, path_uid, wants_xml
from shared.errors import InvalidFrameList, MalformedRequest, PayloadTooLarge
from shared.retrieve.instances import Address, StoredFile
from shared.retrieve.service import Delivery
from shared.web.archive import Entry, archive
from shared.web.conditional import entity_tag, not_modified
from shared.web.media_types import DICOM, ZIP
from shared.web.multipart import MultipartWriter, OutgoingPart
from shared.web.negotiation import (
    FRAME_OFFERS,
    INSTANCE_OFFERS,
    STUDY_OFFERS,
    Choice,
    Offer,
    Payload,
    ranked,
)
from shared.web.ranges import content_range, range_applies, requested_span

bp = func.Blueprint()

_T = TypeVar("_T")
_STUDY = "studies/{study}"
_SERIES = "studies/{study}/series/{series}"
_INSTANCE = "studies/{study}/series/{series}/instances/{instance}"


REVALIDATED = {"Cache-Control": "private, no-cache", "Vary": "Accept"}
"""A client may keep what it got, and asks each time whether it still holds (RFC 9111 5.2.2)."""


def is_known(req: Request, etag: str) -> bool:
    """Whether the client has this version already, so that the answer is 304."""
    return not_modified(req.headers.get("if-none-match"), etag)


def address_of(req: Request, call: Call) -> Address:
    """The study, series or instance that the path names."""
    uids = {
        name: path_uid(req, name)
        for name in ("study", "series", "instance")
        if name in req.path_params
    }
    return Address(call.partition.folded, **uids)


@dicomweb(bp, "retrieve_study", _STUDY, "GET", doc=FILES)
async def retrieve_study(req: Request, call: Call) -> Response:
    """All instances of a study."""
    return await _files(req, call, STUDY_OFFERS)


@dicomweb(bp, "retrieve_series", _SERIES, "GET", doc=FILES)
async def retrieve_series(req: Request, call: Call) -> Response:
    """All instances of a series."""
    return await _files(req, call, STUDY_OFFERS)


@dicomweb(bp, "retrieve_instance", _INSTANCE, "GET", doc=FILE)
async def retrieve_instance(req: Request, call: Call) -> Response:
    """One instance."""
    return await _files(req, call, INSTANCE_OFFERS)


async def _files(req: Request, call: Call, offers: tuple[Offer, ...]) -> Response:
    address = address_of(req, call)
    choices = ranked(accept(req), offers)
    choice, deliveries = await call.tenant.retrieve.files(
        address, choices, original=_wants_original(req)
    )
    if choice.media_type == ZIP:
        return await _zip(req, call, address, deliveries)
    if choice.payload is Payload.SINGLE:
        return await single_file(req, call, deliveries[0])
    headers = dict(REVALIDATED)
    if address.instance is not None:
        headers["ETag"] = _file_tag(deliveries[0], weak=True)
        if is_known(req, headers["ETag"]):
            return Response(status_code=304, headers=headers)
    writer = MultipartWriter(DICOM)
    parts = _file_parts(call, deliveries)
    if not any(delivery.is_converted for delivery in deliveries):
        files = [(delivery, delivery.file) for delivery in deliveries]
        sizes = ((writer.before(_dicom_type(one), _location(call, f)), f.size) for one, f in files)
        headers["Content-Length"] = str(writer.length(sizes))
    elif req.method == "GET":
        parts = await begun_part(parts)
    return StreamingResponse(writer.body(parts), headers=headers, media_type=writer.content_type)


def _wants_original(req: Request) -> bool:
    """Whether the versions before any bulk update are asked for (spec dicomweb.md §3.7)."""
    return req.headers.get(ORIGINAL_HEADER, "").strip().lower() == "true"


async def _zip(req: Request, call: Call, address: Address, deliveries: list[Delivery]) -> Response:
    """All files in one archive, named by their UIDs (PS3.18 Supplement 211)."""
    name = address.instance or address.series or address.study
    headers = {**REVALIDATED, "Content-Disposition": f'attachment; filename="{name}.zip"'}
    content = archive(_entries(call, deliveries))
    if req.method == "GET" and deliveries[0].is_converted:
        content = await _begun(content)
    return StreamingResponse(content, headers=headers, media_type=ZIP)


async def _entries(call: Call, deliveries: list[Delivery]) -> AsyncIterator[Entry]:
    async for delivery, content in call.tenant.retrieve.contents(deliveries):
        file = delivery.file
        name = f"{file.study}/{file.series}/{file.instance}.dcm"
        yield Entry(name, None if delivery.is_converted else file.size, content)


def _file_tag(delivery: Delivery, *, weak: bool) -> str:
    return entity_tag(f"{delivery.file.version}-{delivery.transfer_syntax}", weak=weak)


async def single_file(req: Request, call: Call, delivery: Delivery) -> Response:
    """One file; or a range of it (RFC 9110 14), if it is sent as stored."""
    size = None if delivery.is_converted else delivery.file.size
    etag = _file_tag(delivery, weak=size is None)
    headers = {**REVALIDATED, "ETag": etag}
    if is_known(req, etag):
        return Response(status_code=304, headers=headers)
    span = None
    if size is not None:
        headers["Accept-Ranges"] = "bytes"
        if req.method == "GET" and range_applies(req.headers.get("if-range"), etag):
            span = requested_span(req.headers.get("range"), size)
        headers["Content-Length"] = str(size if span is None else span.length)
        if span is not None:
            headers["Content-Range"] = content_range(span, size)
    if req.method == "HEAD":
        return StreamingResponse((), headers=headers, media_type=_dicom_type(delivery))
    content = await call.tenant.retrieve.content(delivery, span)
    if size is None:
        content = await _begun(content)
    status = 200 if span is None else 206
    return StreamingResponse(content, status, headers, media_type=_dicom_type(delivery))


async def _file_parts(call: Call, deliveries: list[Delivery]) -> AsyncIterator[OutgoingPart]:
    async for delivery, content in call.tenant.retrieve.contents(deliveries):
        yield OutgoingPart(_dicom_type(delivery), content, _location(call, delivery.file))


async def begun_part(parts: AsyncIterator[OutgoingPart]) -> AsyncIterator[OutgoingPart]:
    """The parts, of which the first has begun: what is wrong with it can still be said."""
    first = await anext(parts)
    return _chained(replace(first, content=await _begun(first.content)), parts)


async def _begun(content: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Content whose first piece is there."""
    pieces = aiter(content)
    return _chained(await anext(pieces, b""), pieces)


async def _chained(first: _T, rest: AsyncIterator[_T]) -> AsyncIterator[_T]:
    try:
        yield first
        async for item in rest:
            yield item
    finally:
        if isinstance(rest, AsyncGenerator):
            await rest.aclose()


def _dicom_type(delivery: Delivery) -> str:
    return f"{DICOM}; transfer-syntax={delivery.transfer_syntax}"


def _location(call: Call, file: StoredFile) -> str:
    return f"{call.base_url}/studies/{file.study}/series/{file.series}/instances/{file.instance}"


# Frames -----------------------------------------------------------------------------------


@dicomweb(bp, "retrieve_frames", _INSTANCE + "/frames/{frames}", "GET", doc=FRAMES)
async def retrieve_frames(req: Request, call: Call) -> Response:
    """Frames of an instance, in the order of the path."""
    address = address_of(req, call)
    numbers = frame_numbers(req.path_params["frames"], call.limits.frames_per_request)
    choices = _framed(ranked(accept(req), FRAME_OFFERS), len(numbers))
    found = await call.tenant.retrieve.frames(address, numbers, choices)
    media_type = f"{found.choice.media_type}; transfer-syntax={found.transfer_syntax}"
    single = found.choice.payload is Payload.SINGLE
    etag = entity_tag(f"{found.version}-{found.transfer_syntax}", weak=not single)
    headers = {**REVALIDATED, "ETag": etag}
    if is_known(req, etag):
        return Response(status_code=304, headers=headers)
    writer = MultipartWriter(found.choice.media_type)
    if req.method == "HEAD":
        kind = media_type if single else writer.content_type
        return StreamingResponse(found.contents, headers=headers, media_type=kind)
    if single:
        content = b"".join([frame async for frame in found.contents])
        return Response(content, headers=headers, media_type=media_type)
    # the first frame before the answer begins: what is wrong with it can still be said
    first = await anext(found.contents)
    url = f"{call.base_url}/studies/{address.study}/series/{address.series}"
    places = [f"{url}/instances/{address.instance}/frames/{number}" for number in numbers]
    parts = _frame_parts(first, found.contents, media_type, places)
    return StreamingResponse(writer.body(parts), headers=headers, media_type=writer.content_type)


def frame_numbers(text: str, most: int) -> list[int]:
    """The frame list of a path, in its order.

    Raises
    ------
    InvalidFrameList
        An element is no integer from 1.
    PayloadTooLarge
        There are more than ``most``.

    References
    ----------
    PS3.18 10.4.1.1.6, 8.3.3 (frame numbers); spec dicomweb.md §3.5.
    """
    numbers = []
    elements = text.split(",")
    if len(elements) > most:
        raise PayloadTooLarge(f"A request may ask for at most {most} frames.")
    for element in elements:
        word = element.strip()
        if not word.isascii() or not word.isdigit() or len(word) > 9 or int(word) < 1:
            raise InvalidFrameList(f"The frame list has '{word[:20]}'; frames are numbered from 1.")
        numbers.append(int(word))
    return numbers


def _framed(choices: tuple[Choice, ...], count: int) -> tuple[Choice, ...]:
    """The choices that can carry so many frames."""
    if count == 1:
        return choices
    several = tuple(choice for choice in choices if choice.payload is Payload.MULTIPART)
    if not several:
        raise MalformedRequest(
            "Several frames need a multipart answer; Accept allows a single part."
        )
    return several


async def _frame_parts(
    first: bytes, rest: AsyncIterator[bytes], media_type: str, places: list[str]
) -> AsyncIterator[OutgoingPart]:
    yield OutgoingPart(media_type, one_piece(first), places[0])
    at = 1
    async for frame in rest:
        yield OutgoingPart(media_type, one_piece(frame), places[at])
        at += 1


# Metadata ---------------------------------------------------------------------------------


@dicomweb(bp, "retrieve_study_metadata", _STUDY + "/metadata", "GET", doc=METADATA)
async def retrieve_study_metadata(req: Request, call: Call) -> Response:
    """Metadata of all instances of a study."""
    return await _metadata(req, call)


@dicomweb(bp, "retrieve_series_metadata", _SERIES + "/metadata", "GET", doc=METADATA)
async def retrieve_series_metadata(req: Request, call: Call) -> Response:
    """Metadata of all instances of a series."""
    return await _metadata(req, call)


@dicomweb(bp, "retrieve_instance_metadata", _INSTANCE + "/metadata", "GET", doc=METADATA)
async def retrieve_instance_metadata(req: Request, call: Call) -> Response:
    """Metadata of one instance."""
    return await _metadata(req, call)


async def _metadata(req: Request, call: Call) -> Response:
    xml = wants_xml(req)
    address, original = address_of(req, call), _wants_original(req)
    if "if-none-match" in req.headers:
        entity = await call.tenant.retrieve.entity(address, original=original)
        etag = _metadata_tag(entity, xml=xml)
        if is_known(req, etag):
            return Response(status_code=304, headers={"ETag": etag})
    metadata = await call.tenant.retrieve.metadata(address, original=original)
    headers = {**REVALIDATED, "ETag": _metadata_tag(metadata.entity, xml=xml)}
    if xml:
        documents = call.tenant.retrieve.metadata_documents(metadata, call.resources_url)
        return dicom_xml(documents, headers)
    gzip = _takes_gzip(req)
    content = call.tenant.retrieve.metadata_content(metadata, call.resources_url, gzip=gzip)
    headers["Vary"] = "Accept, Accept-Encoding"
    if gzip:
        headers["Content-Encoding"] = "gzip"
    return StreamingResponse(content, headers=headers, media_type="application/dicom+json")


def _metadata_tag(entity: str, *, xml: bool) -> str:
    return entity_tag(f"{entity}-xml", weak=True) if xml else entity_tag(entity)


def _takes_gzip(req: Request) -> bool:
    """Whether ``Accept-Encoding`` lists gzip and does not exclude it (RFC 9110 12.5.3)."""
    for member in ",".join(req.headers.getlist("accept-encoding")).split(","):
        name, _, parameters = member.partition(";")
        if name.strip().lower() in ("gzip", "x-gzip"):
            weight = parameters.replace(" ", "").lower().removeprefix("q=")
            return weight.strip("0.") != "" or not parameters
    return False

"""Rendered images and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from functions._catalogue import RENDERED, THUMBNAIL
from functions._http import Call, accept, dicomweb, one_piece
from functions.retrieve import REVALIDATED, address_of, begun_part, frame_numbers
from shared.errors import FrameNotFound, UnusablePixelData
from shared.render.image import MEDIA_TYPES
from shared.render.parameters import Asked, Rendering, parse_rendering
from shared.render.service import Subject
from shared.retrieve.instances import Address, StoredFile
from shared.web.conditional import entity_tag, not_modified
from shared.web.multipart import MultipartWriter, OutgoingPart
from shared.web.negotiation import Choice, Payload, picture_offers, ranked

bp = func.Blueprint()

_STUDY = "studies/{study}"
_SERIES = "studies/{study}/series/{series}"
_INSTANCE = "studies/{study}/series/{series}/instances/{instance}"
_FRAMES = _INSTANCE + "/frames/{frames}"


# Rendered ---------------------------------------------------------------------------------


@dicomweb(bp, "retrieve_rendered_study", _STUDY + "/rendered", "GET", doc=RENDERED)
async def retrieve_rendered_study(req: Request, call: Call) -> Response:
    """The first frame of each image of a study."""
    return await _rendered_images(req, call)


@dicomweb(bp, "retrieve_rendered_series", _SERIES + "/rendered", "GET", doc=RENDERED)
async def retrieve_rendered_series(req: Request, call: Call) -> Response:
    """The first frame of each image of a series."""
    return await _rendered_images(req, call)


@dicomweb(bp, "retrieve_rendered_instance", _INSTANCE + "/rendered", "GET", doc=RENDERED)
async def retrieve_rendered_instance(req: Request, call: Call) -> Response:
    """The first frame of an instance; as GIF, all of them."""
    asked = parse_rendering(req.query_params.multi_items())
    choice = _choice(req, asked)
    subject = await call.tenant.render.image(address_of(req, call))
    known = _not_modified(req, subject, choice)
    if known is not None:
        return known
    picture = await call.tenant.render.whole(subject, asked.rendering, choice.media_type)
    return _answer(req, picture, subject, choice, _warning(asked))


@dicomweb(bp, "retrieve_rendered_frames", _FRAMES + "/rendered", "GET", doc=RENDERED)
async def retrieve_rendered_frames(req: Request, call: Call) -> Response:
    """Frames of an instance, in the order of the path."""
    address = address_of(req, call)
    numbers = frame_numbers(req.path_params["frames"], call.limits.frames_per_request)
    asked = parse_rendering(req.query_params.multi_items())
    choice = _choice(req, asked)
    subject = await call.tenant.render.image(address)
    if max(numbers) > subject.table.count:
        raise FrameNotFound(f"The instance has {subject.table.count} frame(s).")
    media_type = choice.media_type
    if len(numbers) == 1:
        return await picture_of(
            req,
            call,
            subject,
            number=numbers[0],
            how=asked.rendering,
            choice=choice,
            headers=_warning(asked),
        )
    pictures = call.tenant.render.pictures(subject, numbers, asked.rendering, media_type)
    url = _location(call, subject.file)
    places = [f"{url}/frames/{number}/rendered" for number in numbers]
    return await _multipart(_frame_parts(pictures, places, media_type), media_type, asked)


async def _rendered_images(req: Request, call: Call) -> Response:
    asked = parse_rendering(req.query_params.multi_items())
    choice = _choice(req, asked)
    files = await call.tenant.render.images(address_of(req, call))
    parts = _image_parts(call, files, asked, choice.media_type)
    return await _multipart(parts, choice.media_type, asked)


async def _image_parts(
    call: Call, files: list[StoredFile], asked: Asked, media_type: str
) -> AsyncIterator[OutgoingPart]:
    """A part for each instance that can be rendered; what cannot is left out (PS3.18 10.4.3)."""
    given = False
    trouble: UnusablePixelData | None = None
    for file in files:
        address = Address(call.partition.folded, file.study, file.series, file.instance)
        try:
            subject = await call.tenant.render.image(address)
            picture = await call.tenant.render.picture(subject, 1, asked.rendering, media_type)
        except UnusablePixelData as error:
            trouble = error
            continue
        given = True
        yield OutgoingPart(media_type, one_piece(picture), _location(call, file) + "/rendered")
    if not given:
        raise trouble or UnusablePixelData("There is no image that can be rendered.")


async def _frame_parts(
    pictures: AsyncIterator[bytes], places: list[str], media_type: str
) -> AsyncIterator[OutgoingPart]:
    at = 0
    async for picture in pictures:
        yield OutgoingPart(media_type, one_piece(picture), places[at])
        at += 1


# Thumbnails -------------------------------------------------------------------------------


@dicomweb(bp, "retrieve_study_thumbnail", _STUDY + "/thumbnail", "GET", doc=THUMBNAIL)
async def retrieve_study_thumbnail(req: Request, call: Call) -> Response:
    """A small picture of a study."""
    return await _thumbnail(req, call)


@dicomweb(bp, "retrieve_series_thumbnail", _SERIES + "/thumbnail", "GET", doc=THUMBNAIL)
async def retrieve_series_thumbnail(req: Request, call: Call) -> Response:
    """A small picture of a series."""
    return await _thumbnail(req, call)


@dicomweb(bp, "retrieve_instance_thumbnail", _INSTANCE + "/thumbnail", "GET", doc=THUMBNAIL)
async def retrieve_instance_thumbnail(req: Request, call: Call) -> Response:
    """A small picture of an instance."""
    return await _thumbnail(req, call)


@dicomweb(bp, "retrieve_frames_thumbnail", _FRAMES + "/thumbnail", "GET", doc=THUMBNAIL)
async def retrieve_frames_thumbnail(req: Request, call: Call) -> Response:
    """A small picture of a frame; of several, of the first."""
    numbers = frame_numbers(req.path_params["frames"], call.limits.frames_per_request)
    return await _thumbnail(req, call, numbers[0])


async def _thumbnail(req: Request, call: Call, number: int | None = None) -> Response:
    address = address_of(req, call)
    asked = parse_rendering(req.query_params.multi_items(), thumbnail=True)
    choice = _choice(req, asked)
    subject = await call.tenant.render.representative(address)
    shown = number or (subject.table.count + 1) // 2
    return await picture_of(req, call, subject, number=shown, how=asked.rendering, choice=choice)


# Answers ----------------------------------------------------------------------------------


async def picture_of(
    req: Request,
    call: Call,
    subject: Subject,
    *,
    number: int,
    how: Rendering,
    choice: Choice,
    headers: dict[str, str] | None = None,
) -> Response:
    """The answer with one frame as a picture; 304 if the client has it already."""
    if number > subject.table.count:
        raise FrameNotFound(f"The instance has {subject.table.count} frame(s).")
    known = _not_modified(req, subject, choice)
    if known is not None:
        return known
    picture = await call.tenant.render.picture(subject, number, how, choice.media_type)
    return _answer(req, picture, subject, choice, headers or {})


def _choice(req: Request, asked: Asked) -> Choice:
    return ranked(asked.accept or accept(req), picture_offers(MEDIA_TYPES))[0]


def _etag(req: Request, subject: Subject, choice: Choice) -> str:
    """Of a picture: the version of the file, what is asked of it, the type and the form."""
    query = f"{choice.payload.name} {req.url.path.rpartition('/instances/')[2]}?{req.url.query}"
    return entity_tag(
        f"{subject.file.version}-{choice.media_type.rpartition('/')[2]}-{_digest(query)}"
    )


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _not_modified(req: Request, subject: Subject, choice: Choice) -> Response | None:
    etag = _etag(req, subject, choice)
    if not_modified(req.headers.get("if-none-match"), etag):
        return Response(status_code=304, headers={"ETag": etag, **REVALIDATED})
    return None


def _answer(
    req: Request, picture: bytes, subject: Subject, choice: Choice, headers: dict[str, str]
) -> Response:
    headers = {"ETag": _etag(req, subject, choice), **REVALIDATED, **headers}
    if choice.payload is Payload.SINGLE:
        return Response(picture, headers=headers, media_type=choice.media_type)
    writer = MultipartWriter(choice.media_type)
    parts = [OutgoingPart(choice.media_type, one_piece(picture))]
    return StreamingResponse(writer.body(parts), headers=headers, media_type=writer.content_type)


async def _multipart(parts: AsyncIterator[OutgoingPart], media_type: str, asked: Asked) -> Response:
    writer = MultipartWriter(media_type)
    started = await begun_part(parts)
    headers = {**REVALIDATED, **_warning(asked)}
    return StreamingResponse(writer.body(started), headers=headers, media_type=writer.content_type)


def _warning(asked: Asked) -> dict[str, str]:
    if not asked.unsupported:
        return {}
    return {"Warning": '299 - "The annotations that were asked for are not all supported."'}


def _location(call: Call, file: StoredFile) -> str:
    return f"{call.base_url}/studies/{file.study}/series/{file.series}/instances/{file.instance}"

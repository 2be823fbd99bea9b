"""WADO-URI (PS3.18 9): one instance, as a picture or as a file, for clients of old."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions import _catalogue
from functions._http import Call, accept, dicomweb
from functions.rendered import picture_of
from functions.retrieve import single_file
from shared.render.image import MEDIA_TYPES
from shared.render.parameters import MOST_VIEWPORT, Rendering, Viewport, Window, annotations_of
from shared.render.service import Subject
from shared.retrieve.instances import Address
from shared.web.negotiation import Offer, Payload, file_offers, picture_offers, ranked
from shared.web.wado_uri import DICOM, WadoUri, parse_wado_uri

bp = func.Blueprint()

_OFFERS: tuple[Offer, ...] = tuple(
    offer
    for offer in (*picture_offers(MEDIA_TYPES), *file_offers())
    if offer.payload is Payload.SINGLE
)


@dicomweb(bp, "wado_uri", "wado", "GET", doc=_catalogue.WADO_URI)
async def wado_uri(req: Request, call: Call) -> Response:
    """One instance as a picture, or as a file (WADO-URI)."""
    asked = parse_wado_uri(req.query_params.multi_items())
    choice = ranked(asked.content_types or accept(req), _OFFERS)[0]
    address = Address(call.partition.folded, asked.study, asked.series, asked.instance)
    if choice.media_type == DICOM:
        syntax = asked.transfer_syntax or choice.transfer_syntax
        wanted = ranked(f"{DICOM}; transfer-syntax={syntax}", file_offers())
        _, [delivery] = await call.tenant.retrieve.files(address, wanted)
        return await single_file(req, call, delivery)
    subject = await call.tenant.render.image(address)
    how = _rendering(asked, subject)
    return await picture_of(req, call, subject, number=asked.frame, how=how, choice=choice)


def _rendering(asked: WadoUri, subject: Subject) -> Rendering:
    window = None if asked.window is None else Window(*asked.window)
    return Rendering(
        quality=asked.quality or 100,
        viewport=_viewport(asked, subject),
        window=window,
        annotations=annotations_of(asked.annotations)[0],
    )


def _viewport(asked: WadoUri, subject: Subject) -> Viewport | None:
    """Region and size as a viewport: the picture fits into rows and columns (PS3.18 9.1.2.2)."""
    if asked.region is None and asked.rows is None and asked.columns is None:
        return None
    pixels = subject.table.pixels
    left, top, right, bottom = asked.region or (0.0, 0.0, 1.0, 1.0)
    across, down = (right - left) * pixels.columns, (bottom - top) * pixels.rows
    if asked.rows is None and asked.columns is None:
        width, height = max(1, round(across)), max(1, round(down))
    else:
        width, height = asked.columns or MOST_VIEWPORT, asked.rows or MOST_VIEWPORT
    return Viewport(width, height, left * pixels.columns, top * pixels.rows, across, down)

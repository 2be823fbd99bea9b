"""JSON bodies of requests."""

from __future__ import annotations

import asyncio
import json

from starlette.requests import Request

from shared.errors import MalformedRequest, RequestTooSlow, UnsupportedMediaType
from shared.ports import Json, JsonObject

JSON = "application/json"

_MOST_SECONDS = 60


async def json_object(req: Request, most: int, *, optional: bool = False) -> JsonObject:
    """The body, a JSON object of at most ``most`` bytes; see ``json_body``."""
    body = await json_body(req, most, optional=optional)
    if not isinstance(body, dict):
        raise MalformedRequest("The body must be a JSON object.")
    return body


async def json_body(
    req: Request, most: int, *, optional: bool = False, media_type: str = JSON
) -> Json:
    """The body, JSON of at most ``most`` bytes.

    Parameters
    ----------
    optional : bool
        Whether nothing at all is an empty object, and the type need not be said.
    media_type : str
        What it has to be.

    Raises
    ------
    UnsupportedMediaType
        It says that it is something else (spec operations.md §1).
    MalformedRequest
        It is none.
    RequestTooSlow
        It has not come within a minute.
    """
    given = req.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type and not optional:
        raise UnsupportedMediaType(f"The body must be {media_type}.")
    content = bytearray()
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            async for piece in req.stream():
                content += piece
                if len(content) > most:
                    raise MalformedRequest(f"The body may have at most {most} bytes.")
    except TimeoutError as error:
        raise RequestTooSlow(f"A body has to arrive within {_MOST_SECONDS} seconds.") from error
    try:
        body: Json = json.loads(
            content or b"{}" if optional else content, parse_constant=_refused_constant
        )
        # half a surrogate pair and 1e999 are JSON, and nothing that could ever be sent again
        json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise MalformedRequest("The body must be JSON.") from None
    return body


def _refused_constant(name: str) -> Json:
    """``NaN`` and ``Infinity`` are no JSON (RFC 8259 6)."""
    raise ValueError(name)

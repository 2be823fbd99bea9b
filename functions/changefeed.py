"""The change feed (spec change-feed.md): every change of an instance, in order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._catalogue import Doc
from functions._http import Call, dicomweb
from functions._query import whole_number
from shared.errors import MalformedQuery
from shared.feed.reader import Window
from shared.index.documents import iso
from shared.web.media_types import JSON

bp = func.Blueprint()

_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})", re.ASCII
)
_MOST = {1: (10, 100), 2: (100, 200)}
_LARGEST = 2**63 - 1
_MICROSECOND = timedelta(microseconds=1)
_LAST = datetime.max.replace(tzinfo=UTC)
_FEED = Doc(
    (200, 400), (JSON,), query=("offset", "limit", "startTime", "endTime", "includeMetadata")
)
_LATEST = Doc((200, 204, 400), (JSON,), query=("includeMetadata",))


@dicomweb(bp, "change_feed", "changefeed", "GET", partitioned=False, doc=_FEED)
async def change_feed(req: Request, call: Call) -> Response:
    """Changes of instances, in order."""
    parameters = _parameters(req)
    with_metadata = _truth(parameters)
    window = window_of(parameters, call.major)
    entries = await call.tenant.feed.read(
        window, with_metadata=with_metadata, resources_url=call.resources_url
    )
    return Response(f"[{','.join(entries)}]", media_type=JSON)


@dicomweb(bp, "latest_change", "changefeed/latest", "GET", partitioned=False, doc=_LATEST)
async def latest_change(req: Request, call: Call) -> Response:
    """The newest change."""
    entry = await call.tenant.feed.latest(
        with_metadata=_truth(_parameters(req)), resources_url=call.resources_url
    )
    return Response(status_code=204) if entry is None else Response(entry, media_type=JSON)


def _parameters(req: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in req.query_params.multi_items()}


def window_of(parameters: Mapping[str, str], major: int) -> Window:
    """What a query string asks for; names in lower case.

    Raises
    ------
    MalformedQuery
        A parameter is malformed; the message names it.

    References
    ----------
    Spec change-feed.md §4.
    """
    usual, most = _MOST[major]
    limit = whole_number(parameters, "limit", usual, least=1, most=most)
    offset = whole_number(parameters, "offset", 0, least=0, most=_LARGEST)
    if major == 1:
        return Window(after=min(offset, _LARGEST - limit), limit=limit)
    start, end = _moment(parameters, "startTime"), _moment(parameters, "endTime")
    if start is not None and end is not None and end <= start:
        raise MalformedQuery("endTime must be later than startTime.")
    return Window(
        first=None if start is None else iso(start),
        last=None if end is None else iso(end - _MICROSECOND),
        offset=min(offset, 2**31 - 1),
        limit=limit,
    )


def _moment(parameters: Mapping[str, str], name: str) -> datetime | None:
    """A time in UTC, rounded up to microseconds: entries have no finer times."""
    text = parameters.get(name.lower())
    if text is None:
        return None
    found = _TIME.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        whole, fraction, zone = found.groups()
        moment = datetime.fromisoformat(whole + zone)
        digits = (fraction or "").ljust(9, "0")
        micro = int(digits[:6]) + (digits[6:] != "000")
        moment = moment.astimezone(UTC)
        return min(moment, _LAST - micro * _MICROSECOND) + micro * _MICROSECOND
    except (ValueError, OverflowError):
        raise MalformedQuery(
            f"{name} must be a time with its zone, as 2026-01-31T12:00:00Z; a + is sent as %2B."
        ) from None


def _truth(parameters: Mapping[str, str]) -> bool:
    text = parameters.get("includemetadata", "true").strip().lower()
    if text not in ("true", "false"):
        raise MalformedQuery("includeMetadata must be true or false.")
    return text == "true"

"""What the audit log gets of a request: it is begun at the door, and ended by the answer's end."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from functions import _catalogue
from shared.auth.access import access_to
from shared.auth.audit import Trail
from shared.config import Settings
from shared.dicom import tags, uid

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_UIDS = frozenset({"study", "series", "instance", "workitem", "transaction"})
_NAMES = frozenset({"tenant", "partition", "aetitle"})
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NUMBERS = re.compile(r"[0-9A-Fa-f.,/-]{1,128}")
_NOT_SHOWN = "-"
_MOST_NOTED = 100
_SWITCHED = 101  # a WebSocket: it has no end of its own


def begin(name: str, req: Request, correlation_id: str, settings: Settings) -> Trail | None:
    """Begin the record of a request; ``None`` for what is no transaction.

    Parameters
    ----------
    name : str
        Of the function.
    req : Request
        The request.
    correlation_id : str
        Its name in the other logs.
    settings : Settings
        For authority, audience and the public address.
    """
    access = access_to(name)
    if access is None or access.audit is None:
        return None
    shown = {key: _shown(key, str(value)) for key, value in req.path_params.items()}
    length = req.headers.get("content-length", "")
    issuers = settings.sign_in.issuers
    tenant = shown.get("tenant", "")
    return Trail(
        action=access.audit,
        function=name,
        method=req.method,
        uri=f"{settings.public_base_url}/{_path(name, shown)}{_query(name, req)}",
        correlation_id=correlation_id,
        caller_ip=_caller_ip(req, settings),
        resource={key: value for key, value in shown.items() if value != _NOT_SHOWN},
        request_bytes=int(length) if length.isascii() and length.isdigit() else None,
        authority=issuers[0].authority if issuers else "",
        audience=next(iter(settings.sign_in.audiences_of(tenant)), ""),
    )


def note(req: Request, what: str, uids: Sequence[str]) -> None:
    """Enter UIDs into the record that the address does not name, as of what was stored."""
    trail: Trail | None = getattr(req.state, "trail", None)
    if trail is not None and uids:
        trail.resource[what] = " ".join(uids[:_MOST_NOTED])
        if len(uids) > _MOST_NOTED:
            trail.resource[what] += f" and {len(uids) - _MOST_NOTED} more"


def _shown(key: str, value: str) -> str:
    """A part of the path, if it is of the kind that belongs there; a caller may send anything."""
    if key in _UIDS:
        fits = uid.is_valid(value)
    elif key in _NAMES:
        fits = _NAME.fullmatch(value) is not None
    else:
        fits = _NUMBERS.fullmatch(value) is not None or tags.tag_of(value) is not None
    return value if fits else _NOT_SHOWN


def _path(name: str, shown: dict[str, str]) -> str:
    operation = _catalogue.find(name)
    route = operation.route if operation is not None else _NOT_SHOWN
    return _PLACEHOLDER.sub(lambda found: shown.get(found[1], _NOT_SHOWN), route)


def _query(name: str, req: Request) -> str:
    """The names of the query's parameters, without their values."""
    operation = _catalogue.find(name)
    known = operation.doc.query if operation is not None else ()
    names = []
    for key in dict.fromkeys(req.query_params.keys()):
        parts = key.split(".")
        fits = key in known or all(_is_attribute(part) for part in parts)
        names.append(f"{key if fits else _NOT_SHOWN}=*")
    return "?" + "&".join(names) if names else ""


def _is_attribute(text: str) -> bool:
    return tags.tag_of(text) is not None or re.fullmatch(r"[0-9A-Fa-f]{8}", text) is not None


def _caller_ip(req: Request, settings: Settings) -> str:
    """Where the request came from: the last address that the front end of Azure has added."""
    if settings.behind_front_end:
        forwarded = req.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        address = re.fullmatch(r"\[?([0-9A-Fa-f.:]{2,45}?)\]?(?::\d{1,5})?", forwarded)
        if address is not None:
            return address[1]
    return req.client.host if req.client is not None else ""


class Recorded(Response):
    """A response that ends the record of its request, once it has been sent or cannot be.

    Parameters
    ----------
    inner : Response
        What is sent.
    trail : Trail
        The record.
    """

    def __init__(self, inner: Response, trail: Trail) -> None:
        self._inner = inner
        self._trail = trail
        self.status_code = inner.status_code
        self.raw_headers = inner.raw_headers
        self.body = getattr(inner, "body", b"")
        self.media_type = inner.media_type
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent, complete, gone = 0, False, False

        async def counted(message: Message) -> None:
            nonlocal sent, complete
            await send(message)
            if message["type"].endswith("http.response.body") and not gone:
                sent += len(message.get("body", b""))
                complete = not message.get("more_body", False)

        async def watched() -> Message:
            nonlocal gone
            message = await receive()
            gone = gone or message["type"] == "http.disconnect"
            return message

        try:
            await self._inner(scope, watched, counted)
        finally:
            complete = complete or self.status_code == _SWITCHED
            self._trail.executed(self.status_code, sent, complete=complete)

    def __del__(self) -> None:
        """The client went away before the answer began."""
        self._trail.executed(self.status_code, 0, complete=False)

"""The edge: what every HTTP trigger shares, so that a trigger is only a translator.

Importing ``azurefunctions.extensions.http.fastapi`` switches the whole app to HTTP streaming:
requests and responses are Starlette's, in Azure as in the local host. It is imported here and
nowhere else.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

import azure.functions as func
import azurefunctions.extensions.http.fastapi  # noqa: F401 — the switch to streaming
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from functions import _catalogue
from functions._catalogue import Doc, Operation
from functions._door import let_in
from functions._record import Recorded, begin
from shared.auth.ports import TenantRow
from shared.config import Limits, Settings
from shared.container import Services, TenantServices, services
from shared.dicom import uid
from shared.errors import (
    DicomServiceError,
    InvalidUid,
    RouteNotFound,
    UnsupportedApiVersion,
)
from shared.index.partitions import Partition
from shared.ports import JsonObject
from shared.resilience import Deadline, Patience
from shared.telemetry import SpanKind, failed, span
from shared.web.cors import CrossOrigin
from shared.web.media_types import DICOM_XML, prefers_xml, require_json_acceptable
from shared.web.multipart import MultipartWriter, OutgoingPart
from shared.web.problem import problem

_log = logging.getLogger("dicom.http")
# The worker's own server logs whole addresses, and queries hold patients' names. A filter, since
# that server sets levels and handlers anew when it starts.
logging.getLogger("uvicorn.access").addFilter(lambda _record: False)

_KEYWORDS = {
    "study": "StudyInstanceUid",
    "series": "SeriesInstanceUid",
    "instance": "SopInstanceUid",
}
_INVOCATION = re.compile(r"[0-9A-Za-z-]{1,64}")
_FIRST_OF_OURS = 500
SUPPORTED_VERSIONS = ("1.0-prerelease", "1", "2")
_EVERY_RESPONSE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": "frame-src 'self';",
    "api-supported-versions": ", ".join(SUPPORTED_VERSIONS),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a tenant's resource, after the checks that all transactions share.

    Parameters
    ----------
    tenant : TenantServices
        The use cases, bound to the tenant's own stores.
    version : str
        The version segment without its ``v``, as the client wrote it.
    major : int
        1 or 2.
    partition : Partition
        The data partition, as first spelled.
    base_url : str
        Absolute address of the partition's resources, without trailing slash. It repeats the
        version segment and the partition prefix of the request (spec dicomweb.md §2.12).
    resources_url : str
        The same under version 2, for addresses that are kept.
    limits : Limits
        What one request may ask for.
    """

    tenant: TenantServices
    version: str
    major: int
    partition: Partition
    base_url: str
    resources_url: str
    limits: Limits


Handler: TypeAlias = Callable[[Request, Call], Awaitable[Response]]
Trigger: TypeAlias = Callable[[Request], Awaitable[Response]]


def dicomweb(
    bp: func.Blueprint,
    name: str,
    resource: str,
    method: str,
    *,
    creates_partition: bool = False,
    partitioned: bool = True,
    doc: Doc | None = None,
) -> Callable[[Handler], Handler]:
    """Register a handler as two functions: for the default partition and for a named one.

    The first line of its docstring is its summary in the API's description.

    Parameters
    ----------
    bp : func.Blueprint
        Where to register.
    name : str
        Name of the function; the second one is ``{name}_in_partition``.
    resource : str
        Route template below ``/{tenant}/v{version}/[partitions/{partition}/]``.
    method : str
        The HTTP method; GET answers HEAD too.
    creates_partition : bool
        Whether the transaction creates a partition that does not exist (Store does).
    partitioned : bool
        Whether there is a second function, for named partitions.
    doc : Doc, optional
        What it takes and answers.
    """
    forms = (("", ""), ("_in_partition", "partitions/{partition}/"))[: 2 if partitioned else 1]

    def register(handler: Handler) -> Handler:
        for suffix, prefix in forms:
            trigger = _trigger(
                name + suffix, handler, creates_partition=creates_partition, partitioned=partitioned
            )
            route = f"{{tenant}}/v{{version}}/{prefix}{resource}"
            http_trigger(
                bp, name + suffix, route, method, trigger, summary=summary_of(handler), doc=doc
            )
        return handler

    return register


def http_trigger(
    bp: func.Blueprint,
    name: str,
    route: str,
    method: str,
    trigger: Trigger,
    *,
    summary: str,
    doc: Doc | None = None,
) -> None:
    """Register one HTTP function and enter it in the route table.

    A GET takes HEAD too: the host does not imply it, and ``respond`` leaves the content out.
    """
    operation = Operation(name, method, route, summary, doc or Doc())
    _catalogue.enter(operation)
    bound = bp.route(
        route=route,
        methods=[func.HttpMethod[one] for one in operation.methods],
        auth_level=func.AuthLevel.ANONYMOUS,
    )
    bp.function_name(name)(bound(trigger))


def summary_of(handler: Callable[..., object]) -> str:
    """The first line of a docstring."""
    return (handler.__doc__ or "").strip().partition("\n")[0]


def _trigger(name: str, handler: Handler, *, creates_partition: bool, partitioned: bool) -> Trigger:
    async def run(req: Request) -> Response:
        async def work() -> Response:
            version, major = await _version(req)
            row = await let_in(name, req, partitioned=partitioned)
            call = await _call(req, row, version, major, creates_partition=creates_partition)
            return await handler(req, call)

        return await respond(name, req, work)

    # never functools.wraps: the worker would then ask for `call` as a binding
    run.__name__ = name
    return run


async def _call(
    req: Request, row: TenantRow, version: str, major: int, *, creates_partition: bool
) -> Call:
    app = await services()
    tenant = app.bound(row)
    named = req.path_params.get("partition")
    partition = await tenant.partitions.resolve(named, create=creates_partition)
    prefix = f"/partitions/{partition.name}" if named is not None else ""
    root = f"{app.settings.public_base_url}/{tenant.name}"
    return Call(
        tenant=tenant,
        version=version,
        major=major,
        partition=partition,
        base_url=f"{root}/v{version}{prefix}",
        resources_url=f"{root}/v2{prefix}",
        limits=app.settings.limits,
    )


async def _version(req: Request) -> tuple[str, int]:
    version = req.path_params["version"]
    if version in SUPPORTED_VERSIONS:
        return version, int(version.partition(".")[0])
    if version[:1].isdigit():
        base_url = (await services()).settings.public_base_url
        raise UnsupportedApiVersion(f"{base_url}{req.url.path}", version)
    raise RouteNotFound("The path names no resource.")


async def respond(name: str, req: Request, work: Callable[[], Awaitable[Response]]) -> Response:
    """Run the work of a trigger; turn whatever it raises into the one error response."""
    began = time.perf_counter()
    correlation_id = _correlation_id(req)
    settings = await _settings()
    trail = None if settings is None else begin(name, req, correlation_id, settings)
    req.state.trail = trail
    deadline = Deadline((Patience() if settings is None else settings.patience).request_s)
    # a body that arrives puts it off, by whatever way the work reads it
    req._receive = deadline.watching(req._receive)
    known = {"http.request.method": req.method, "dicom.correlation_id": correlation_id}
    with span(name, known, kind=SpanKind.SERVER, headers=req.headers) as current:
        response = await _outcome(name, correlation_id, work, deadline)
        current.set_attribute("http.response.status_code", response.status_code)
        if response.status_code >= _FIRST_OF_OURS:
            failed(current, str(response.status_code))
    if req.method == "HEAD":
        response = await _without_content(response)
    if settings is not None:
        _add_cross_origin(req, response, settings.cross_origin)
    for header, value in _EVERY_RESPONSE.items():
        response.headers[header] = value
    response.headers.setdefault("Cache-Control", "no-store")  # it may tell of a patient
    if settings is not None and settings.public_base_url.startswith("https:"):
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
    response.headers["x-correlation-id"] = correlation_id
    _log.info(
        "request",
        extra={
            "function": name,
            "status": response.status_code,
            "seconds": round(time.perf_counter() - began, 6),
            "correlation": correlation_id,
        },
    )
    return response if trail is None else Recorded(response, trail)


async def _outcome(
    name: str, correlation_id: str, work: Callable[[], Awaitable[Response]], deadline: Deadline
) -> Response:
    """What the work answers, or the error response."""
    try:
        async with deadline.bounding():
            return await work()
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it; the log shows it
    except DicomServiceError as error:
        return problem_response(error, correlation_id)
    except Exception as error:
        _log.exception("failed", extra={"function": name, "correlation": correlation_id})
        return problem_response(error, correlation_id)


def _correlation_id(req: Request) -> str:
    """The host's name for the invocation, or a new one."""
    given = req.headers.get("x-ms-invocation-id", "")
    return given if _INVOCATION.fullmatch(given) else Services.new_correlation_id()


async def _settings() -> Settings | None:
    """The settings; ``None`` if they cannot be read: the work then fails, and its answer tells."""
    try:
        return (await services()).settings
    except Exception:
        return None


async def _without_content(response: Response) -> Response:
    """The answer to HEAD: status and headers of the answer to GET (RFC 9110 9.3.2)."""
    content = getattr(response, "body_iterator", None)
    if isinstance(content, AsyncGenerator):
        await content.aclose()
    bare = Response(status_code=response.status_code)
    bare.raw_headers = list(response.raw_headers)
    return bare


def _add_cross_origin(req: Request, response: Response, policy: CrossOrigin) -> None:
    """What browsers need to know."""
    response.headers.update(policy.headers(req.headers.get("origin")))
    if policy.varies:
        response.headers.add_vary_header("Origin")


def problem_response(error: Exception, correlation_id: str) -> Response:
    """The response for an error, from the one table in ``shared.web.problem``."""
    found = problem(error, correlation_id)
    return Response(
        found.body, status_code=found.status, headers=found.headers, media_type=found.media_type
    )


def path_uid(req: Request, name: str) -> str:
    """A UID of the path in the form by which it is compared.

    Raises
    ------
    InvalidUid
        It breaks the syntax (spec dicomweb.md §2.6).
    RouteNotFound
        It names an operation, as ``$bulkUpdate``, that the resource does not have.
    """
    text = str(req.path_params[name])
    if text.startswith("$"):
        raise RouteNotFound("The path names no resource.")
    if not uid.is_valid(text):
        raise InvalidUid(
            f"{_KEYWORDS[name]} is not valid: a value of VR UI has at most {uid.MAX_LENGTH} "
            "characters, digits and dots, and ends in a digit."
        )
    return uid.normalised(text)


def accept(req: Request) -> str | None:
    """The header ``Accept``; several lines of it are one list (RFC 9110 5.3)."""
    return ", ".join(req.headers.getlist("accept")) or None


def require_json(req: Request) -> None:
    """Refuse a request whose ``Accept`` excludes ``application/dicom+json`` (spec §2.3)."""
    require_json_acceptable(accept(req))


def wants_xml(req: Request, *, multipart: bool = True) -> bool:
    """Whether data sets are to go as XML, by ``Accept``; see ``prefers_xml``."""
    return prefers_xml(accept(req), multipart=multipart)


def dicom_json(
    value: list[JsonObject] | JsonObject,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """A response in the DICOM JSON model (PS3.18 F)."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(body, status, headers, media_type="application/dicom+json")


def dicom_xml(documents: AsyncIterable[bytes], headers: dict[str, str] | None = None) -> Response:
    """Documents of the Native DICOM Model, one a part (PS3.18 8.7.3.1)."""
    writer = MultipartWriter(DICOM_XML)
    parts = xml_parts(documents)
    return StreamingResponse(writer.body(parts), headers=headers, media_type=writer.content_type)


async def xml_parts(documents: AsyncIterable[bytes]) -> AsyncIterator[OutgoingPart]:
    """Each document as a part."""
    async for document in documents:
        yield OutgoingPart(DICOM_XML, one_piece(document))


async def one_piece(data: bytes) -> AsyncIterator[bytes]:
    """Content that is there already."""
    yield data

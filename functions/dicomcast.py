"""DICOMcast: from the feed into FHIR, what could not be taken over, and how to do it again."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._body import json_object
from functions._catalogue import Doc
from functions._http import Call, dicomweb, path_uid
from functions._query import whole_number
from functions.operations import accepted, already_running
from shared.cast.failures import Failure
from shared.cast.resync import RESYNC
from shared.cast.service import CastService
from shared.cast.worker import CAST_POISON_QUEUE, CAST_QUEUE
from shared.container import services
from shared.errors import (
    DicomServiceError,
    FhirNotConfigured,
    MalformedRequest,
    OperationRunning,
    RouteNotFound,
    TenantNotFound,
)
from shared.ports import JsonObject

bp = func.Blueprint()

_SCHEDULE = os.environ.get("DICOM_CAST_SCHEDULE", "*/10 * * * * *")
_JSON = ("application/json",)
_MOST_LISTED = 200
_MOST_BODY = 64 * 1024
_MOST_SEQUENCE = 2**53

_log = logging.getLogger("dicom.cast")


@dicomweb(bp, "fhir_state", "fhir", "GET", partitioned=False, doc=Doc((200, 404), _JSON))
async def fhir_state(req: Request, call: Call) -> Response:
    """How far the change feed has been taken over into FHIR."""
    state = await _cast(call).state()
    return JSONResponse(
        {
            "enabled": state.enabled,
            "trouble": state.trouble,
            "sentSequence": state.sent,
            "latestSequence": state.latest,
            "behind": max(state.latest - state.sent, 0),
        }
    )


@dicomweb(
    bp,
    "fhir_failures",
    "fhir/failures",
    "GET",
    partitioned=False,
    doc=Doc((200, 400, 404), _JSON, query=("limit", "continuation")),
)
async def fhir_failures(req: Request, call: Call) -> Response:
    """What could not be taken over, and why."""
    limit = whole_number(req.query_params, "limit", 100, least=1, most=_MOST_LISTED)
    after = req.query_params.get("continuation") or None
    rows, following = await _cast(call).failures(limit=limit, after=after)
    headers = {}
    if following:
        url = req.url.include_query_params(limit=limit, continuation=following)
        headers["Link"] = f'<{call.base_url}/fhir/failures?{url.query}>; rel="next"'
    return JSONResponse([_shown(row) for row in rows], headers=headers)


@dicomweb(
    bp,
    "retry_fhir_failures",
    "fhir/failures/$retry",
    "POST",
    partitioned=False,
    doc=Doc((202, 404), _JSON),
)
async def retry_fhir_failures(req: Request, call: Call) -> Response:
    """Try again each study that could not be taken over."""
    return JSONResponse({"studies": await _cast(call).retry()}, 202)


@dicomweb(
    bp,
    "replay_to_fhir",
    "fhir/$replay",
    "POST",
    partitioned=False,
    doc=Doc((202, 400, 404, 415), _JSON, _JSON),
)
async def replay_to_fhir(req: Request, call: Call) -> Response:
    """Take over the change feed again from a sequence number."""
    body = await json_object(req, _MOST_BODY)
    sequence = body.get("sequence")
    if (
        body.keys() != {"sequence"}
        or not isinstance(sequence, int)
        or isinstance(sequence, bool)
        or not 1 <= sequence <= _MOST_SEQUENCE
    ):
        raise MalformedRequest("The body must have the member 'sequence', a whole number from 1.")
    await _cast(call).replay(sequence)
    return JSONResponse({"sequence": sequence}, 202)


@dicomweb(
    bp,
    "resync_fhir",
    "fhir/$resync",
    "POST",
    partitioned=False,
    doc=Doc((202, 404, 409), _JSON),
)
async def resync_fhir(req: Request, call: Call) -> Response:
    """Bring all studies up to date in FHIR."""
    _cast(call)
    try:
        started = await call.tenant.operations.start(RESYNC, {}, claims=(RESYNC,))
    except OperationRunning as running:
        return already_running(call, running)
    return accepted(call, started)


@dicomweb(
    bp, "resync_study_to_fhir", "studies/{study}/$resync", "POST", doc=Doc((202, 400, 404), _JSON)
)
async def resync_study_to_fhir(req: Request, call: Call) -> Response:
    """Bring one study up to date in FHIR."""
    study = path_uid(req, "study")
    await _cast(call).ask_for(call.partition.name, study)
    return JSONResponse({"study": study}, 202)


def _cast(call: Call) -> CastService:
    if call.major < 2:
        raise RouteNotFound("DICOMcast is part of version 2.")
    if call.tenant.cast is None:
        raise FhirNotConfigured("This service has no FHIR server.")
    return call.tenant.cast


def _shown(row: Failure) -> JsonObject:
    names = {"partition": "partitionName", "study": "studyInstanceUid"}
    names |= {"series": "seriesInstanceUid", "instance": "sopInstanceUid"}
    return {names.get(name, name): value for name, value in asdict(row).items() if value != ""}


async def cast_feed(timer: func.TimerRequest) -> None:
    """Send each changed study of the tenants that have a FHIR server to the queue."""
    app = await services()
    for name in app.settings.cast:
        try:
            tenant = await app.tenant(name)
            if tenant.cast is not None:
                await tenant.cast.dispatch()
        except DicomServiceError as error:
            # the next tenant must not wait for this one
            _log.warning("not sent", extra={"tenant": name, "cause": type(error).__name__})


if os.environ.get("DICOM_CAST"):  # else nothing is to run when nobody calls
    _timer = bp.timer_trigger(arg_name="timer", schedule=_SCHEDULE, run_on_startup=False)
    bp.function_name("cast_feed")(_timer(cast_feed))


@bp.function_name("cast_study")
@bp.queue_trigger(arg_name="message", queue_name=CAST_QUEUE, connection="DicomStorage")
async def cast_study(message: func.QueueMessage) -> None:
    """Bring a study up to date in FHIR."""
    found = await _service_of(message)
    if found is not None:
        await found[0].handle(found[1])


@bp.function_name("give_up_cast")
@bp.queue_trigger(arg_name="message", queue_name=CAST_POISON_QUEUE, connection="DicomStorage")
async def give_up_cast(message: func.QueueMessage) -> None:
    """Note a study that could not be worked on."""
    found = await _service_of(message)
    if found is not None:
        await found[0].give_up(found[1])


async def _service_of(message: func.QueueMessage) -> tuple[CastService, JsonObject] | None:
    """Whom a message is for; nobody if the tenant is gone or has no FHIR server any more."""
    body = json.loads(message.get_body())
    try:
        tenant = await (await services()).tenant(body["tenant"])
    except TenantNotFound:
        return None
    return None if tenant.cast is None else (tenant.cast, body)

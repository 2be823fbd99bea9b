"""Operations: their state over HTTP, and the queue that drives them (spec operations.md §1, §2)."""

from __future__ import annotations

import re
from urllib.parse import urljoin

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._body import json_object
from functions._catalogue import Doc
from functions._http import Call, dicomweb
from functions._query import whole_number
from functions._queues import first_id, work_off
from shared.container import Services
from shared.errors import MalformedRequest, OperationNotFound, OperationRunning, RouteNotFound
from shared.operations.models import (
    OPERATIONS_POISON_QUEUE,
    OPERATIONS_QUEUE,
    RESOURCES,
    Status,
)
from shared.operations.reconcile import RECONCILE
from shared.ports import JsonObject

bp = func.Blueprint()

_ID = re.compile(r"[({]?([0-9a-fA-F]{8}(-?)(?:[0-9a-fA-F]{4}\2){3}[0-9a-fA-F]{12})[)}]?")
_MOST_LISTED = 200
_MOST_BODY = 64 * 1024
_JSON = ("application/json",)


@dicomweb(
    bp,
    "retrieve_operation",
    "operations/{operation}",
    "GET",
    partitioned=False,
    doc=Doc((200, 202, 404), _JSON),
)
async def retrieve_operation(req: Request, call: Call) -> Response:
    """The state of an operation."""
    return _state(call, await call.tenant.operations.get(_id(req)))


@dicomweb(
    bp,
    "list_operations",
    "operations",
    "GET",
    partitioned=False,
    doc=Doc((200, 400), _JSON, query=("limit", "offset")),
)
async def list_operations(req: Request, call: Call) -> Response:
    """The operations of the last week and those that run, newest first."""
    limit = whole_number(req.query_params, "limit", 100, least=1, most=_MOST_LISTED)
    offset = whole_number(req.query_params, "offset", 0, least=0, most=2**31 - 1)
    found = await call.tenant.operations.page(limit=limit, offset=offset)
    return JSONResponse([_shown(call, body) for body in found])


@dicomweb(
    bp,
    "cancel_operation",
    "operations/{operation}/$cancel",
    "POST",
    partitioned=False,
    doc=Doc((202, 404, 409), _JSON),
)
async def cancel_operation(req: Request, call: Call) -> Response:
    """Ask an operation to stop."""
    return _state(call, await call.tenant.operations.cancel(_id(req)))


@dicomweb(
    bp,
    "reconcile",
    "$reconcile",
    "POST",
    partitioned=False,
    doc=Doc((202, 400, 404, 409), _JSON, _JSON),
)
async def reconcile(req: Request, call: Call) -> Response:
    """Compare the files with the index, and repair the index or only report."""
    if call.major < 2:
        raise RouteNotFound("Reconcile is part of version 2.")
    body = await json_object(req, _MOST_BODY, optional=True)
    if body.keys() - {"repair"} or not isinstance(body.get("repair", True), bool):
        raise MalformedRequest("The body may have the member 'repair', true or false.")
    try:
        started = await call.tenant.operations.start(
            RECONCILE, {"repair": body.get("repair", True)}, claims=(RECONCILE,)
        )
    except OperationRunning as running:
        return already_running(call, running)
    return accepted(call, started)


def accepted(call: Call, operation: str) -> Response:
    """The answer to the start of an operation (spec operations.md §1)."""
    href = address(call, operation)
    return JSONResponse({"id": operation, "href": href}, 202, {"Location": href})


def already_running(call: Call, running: OperationRunning) -> Response:
    """The answer where one runs of which there is only one at a time (spec operations.md §1)."""
    headers = {"Location": address(call, running.operation)}
    return Response(str(running), 409, headers, media_type="text/plain")


def address(call: Call, operation: str) -> str:
    """The public address of an operation: below the tenant, for it has no partition."""
    return f"{service_url(call)}/operations/{operation}"


def service_url(call: Call) -> str:
    """The address of what belongs to the tenant as a whole."""
    return call.base_url.removesuffix(f"/partitions/{call.partition.name}")


def _state(call: Call, body: JsonObject) -> Response:
    if Status(body["status"]).final:
        return JSONResponse(_shown(call, body))
    return JSONResponse(_shown(call, body), 202, {"Location": address(call, body["id"])})


def _shown(call: Call, body: JsonObject) -> JsonObject:
    status = Status(body["status"])
    shown: JsonObject = {
        "operationId": body["id"],
        "type": body["type"],
        "createdTime": body["created"],
        "lastUpdatedTime": body["updated"],
        "status": "completed" if call.major < 2 and status is Status.SUCCEEDED else status.value,
    }
    if body.get("percent") is not None:
        shown["percentComplete"] = body["percent"]
    results = dict(body["results"])
    resources = results.pop(RESOURCES, None)
    if resources:
        # those of the service itself are kept without its address, which may change
        shown["resources"] = [urljoin(f"{service_url(call)}/", each) for each in resources]
    if results:
        shown["results"] = results
    if "error" in body:
        shown["error"] = body["error"]
    return shown


def _id(req: Request) -> str:
    found = _ID.fullmatch(str(req.path_params["operation"]))
    if found is None:
        raise OperationNotFound("There is no such operation.")
    return found[1].replace("-", "").lower()


@bp.function_name("work_on_operation")
@bp.queue_trigger(arg_name="message", queue_name=OPERATIONS_QUEUE, connection="DicomStorage")
async def work_on_operation(message: func.QueueMessage) -> None:
    """Go on with an operation."""

    async def work(app: Services, body: JsonObject) -> None:
        tenant = await app.tenant(body["tenant"])
        await tenant.operations.work(body["operation"], first_id(body))

    await work_off(message, OPERATIONS_QUEUE, work)


@bp.function_name("give_up_operation")
@bp.queue_trigger(arg_name="message", queue_name=OPERATIONS_POISON_QUEUE, connection="DicomStorage")
async def give_up_operation(message: func.QueueMessage) -> None:
    """Fail an operation whose message could not be worked on."""

    async def work(app: Services, body: JsonObject) -> None:
        await (await app.tenant(body["tenant"])).operations.give_up(body["operation"])

    await work_off(message, OPERATIONS_POISON_QUEUE, work)

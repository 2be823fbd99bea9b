"""Subscriptions to the change feed and to event reports, and their delivery (docs/events.md)."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._body import JSON, json_object
from functions._catalogue import Doc
from functions._http import Call, dicomweb
from functions._queues import work_off
from functions.operations import service_url
from shared.container import Services, services
from shared.errors import MalformedRequest, RouteNotFound
from shared.export.addresses import AllowedHosts
from shared.fanout.models import FAN_OUT_QUEUE, Origin, Subscription, Type
from shared.fanout.ports import NotDelivered
from shared.fanout.records import MOST_SUBSCRIPTIONS
from shared.fanout.requests import state_of, subscription_of
from shared.ports import JsonObject

bp = func.Blueprint()

_ALL = "subscriptions"
_ONE = _ALL + "/{subscription}"
_MOST_BODY = 64 * 1024


@dicomweb(
    bp, "add_subscription", _ALL, "POST", partitioned=False,
    doc=Doc((201, 400, 404, 415), (JSON,), (JSON,)),
)  # fmt: skip
async def add_subscription(req: Request, call: Call) -> Response:
    """Subscribe a webhook, a queue or Event Grid to the change feed, or to the reports of an AE."""
    _require_version(call)
    fanout, settings = call.tenant.fanout, (await services()).settings
    asked, after, secret = subscription_of(
        await json_object(req, _MOST_BODY),
        AllowedHosts(settings.fanout.webhook_hosts),
        has_topic=settings.fanout.topic is not None,
        has_key=fanout.keeps_secrets,
    )
    others = [one for one in await fanout.all() if one.type is not Type.WEB_PUBSUB]
    if len(others) >= MOST_SUBSCRIPTIONS:
        raise MalformedRequest(f"There may be at most {MOST_SUBSCRIPTIONS} subscriptions.")
    try:
        new, shown = await fanout.add(asked, after=after, secret=secret)
    except NotDelivered as trouble:
        raise MalformedRequest(f"endpoint: {trouble}") from trouble
    body = await _shown(call, new)
    if shown is not None:
        body["secret"] = shown
    return JSONResponse(body, 201, {"Location": _address(call, new)})


@dicomweb(bp, "list_subscriptions", _ALL, "GET", partitioned=False, doc=Doc((200, 404), (JSON,)))
async def list_subscriptions(req: Request, call: Call) -> Response:
    """The subscriptions, with how far each is behind."""
    _require_version(call)
    found = await call.tenant.fanout.all()
    return JSONResponse([await _shown(call, one) for one in found])


@dicomweb(bp, "retrieve_subscription", _ONE, "GET", partitioned=False, doc=Doc((200, 404), (JSON,)))
async def retrieve_subscription(req: Request, call: Call) -> Response:
    """One subscription."""
    _require_version(call)
    return JSONResponse(await _shown(call, await call.tenant.fanout.get(_id(req))))


@dicomweb(
    bp, "update_subscription", _ONE, "PATCH", partitioned=False,
    doc=Doc((200, 400, 404, 415), (JSON,), (JSON,)),
)  # fmt: skip
async def update_subscription(req: Request, call: Call) -> Response:
    """Pause a subscription, let it go on, or give it a new secret."""
    _require_version(call)
    body = await json_object(req, _MOST_BODY)
    fanout, id_ = call.tenant.fanout, _id(req)
    if body.keys() == {"state"}:
        state = state_of(body["state"])
        return JSONResponse(await _shown(call, await fanout.set_state(id_, state)))
    if body != {"rotate": True}:
        raise MalformedRequest('The body must be {"state": …} or {"rotate": true}.')
    if not (await fanout.get(id_)).secrets:
        raise MalformedRequest("rotate: only webhooks are signed.")
    changed, secret = await fanout.rotate(id_)
    return JSONResponse({**await _shown(call, changed), "secret": secret})


@dicomweb(bp, "delete_subscription", _ONE, "DELETE", partitioned=False, doc=Doc((204, 404)))
async def delete_subscription(req: Request, call: Call) -> Response:
    """End a subscription."""
    _require_version(call)
    await call.tenant.fanout.remove(_id(req))
    return Response(status_code=204)


@dicomweb(
    bp, "list_dead_letters", _ONE + "/deadletters", "GET", partitioned=False,
    doc=Doc((200, 404), (JSON,)),
)  # fmt: skip
async def list_dead_letters(req: Request, call: Call) -> Response:
    """What could not be delivered for a day."""
    _require_version(call)
    subscription = await call.tenant.fanout.get(_id(req))
    letters = await call.tenant.fanout.dead_letters(subscription.id)
    names = {"first": "firstSequence", "last": "lastSequence", "error": "error", "time": "time"}
    return JSONResponse(
        [{name: letter[member] for member, name in names.items()} for letter in letters]
    )


@dicomweb(
    bp, "redeliver", _ONE + "/$redeliver", "POST", partitioned=False,
    doc=Doc((200, 404, 409), (JSON,)),
)  # fmt: skip
async def redeliver(req: Request, call: Call) -> Response:
    """Deliver what was given up once more."""
    _require_version(call)
    try:
        sent, left = await call.tenant.fanout.redeliver(_id(req))
    except NotDelivered as trouble:
        return Response(f"The receiver did not take them: {trouble}", 409, media_type="text/plain")
    return JSONResponse({"delivered": sent, "left": left})


def _require_version(call: Call) -> None:
    if call.major < 2:
        raise RouteNotFound("Subscriptions are part of version 2.")


def _id(req: Request) -> str:
    return str(req.path_params["subscription"]).lower()


def _address(call: Call, subscription: Subscription) -> str:
    return f"{service_url(call)}/{_ALL}/{subscription.id}"


async def _shown(call: Call, one: Subscription) -> JsonObject:
    shown: JsonObject = {"id": one.id, "href": _address(call, one), "type": one.type.value}
    if one.endpoint:
        shown["endpoint"] = one.endpoint
    shown["source"] = one.origin.value
    shown |= {"actions": list(one.actions)} if one.origin is Origin.FEED else {"aeTitle": one.aet}
    shown |= {
        "partitions": list(one.partitions),
        "state": one.state.value,
        "createdTime": one.created,
        "sequence": one.cursor,
        "lag": await call.tenant.fanout.lag(one),
    }
    if one.attempts:
        shown |= {
            "attempts": one.attempts,
            "failingSince": one.failing_since,
            "nextTry": one.next_try,
            "error": one.error,
        }
    return shown


@bp.function_name("fan_out")
@bp.queue_trigger(arg_name="message", queue_name=FAN_OUT_QUEUE, connection="DicomStorage")
async def fan_out(message: func.QueueMessage) -> None:
    """Deliver what one subscription has not had."""

    async def work(app: Services, body: JsonObject) -> None:
        await (await app.tenant(body["tenant"])).fanout.delivery.work(body["subscription"])

    await work_off(message, FAN_OUT_QUEUE, work)

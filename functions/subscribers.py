"""Subscriptions to work items, and their event reports (PS3.18 11.10–11.13, 8.10.4)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urlsplit

import azure.functions as func
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions._body import JSON
from functions._catalogue import Doc
from functions._http import Call, dicom_json, dicomweb
from functions._queues import work_off
from functions._socket import EventChannel
from shared.container import Services, services
from shared.dicom import uid
from shared.errors import InvalidUid, MalformedQuery, NotAllowed
from shared.ports import JsonObject
from shared.web.query import require_harmless
from shared.worklist.delivery import WORKLIST_QUEUE
from shared.worklist.events import message
from shared.worklist.mailboxes import MOST_REPORTS, ae_title
from shared.worklist.subscriptions import FILTERED, GLOBAL, NotSubscribed

bp = func.Blueprint()

_OF_ITEM = "workitems/{workitem}/subscribers/{aetitle}"
_CHANNEL = "subscribers/{aetitle}"
_NEXT_KEY: Final = re.compile(r",(?=[0-9A-Za-z.]+=)")
_BOOLEANS: Final = {"true": True, "false": False}


@dicomweb(
    bp, "subscribe_to_workitem", _OF_ITEM, "POST",
    doc=Doc((201, 400, 404), query=("deletionlock", "filter")),
)  # fmt: skip
async def subscribe_to_workitem(req: Request, call: Call) -> Response:
    """Subscribe an AE to a work item, to all of them, or to those that match a filter."""
    require_harmless(req.url.query)
    item, aet = _work_item(req), _ae_title(req)
    lock, filter_ = _parameters(req, filtered=item == FILTERED)
    watchers, partition = call.tenant.watchers, call.partition.folded
    if item in (GLOBAL, FILTERED):
        await watchers.subscribe_all(partition, aet, lock=lock, filter_=filter_)
    else:
        await watchers.subscribe(partition, item, aet, lock=lock)
    address = f"{call.base_url}/subscribers/{quote(aet, safe='')}"
    if not await _has_web_pubsub():
        address = f"ws{address.removeprefix('http')}"
    return Response(status_code=201, headers={"Content-Location": address})


@dicomweb(bp, "unsubscribe_from_workitem", _OF_ITEM, "DELETE", doc=Doc((200, 400, 404)))
async def unsubscribe_from_workitem(req: Request, call: Call) -> Response:
    """End the subscription of an AE to a work item, or to all of them."""
    item, aet = _work_item(req), _ae_title(req)
    watchers, partition = call.tenant.watchers, call.partition.folded
    if item in (GLOBAL, FILTERED):
        await watchers.unsubscribe_all(partition, aet, filtered=item == FILTERED)
    else:
        await watchers.unsubscribe(partition, item, aet)
    return Response(status_code=200)


@dicomweb(
    bp, "suspend_worklist_subscription", _OF_ITEM + "/suspend", "POST", doc=Doc((200, 400, 404))
)
async def suspend_worklist_subscription(req: Request, call: Call) -> Response:
    """Subscribe an AE to no more new work items."""
    item, aet = _work_item(req), _ae_title(req)
    if item not in (GLOBAL, FILTERED):
        raise NotSubscribed("Only a subscription to the worklist can be suspended.")
    await call.tenant.watchers.suspend(call.partition.folded, aet, filtered=item == FILTERED)
    return Response(status_code=200)


@dicomweb(
    bp, "open_event_channel", _CHANNEL, "GET",
    doc=Doc((101, 200, 400, 426), (JSON,), query=("after",)),
)  # fmt: skip
async def open_event_channel(req: Request, call: Call) -> Response:
    """Open the channel over which an AE gets its event reports, or say where it is."""
    aet = _ae_title(req)
    place = await _place(req, call, aet)
    if not req.scope.get("websocket"):
        if await _has_web_pubsub():
            url = await call.tenant.fanout.open_socket(call.partition.folded, aet)
            return JSONResponse({"url": url})
        text = "Event reports come over a WebSocket: upgrade the connection."
        return Response(text, 426, {"Upgrade": "websocket"}, media_type="text/plain")
    await _require_harmless_page(req)
    return EventChannel(call.tenant.watchers.delivery.mailboxes, call.partition.folded, aet, place)


@dicomweb(
    bp, "list_event_reports", _CHANNEL + "/reports", "GET",
    doc=Doc((200, 204, 400), ("application/dicom+json",), query=("after",)),
)  # fmt: skip
async def list_event_reports(req: Request, call: Call) -> Response:
    """The event reports of an AE that are kept, from the oldest or behind one."""
    aet = _ae_title(req)
    place = await _place(req, call, aet) if "after" in req.query_params else 0
    mailboxes = call.tenant.watchers.delivery.mailboxes
    found = await mailboxes.reports(call.partition.folded, aet, place, MOST_REPORTS)
    if not found:
        return Response(status_code=204)
    return dicom_json([message(report) for report in found])


@bp.function_name("worklist_events")
@bp.queue_trigger(arg_name="message", queue_name=WORKLIST_QUEUE, connection="DicomStorage")
async def worklist_events(message: func.QueueMessage) -> None:
    """Deliver the reports of a work item, or go on with a subscription to the worklist."""

    async def work(app: Services, body: JsonObject) -> None:
        await (await app.tenant(body["tenant"])).watchers.work(body)

    await work_off(message, WORKLIST_QUEUE, work)


def _work_item(req: Request) -> str:
    text = str(req.path_params["workitem"])
    if not uid.is_valid(text) or text != uid.normalised(text):
        raise InvalidUid("A UID has at most 64 digits and dots, and ends in a digit.")
    return text


def _ae_title(req: Request) -> str:
    return ae_title(str(req.path_params["aetitle"]))


def _parameters(req: Request, *, filtered: bool) -> tuple[bool, list[tuple[str, str]] | None]:
    """The deletion lock, and the keys of the filter (PS3.18 Table 11.10.1-2)."""
    lock: bool | None = None
    keys: list[tuple[str, str]] = []
    for name, value in req.query_params.multi_items():
        if name.lower() == "deletionlock" and lock is None and value.lower() in _BOOLEANS:
            lock = _BOOLEANS[value.lower()]
        elif name.lower() == "deletionlock":
            raise MalformedQuery("deletionlock must be there once, and be true or false.")
        elif name.lower() == "filter" and filtered:
            keys += [_key(text) for text in _NEXT_KEY.split(value)]
        else:
            raise MalformedQuery(
                "The query may have deletionlock and, for the filtered worklist, filter."
            )
    if filtered and not keys:
        raise MalformedQuery("filter is missing: attribute=value, several with commas between.")
    return bool(lock), keys if filtered else None


def _key(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not name or not separator or not value:
        raise MalformedQuery("filter must be attribute=value, several with commas between.")
    if name.lower() in ("limit", "offset", "includefield", "continuation"):
        raise MalformedQuery("filter must name attributes.")
    return name, value


async def _place(req: Request, call: Call, aet: str) -> int:
    """Behind which report the client wants to go on; else where it was brought to."""
    mailboxes, partition = call.tenant.watchers.delivery.mailboxes, call.partition.folded
    after = req.query_params.get("after")
    if after is not None:
        return await mailboxes.place_of(partition, aet, after)
    return await mailboxes.reached(partition, aet)


async def _require_harmless_page(req: Request) -> None:
    """Refuse a page of another origin: browsers let any page open a WebSocket (RFC 6455 10.2)."""
    origin = req.headers.get("origin")
    own = urlsplit(origin or "").netloc == req.headers.get("host")
    policy = (await services()).settings.cross_origin
    if origin is not None and not own and not policy.allows(origin):
        raise NotAllowed("Pages of this origin are not let in (DICOM_CORS_ORIGINS).")


async def _has_web_pubsub() -> bool:
    """Whether sockets are held by Web PubSub: the channel's address is asked for."""
    return (await services()).settings.fanout.web_pubsub is not None

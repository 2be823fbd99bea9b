"""The worklist service, UPS-RS (PS3.18 11)."""

from __future__ import annotations

import json

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._body import json_body
from functions._catalogue import Doc
from functions._http import Call, accept, dicom_json, dicomweb
from shared.dicom import uid
from shared.errors import (
    BadRequest,
    InvalidUid,
    MalformedQuery,
    MalformedRequest,
    NotAcceptable,
    NotFound,
    StateConflict,
)
from shared.search.paging import page_headers, wants_count
from shared.web.problem import status_of
from shared.web.query import parse_search_query, require_harmless
from shared.worklist.keys import SCOPE
from shared.worklist.service import AlreadyCanceled
from shared.worklist.validation import data_set_of

bp = func.Blueprint()

_DICOM_JSON = "application/dicom+json"
_ALL = "workitems"
_ONE = _ALL + "/{workitem}"
_MOST_BODY = 1024 * 1024
_TRANSACTION_NAMES = frozenset({"transaction-uid", "transactionuid", "transaction"})
_WORK_ITEM_NAMES = frozenset({"workitem", "affectedsopinstanceuid"})
_LIMIT = "The query parameter 'Limit' is invalid. The field Limit must be between 1 and 200."


@dicomweb(
    bp, "create_workitem", _ALL, "POST", creates_partition=True,
    doc=Doc((201, 400, 406, 409, 415), (_DICOM_JSON,), (_DICOM_JSON,), query=("workitem",)),
)  # fmt: skip
async def create_workitem(req: Request, call: Call) -> Response:
    """Create a work item."""
    _require_acceptable(req)
    name = _named(req, _WORK_ITEM_NAMES)
    data_set = data_set_of(await json_body(req, _MOST_BODY, media_type=_DICOM_JSON))
    own = (data_set.get("00080018") or {}).get("Value") or [None]
    if own[0] is not None:
        data_set["00080018"] = {"vr": "UI", "Value": [_valid(own[0])]}
    made = await call.tenant.worklist.create(call.partition.folded, name, data_set)
    address = f"{call.base_url}/{_ALL}/{made}"
    return Response(status_code=201, headers={"Location": address, "Content-Location": address})


@dicomweb(bp, "retrieve_workitem", _ONE, "GET", doc=Doc((200, 400, 404, 406, 410), (_DICOM_JSON,)))
async def retrieve_workitem(req: Request, call: Call) -> Response:
    """A work item."""
    _require_acceptable(req)
    name = _valid(req.path_params["workitem"])
    return dicom_json(await call.tenant.worklist.retrieve(call.partition.folded, name))


@dicomweb(
    bp, "update_workitem", _ONE, "POST",
    doc=Doc((200, 400, 404, 409, 410, 415), (), (_DICOM_JSON,), query=("transaction-uid",)),
)  # fmt: skip
async def update_workitem(req: Request, call: Call) -> Response:
    """Put attributes in place of those of a work item."""
    name = _valid(req.path_params["workitem"])
    body = await json_body(req, _MOST_BODY, media_type=_DICOM_JSON)
    try:
        transaction = _named(req, _TRANSACTION_NAMES)
        await call.tenant.worklist.update(
            call.partition.folded, name, transaction, data_set_of(body)
        )
    except (BadRequest, NotFound, StateConflict) as error:
        return _warned(req, error)
    headers = {"Content-Location": f"{call.base_url}/{_ALL}/{name}"}
    return Response(status_code=200, headers=headers)


@dicomweb(
    bp, "change_workitem_state", _ONE + "/state", "PUT",
    doc=Doc((200, 400, 404, 409, 410, 415), (), (_DICOM_JSON,)),
)  # fmt: skip
async def change_workitem_state(req: Request, call: Call) -> Response:
    """Claim, complete or cancel a work item as its owner."""
    name = _valid(req.path_params["workitem"])
    body = await json_body(req, _MOST_BODY, media_type=_DICOM_JSON)
    try:
        data_set = data_set_of(body)
        for transaction in (data_set.get("00081195") or {}).get("Value") or ():
            _valid(transaction)
        change = await call.tenant.worklist.change_state(call.partition.folded, name, data_set)
    except (BadRequest, NotFound, StateConflict) as error:
        return _warned(req, error)
    if change.warning is None:
        return Response(status_code=200)
    warning = _warning(req, change.warning)
    return Response(change.warning, 200, {"Warning": warning}, media_type="text/plain")


@dicomweb(
    bp, "request_workitem_cancellation", _ONE + "/cancelrequest", "POST",
    doc=Doc((202, 400, 404, 409, 410, 415), (), (_DICOM_JSON,)),
)  # fmt: skip
async def request_workitem_cancellation(req: Request, call: Call) -> Response:
    """Ask for the cancellation of a work item."""
    name = _valid(req.path_params["workitem"])
    data_set = data_set_of(await json_body(req, _MOST_BODY, media_type=_DICOM_JSON))
    try:
        canceled = await call.tenant.worklist.request_cancellation(
            call.partition.folded, name, data_set
        )
    except (StateConflict, NotFound) as error:
        headers = {}
        if isinstance(error, AlreadyCanceled):
            headers["Warning"] = _warning(req, str(error))
        text = json.dumps(str(error))
        return Response(text, status_of(error), headers, media_type="application/json")
    done = "The workitem was cancelled."
    text = json.dumps(done if canceled else "The request goes to the subscribers of the workitem.")
    return Response(text, 202, media_type="application/json")


@dicomweb(
    bp, "search_workitems", _ALL, "GET",
    doc=Doc(
        (200, 204, 400, 406), (_DICOM_JSON,),
        query=("limit", "offset", "fuzzymatching", "includefield"), attributes=True,
    ),
)  # fmt: skip
async def search_workitems(req: Request, call: Call) -> Response:
    """Work items."""
    _require_acceptable(req)
    require_harmless(req.url.query)
    parameters = req.query_params.multi_items()
    for name, value in parameters:
        if name.lower() == "limit" and not _is_limit(value):
            raise MalformedQuery(_LIMIT)
        if name.lower() == "includefield" and "." in value:
            raise MalformedQuery("Invalid query: includefield names an attribute in a sequence.")
    query = parse_search_query(parameters, SCOPE, most=200)
    page = await call.tenant.worklist.search(
        query, call.partition.folded, count=wants_count(req.headers.getlist("prefer"))
    )
    address = f"{call.base_url}/{_ALL}"
    headers = page_headers(page, query, address, parameters, call.base_url)
    if not page.rows:
        return Response(status_code=204, headers=headers)
    return dicom_json(page.rows, headers=headers)


def _named(req: Request, names: frozenset[str]) -> str | None:
    """The UID in the query: the value of a parameter of the standard, or a name by itself."""
    found = [
        value if name.lower() in names else name
        for name, value in req.query_params.multi_items()
        if name.lower() in names or not value
    ]
    if len(req.query_params.multi_items()) != len(found) or len(found) > 1:
        raise MalformedRequest("The query must be one UID, or one parameter with it.")
    return _valid(found[0]) if found else None


def _valid(text: object) -> str:
    if not isinstance(text, str) or not uid.is_valid(text) or text != uid.normalised(text):
        raise InvalidUid("A UID has at most 64 digits and dots, and ends in a digit.")
    return text


def _is_limit(text: str) -> bool:
    word = text.strip()
    return word.isascii() and word.isdigit() and len(word) < 5 and 1 <= int(word) <= 200


def _require_acceptable(req: Request) -> None:
    """No ``Accept`` allows everything (RFC 9110 12.5.1)."""
    header = accept(req)
    if header is None or not header.strip():
        return
    for entry in header.lower().split(","):
        media, *parameters = (word.strip() for word in entry.split(";"))
        excluded = any(
            word.replace(" ", "").startswith("q=0") and not word.strip("q=0. ")
            for word in parameters
        )
        if media in ("*/*", "application/*", _DICOM_JSON) and not excluded:
            return
    raise NotAcceptable(f"A work item can be sent as {_DICOM_JSON} only.")


def _warned(req: Request, error: Exception) -> Response:
    """A refusal whose text is a warning too (spec §8)."""
    headers = {"Warning": _warning(req, str(error))}
    return Response(str(error), status_of(error), headers, media_type="text/plain")


def _warning(req: Request, text: str) -> str:
    quoted = text.replace("\\", "").replace('"', "'")
    return f'299 {req.url.hostname or "-"}: "{quoted}"'

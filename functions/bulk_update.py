"""Bulk update of studies (spec operations.md §3)."""

from __future__ import annotations

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response

from functions._body import JSON, json_object
from functions._catalogue import Doc
from functions._http import Call, dicom_json, dicomweb
from functions.operations import accepted, already_running
from shared.errors import OperationRunning, RouteNotFound
from shared.update.changes import ChangesRefused, changes_of, studies_of
from shared.update.operation import UPDATE

bp = func.Blueprint()

_MOST_BODY = 1024 * 1024


@dicomweb(
    bp,
    "bulk_update",
    "studies/$bulkUpdate",
    "POST",
    doc=Doc((202, 400, 404, 409, 415), (JSON,), (JSON,)),
)
async def bulk_update(req: Request, call: Call) -> Response:
    """Change attributes of the patient and of the study in all instances of studies."""
    if call.major < 2:
        raise RouteNotFound("Bulk update is part of version 2.")
    body = await json_object(req, _MOST_BODY)
    studies = studies_of(body)
    try:
        changes = changes_of(body)
    except ChangesRefused as refused:
        return dicom_json(_failed_attributes(refused.comments), status=400)
    asked = {
        "partition": call.partition.name,
        "studies": studies,
        "changes": changes,
        "resourcesUrl": call.resources_url,
    }
    try:
        return accepted(call, await call.tenant.operations.start(UPDATE, asked, claims=(UPDATE,)))
    except OperationRunning as running:
        return already_running(call, running)


def _failed_attributes(comments: list[str]) -> dict[str, object]:
    """FailedAttributesSequence (0074,1048), an item for each attribute (spec §3.1)."""
    items = [{"00000902": {"vr": "LO", "Value": [comment]}} for comment in comments]
    return {"00741048": {"vr": "SQ", "Value": items}}

"""Event subscriptions to the blob-triggered functions, where ``DICOM_BLOB_EVENTS=blobTrigger``.

Their webhook carries a system key of the host, which exists only once the functions are deployed:
so Bicep cannot make them. With the default, a queue, there is no key and nothing to do here.

References
----------
Resource Manager: Microsoft.Web/sites/host listKeys 2024-04-01;
Microsoft.EventGrid/systemTopics/eventSubscriptions 2025-02-15.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from infra.hooks.azd import HookStopped
from infra.hooks.rest import Refused, Rest

_SITE_VERSION = "api-version=2024-04-01"
_GRID_VERSION = "api-version=2025-02-15"
_KEY = "blobs_extension"
_TRIES, _PAUSE_S = 40, 15.0
_COMPLETE = ["PutBlob", "PutBlockList", "CopyBlob"]
"""Calls of the blob service after which a blob is whole."""
_FOLDERS = {"index": "instances", "import": "import"}
"""By the verb that names the function (``functions/indexing.py``)."""


def subscriptions(tenants: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Name of each subscription; its function, and how the subjects of its events begin."""
    found = {}
    for tenant in tenants:
        for verb, folder in _FOLDERS.items():
            subject = f"/blobServices/default/containers/dicom-{tenant}/blobs/{folder}/"
            function = f"{verb}_blob_{tenant.replace('-', '_')}"
            found[f"{verb}-blob-{tenant}"] = (function, subject)
    return found


def subscribe(
    management: Rest,
    group: str,
    *,
    site: str,
    address: str,
    topic: str,
    tenants: tuple[str, ...],
) -> list[str]:
    """Make or update the subscriptions. Their names.

    Raises
    ------
    HookStopped
        The host has no key yet, or Event Grid refuses; the message says what to look at.
    """
    try:
        key = _system_key(management, group, site)
        for name, (function, subject) in subscriptions(tenants).items():
            query = urlencode({"functionName": f"Host.Functions.{function}", "code": key})
            webhook = f"{address}/runtime/webhooks/blobs?{query}"
            path = (
                f"{group}/providers/Microsoft.EventGrid/systemTopics/{topic}"
                f"/eventSubscriptions/{name}?{_GRID_VERSION}"
            )
            management.call("PUT", path, {"properties": _properties(webhook, subject)})
            _wait(management, path, name)
    except Refused as refused:
        raise HookStopped(
            f"The event subscriptions could not be made ({refused}). That takes the roles Website "
            "Contributor on the app and EventGrid Contributor on the topic. New files are found "
            "by the operation $reconcile until they are there; run azd deploy again."
        ) from None
    return list(subscriptions(tenants))


def _system_key(management: Rest, group: str, site: str) -> str:
    """The key of the webhook, which the host makes when it has loaded the functions."""
    path = f"{group}/providers/Microsoft.Web/sites/{site}/host/default/listKeys?{_SITE_VERSION}"
    for _ in range(_TRIES):
        found = management.call("POST", path) or {}
        key = (found.get("systemKeys") or {}).get(_KEY)
        if key:
            return str(key)
        management.pause(_PAUSE_S)
    raise HookStopped(
        f"The host of {site} has made no key {_KEY} within ten minutes: its blob-triggered "
        "functions are not loaded. Look at the log stream, and whether the plan has an always "
        "ready instance for the group blob. Then run azd deploy again."
    )


def _wait(management: Rest, path: str, name: str) -> None:
    """Until Event Grid has shaken hands with the webhook."""
    for _ in range(_TRIES):
        state = management.call("GET", path)["properties"].get("provisioningState")
        if state == "Succeeded":
            return
        if state in ("Failed", "Canceled"):
            raise HookStopped(
                f"Event Grid could not make the subscription {name}: the webhook did not answer "
                "its handshake. Run azd deploy again when the app answers /health/check."
            )
        management.pause(_PAUSE_S)
    raise HookStopped(f"Event Grid has not made the subscription {name} within ten minutes.")


def _properties(webhook: str, subject: str) -> dict[str, Any]:
    return {
        "destination": {
            "endpointType": "WebHook",
            "properties": {"endpointUrl": webhook, "maxEventsPerBatch": 1},
        },
        "eventDeliverySchema": "EventGridSchema",
        "filter": {
            "includedEventTypes": ["Microsoft.Storage.BlobCreated"],
            "subjectBeginsWith": subject,
            "advancedFilters": [
                {"key": "data.api", "operatorType": "StringIn", "values": _COMPLETE}
            ],
        },
        "retryPolicy": {"maxDeliveryAttempts": 30, "eventTimeToLiveInMinutes": 1440},
    }

"""What a tenant's callers can do beside storing, searching and retrieving: each of it once.

done = use(client, study, partition="shared", place=new_place(connection))
"""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from shared.ports import JsonObject
from tests.support.dicom import new_uid
from tests.support.export import Place
from tests.support.work_items import KIND, PERFORMED, state, value, work_item

TAG = "00081010"
"""StationName: the tag that is added, changed and deleted."""

_SECONDS = 60.0


class _User:
    """Calls functions, and remembers those that have succeeded."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.done: set[str] = set()

    def call(
        self, function: str, method: str, path: str, body: Any = None, *fine: int, **headers: str
    ) -> httpx.Response:
        """Call a function, which is to succeed or to end with a status that is ``fine``."""
        content = b"" if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} | headers
        answer = self._http.request(method, path, content=content, headers=kind)
        assert answer.is_success or answer.status_code in fine, (function, answer.text)
        self.done.add(function)
        return answer

    def ended(self, started: httpx.Response) -> JsonObject:
        """The operation that an answer names, at its end."""
        href = started.json()["href"]
        deadline = time.monotonic() + _SECONDS
        while (answer := self.call("retrieve_operation", "GET", href)).status_code == 202:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.1)
        body: JsonObject = answer.json()
        return body


def add_tag(http: httpx.Client, level: str) -> None:
    """Have a tenant search by ``TAG`` at a level."""
    user = _User(http)
    body = [{"path": TAG, "level": level}]
    user.ended(user.call("add_extended_query_tags", "POST", "extendedquerytags", body))


def add_work_item(http: httpx.Client, uid: str, label: str, partition: str = "") -> None:
    """Create a work item."""
    body = [work_item(uid, t00741204=value("LO", label))]
    path = f"{partition}workitems?{uid}"
    _User(http).call("create_workitem", "POST", path, body, **KIND)


def add_subscription(http: httpx.Client, queue: str) -> JsonObject:
    """Subscribe a queue to the tenant's changes."""
    asked = {"type": "queue", "endpoint": queue}
    body: JsonObject = _User(http).call("add_subscription", "POST", "subscriptions", asked).json()
    return body


def use(
    http: httpx.Client, study: str, item: str, *, place: Place, queue: str
) -> tuple[set[str], set[str]]:
    """Do all of it; the study and the work item ``item`` are there in both data partitions.

    Returns
    -------
    tuple
        The functions that have succeeded, and ids that other tenants must not be able to use.
    """
    user = _User(http)
    operations = _tags(user)
    _worklist(user, item, "")
    _worklist(user, item, "partitions/shared/")
    subscription = _subscription(user, queue)
    operations |= _operations(user, study, place)
    _fhir(user, study)
    return user.done, operations | {subscription}


def _tags(user: _User) -> set[str]:
    one = f"extendedquerytags/{TAG}"
    body = [{"path": TAG, "level": "Series"}]
    added = user.call("add_extended_query_tags", "POST", "extendedquerytags", body)
    user.ended(added)
    user.call("list_extended_query_tags", "GET", "extendedquerytags")
    user.call("retrieve_extended_query_tag", "GET", one)
    user.call("list_extended_query_tag_errors", "GET", f"{one}/errors")
    user.call("update_extended_query_tag", "PATCH", one, {"queryStatus": "Disabled"})
    user.call("delete_extended_query_tag", "DELETE", one)
    return {added.json()["id"]}


def _worklist(user: _User, item: str, partition: str) -> None:
    items, transaction = f"{partition}workitems", new_uid()
    user.call("search_workitems", "GET", items, **KIND)
    user.call("retrieve_workitem", "GET", f"{items}/{item}", **KIND)
    label = [{"00741204": value("LO", "TenantMain again")}]
    user.call("update_workitem", "POST", f"{items}/{item}", label, **KIND)
    for each in ("IN PROGRESS", "COMPLETED"):
        body = state(each, transaction)
        user.call("change_workitem_state", "PUT", f"{items}/{item}/state", body, **KIND)
        performed = [{"00741216": PERFORMED}]
        if each == "IN PROGRESS":
            path = f"{items}/{item}?{transaction}"
            user.call("update_workitem", "POST", path, performed, **KIND)
    other = new_uid()
    user.call("create_workitem", "POST", f"{items}?{other}", [work_item(other)], **KIND)
    path = f"{items}/{other}/cancelrequest"
    user.call("request_workitem_cancellation", "POST", path, [{}], **KIND)


def _subscription(user: _User, queue: str) -> str:
    asked = {"type": "queue", "endpoint": queue}
    added = user.call("add_subscription", "POST", "subscriptions", asked).json()
    one = f"subscriptions/{added['id']}"
    user.call("list_subscriptions", "GET", "subscriptions")
    user.call("retrieve_subscription", "GET", one)
    user.call("list_dead_letters", "GET", f"{one}/deadletters")
    user.call("redeliver", "POST", f"{one}/$redeliver")
    user.call("update_subscription", "PATCH", one, {"state": "paused"})
    user.call("delete_subscription", "DELETE", one)
    return str(added["id"])


def _operations(user: _User, study: str, place: Place) -> set[str]:
    source = {"type": "identifiers", "settings": {"values": [study]}}
    ids = set()
    for prefix in ("", "partitions/shared/"):
        body = {"source": source, "destination": place.destination()}
        exported = user.call("export", "POST", f"{prefix}export", body)
        results = user.ended(exported)["results"]
        assert results["exported"] == 1, results
        changes = {"studyInstanceUids": [study], "changeDataset": {
            "00081030": {"vr": "LO", "Value": ["TenantMain again"]}}}  # fmt: skip
        updated = user.call("bulk_update", "POST", f"{prefix}studies/$bulkUpdate", changes)
        assert user.ended(updated)["status"] == "succeeded"
        ids |= {exported.json()["id"], updated.json()["id"]}
    user.call("list_operations", "GET", "operations")
    reconciled = user.call("reconcile", "POST", "$reconcile", {})
    path = f"operations/{reconciled.json()['id']}/$cancel"
    user.call("cancel_operation", "POST", path, None, 409)  # it may have ended
    user.ended(reconciled)
    return ids | {reconciled.json()["id"]}


def _fhir(user: _User, study: str) -> None:
    """The FHIR server is turned off: what is asked for waits."""
    assert user.call("fhir_state", "GET", "fhir").json()["enabled"] is False
    user.call("fhir_failures", "GET", "fhir/failures")
    user.call("retry_fhir_failures", "POST", "fhir/failures/$retry")
    user.call("replay_to_fhir", "POST", "fhir/$replay", {"sequence": 1})
    user.call("resync_fhir", "POST", "fhir/$resync", None, 409)
    for prefix in ("", "partitions/shared/"):
        user.call("resync_study_to_fhir", "POST", f"{prefix}studies/{study}/$resync")

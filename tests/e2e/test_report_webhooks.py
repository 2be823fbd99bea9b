"""Event reports of work items at a webhook (docs/worklist-events.md)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.worklist.subscriptions import GLOBAL
from tests.support import dicom
from tests.support.hooks import Hook, hook_running
from tests.support.server import Server
from tests.support.work_items import state, work_item

_CRASHING = Path(dicom.__file__).parent / "crashing_app"
_KIND = {"Content-Type": "application/dicom+json"}


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_running() as running:
        yield running


def _create(http: httpx.Client) -> str:
    uid = dicom.new_uid()
    body = json.dumps([work_item(uid)])
    assert http.post(f"/workitems?{uid}", content=body, headers=_KIND).status_code == 201
    return uid


def _claim(http: httpx.Client, uid: str) -> None:
    body = json.dumps(state("IN PROGRESS", dicom.new_uid()))
    assert http.put(f"/workitems/{uid}/state", content=body, headers=_KIND).status_code == 200


def _kept(http: httpx.Client, count: int) -> list[str]:
    """The ids of the reports of the AE, when there are so many."""
    deadline = time.monotonic() + 30
    while True:
        answer = http.get("/subscribers/PIPELINE/reports")
        found = answer.json() if answer.status_code == 200 else []
        if len(found) >= count:
            return [one["00091001"]["Value"][0] for one in found]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _ask_until_it_dies(http: httpx.Client) -> None:
    for _ in range(600):
        http.get("/subscriptions")
        time.sleep(0.05)


def _ids(events: list[dict[str, Any]]) -> list[str]:
    return [event["id"] for event in events]


def test_reports_arrive_and_outlive_the_process(
    new_account: Callable[[], str], tmp_path: Path, hook: Hook
) -> None:
    """The process dies after the delivery, before it has written how far it is."""
    environment = {
        "DICOM_WEBHOOK_HOSTS": "127.0.0.1",
        "DICOM_SECRETS_KEY": base64.urlsafe_b64encode(bytes(32)).decode(),
    }
    account = new_account()
    healthy = Server(connection=account, data=tmp_path, seed=True, environment=environment)
    asked = {"type": "webhook", "endpoint": hook.url, "secret": "s" * 32}
    asked |= {"source": "worklist", "aeTitle": "PIPELINE"}
    base = f"{healthy.base_url}/main/v2"
    with healthy, httpx.Client(base_url=base, timeout=60) as http:
        assert http.post(f"/workitems/{GLOBAL}/subscribers/PIPELINE").status_code == 201
        added = http.post("/subscriptions", json=asked)
        assert added.status_code == 201, added.text
        url, shown = added.headers["Location"], added.json()
        assert (shown["source"], shown["aeTitle"]) == ("worklist", "PIPELINE")
        assert (shown["partitions"], "actions" in shown) == (["microsoft.default"], False)
        uid = _create(http)
        [event] = hook.wait_for(1)
        assert event["type"] == "Dicom.UpsStateReport"
        assert event["data"]["00001000"]["Value"] == [uid]
        headers, body = hook.bodies[0]
        seconds, value = headers["X-Dicom-Signature"].split(",")
        signed = hmac.new(b"s" * 32, seconds[2:].encode() + b"." + body, hashlib.sha256)
        assert value == f"v1={signed.hexdigest()}"
        assert http.patch(url, json={"state": "paused"}).status_code == 200
        _claim(http, uid)
        ids = _kept(http, 2)
        assert http.get(url).json()["lag"] == 1
    crashing = Server(
        connection=account,
        data=tmp_path,
        app=_CRASHING,
        port=healthy.port,
        # the state and its message, the worker that is at it, and how far it is
        environment={**environment, "CRASH_BEFORE_WRITE": "4"},
    )
    with crashing, httpx.Client(base_url=base, timeout=60) as http:
        assert http.patch(url, json={"state": "active"}).status_code == 200
        assert _ids(hook.wait_for(2)) == ids
        with pytest.raises(httpx.TransportError):
            _ask_until_it_dies(http)
    with healthy, httpx.Client(base_url=base, timeout=60) as http:
        assert http.get(url).json()["lag"] == 1
        assert http.patch(url, json={"state": "active"}).status_code == 200  # or a minute later
        assert _ids(hook.wait_for(3)) == [*ids, ids[1]]
        _claim(http, _create(http))
        assert _ids(hook.wait_for(5))[3:] == _kept(http, 4)[2:]
        assert http.delete(url).status_code == 204

"""Subscriptions over HTTP: a store is answered, and its event arrives (docs/events.md)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from azure.storage.queue import QueueClient, TextBase64DecodePolicy

from tests.support import dicom
from tests.support.hooks import Hook, hook_running
from tests.support.pubsub import PubSub, pubsub_running
from tests.support.server import Server
from tests.support.work_items import work_item

DICOM = {"Content-Type": "application/dicom"}


@pytest.fixture(scope="module")
def connection(new_account: Callable[[], str]) -> str:
    return new_account()


@pytest.fixture(scope="module")
def topic() -> Iterator[Hook]:
    with hook_running() as running:
        yield running


@pytest.fixture(scope="module")
def pubsub() -> Iterator[PubSub]:
    with pubsub_running() as running:
        yield running


@pytest.fixture(scope="module")
def http(
    connection: str, topic: Hook, pubsub: PubSub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A service that may send events to this machine."""
    folder: Path = tmp_path_factory.mktemp("subscriptions")
    environment = {
        "DICOM_WEBHOOK_HOSTS": "127.0.0.1,hooks.example",
        "DICOM_SECRETS_KEY": base64.urlsafe_b64encode(bytes(32)).decode(),
        "DICOM_EVENTGRID_ENDPOINT": topic.url,
        "DICOM_WEBPUBSUB_ENDPOINT": pubsub.url,
    }
    with (
        Server(connection=connection, data=folder, seed=True, environment=environment) as server,
        httpx.Client(base_url=f"{server.base_url}/main/v2", timeout=60) as client,
    ):
        yield client


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_running() as running:
        yield running


def _store(http: httpx.Client) -> str:
    ds = dicom.ct()
    answer = http.post("/studies", content=dicom.part10(ds), headers=DICOM)
    assert answer.status_code == 200
    return str(ds.SOPInstanceUID)


def test_a_store_an_update_of_the_subscription_and_the_end(http: httpx.Client, hook: Hook) -> None:
    asked = {"type": "webhook", "endpoint": hook.url, "secret": "s" * 32}
    added = http.post("/subscriptions", json=asked)
    assert added.status_code == 201, added.text
    body = added.json()
    url = added.headers["Location"]
    assert url == body["href"]
    assert body["secret"] == "s" * 32
    uid = _store(http)
    [event] = hook.wait_for(1)
    assert event["data"]["imageSopInstanceUid"] == uid
    headers, sent = hook.bodies[0]
    seconds, value = headers["X-Dicom-Signature"].split(",")
    expected = hmac.new(b"s" * 32, seconds[2:].encode() + b"." + sent, hashlib.sha256)
    assert value == f"v1={expected.hexdigest()}"
    shown = http.get(url).json()
    assert "secret" not in shown
    assert shown["state"] == "active"
    assert body["id"] in {one["id"] for one in http.get("/subscriptions").json()}
    assert http.patch(url, json={"state": "paused"}).json()["state"] == "paused"
    _store(http)
    assert http.get(url).json()["lag"] == 1
    time.sleep(0.5)
    assert len(hook.events) == 1
    assert http.patch(url, json={"rotate": True}).json()["secret"] != "s" * 32
    assert http.patch(url, json={"state": "active"}).status_code == 200
    hook.wait_for(2)
    assert http.get(f"{url}/deadletters").json() == []
    assert http.post(f"{url}/$redeliver").json() == {"delivered": 0, "left": 0}
    assert http.delete(url).status_code == 204
    assert http.get(url).status_code == 404
    assert http.delete(url).status_code == 404


def test_a_dead_receiver_delays_nobody(http: httpx.Client, hook: Hook) -> None:
    with hook_running() as slow:
        slow.delay_s, slow.status = 3, 500
        urls = [
            http.post("/subscriptions", json={"type": "webhook", "endpoint": each.url}).headers[
                "Location"
            ]
            for each in (slow, hook)
        ]
        began = time.monotonic()
        uid = _store(http)
        assert time.monotonic() - began < 2
        [event] = hook.wait_for(1)
        assert event["data"]["imageSopInstanceUid"] == uid
        deadline = time.monotonic() + 20
        while "error" not in (failing := http.get(urls[0]).json()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "500" in failing["error"]
        assert failing["attempts"] >= 1
        slow.delay_s, slow.status = 0, 200
        assert slow.wait_for(1)[0]["id"] == event["id"]
        for url in urls:
            assert http.delete(url).status_code == 204


def test_event_grid_and_a_queue(http: httpx.Client, topic: Hook, connection: str) -> None:
    for asked in ({"type": "eventGrid"}, {"type": "queue", "endpoint": "events-pacs"}):
        assert http.post("/subscriptions", json=asked).status_code == 201
    uid = _store(http)
    [event] = topic.wait_for(1)
    assert event["data"]["imageSopInstanceUid"] == uid
    queue = QueueClient.from_connection_string(
        connection, "events-pacs", message_decode_policy=TextBase64DecodePolicy()
    )
    deadline = time.monotonic() + 20
    message = None
    while message is None:
        assert time.monotonic() < deadline
        try:
            message = queue.receive_message()
        except Exception:  # it is made with the first message
            time.sleep(0.1)
    assert uid in message.content
    for one in http.get("/subscriptions").json():
        http.delete(one["href"])


def test_a_socket_that_web_pubsub_holds(http: httpx.Client, pubsub: PubSub) -> None:
    uid = dicom.new_uid()
    kind = {"Content-Type": "application/dicom+json"}
    body = json.dumps([work_item(uid)])
    assert http.post(f"/workitems?{uid}", content=body, headers=kind).status_code == 201
    channel = f"{str(http.base_url).rstrip('/')}/subscribers/READER%201"
    opened = http.get(channel)
    assert opened.status_code == 200
    assert opened.json()["url"].startswith(pubsub.url.replace("http", "ws"))
    assert opened.headers["Cache-Control"] == "no-store"
    subscribed = http.post(f"/workitems/{uid}/subscribers/READER%201")
    assert subscribed.headers["Content-Location"] == channel
    deadline = time.monotonic() + 20
    while not pubsub.sent:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [json.loads(pubsub.sent[0])] == http.get(f"{channel}/reports").json()
    pubsub.status = 503
    assert http.get(channel).status_code == 503
    pubsub.status = 0
    [shown] = [one for one in http.get("/subscriptions").json() if one["type"] == "webPubSub"]
    assert shown["aeTitle"] == "READER 1"
    assert http.delete(shown["href"]).status_code == 204


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({}, "type"),
        ({"type": "webPubSub", "source": "worklist", "aeTitle": "A"}, "type"),
        ({"type": "mail"}, "type"),
        ({"type": "webhook"}, "endpoint"),
        ({"type": "webhook", "endpoint": "https://10.0.0.1/x"}, "DICOM_WEBHOOK_HOSTS"),
        ({"type": "webhook", "endpoint": "https://other.example/"}, "DICOM_WEBHOOK_HOSTS"),
        ({"type": "webhook", "endpoint": "http://hooks.example/"}, "endpoint"),
        ({"type": "webhook", "endpoint": "https://u:p@hooks.example/"}, "endpoint"),
        ({"type": "webhook", "endpoint": "https://hooks.example/?sig=1"}, "endpoint"),
        ({"type": "webhook", "endpoint": "https://[::1/"}, "endpoint"),
        ({"type": "webhook", "endpoint": 7}, "endpoint"),
        ({"type": "queue", "endpoint": "operations"}, "events-"),
        ({"type": "queue", "endpoint": "events-A"}, "events-"),
        ({"type": "eventGrid", "endpoint": "https://x"}, "endpoint"),
        ({"type": "eventGrid", "actions": ["create"]}, "actions"),
        ({"type": "eventGrid", "partitions": ["a/b"]}, "partitions"),
        ({"type": "eventGrid", "afterSequence": -1}, "afterSequence"),
        ({"type": "eventGrid", "secret": "x" * 20}, "secret"),
        ({"type": "eventGrid", "colour": 1}, "colour"),
    ],
)
def test_what_is_wrong_is_named(http: httpx.Client, asked: dict[str, object], named: str) -> None:
    answer = http.post("/subscriptions", json=asked)
    assert answer.status_code == 400
    assert named in answer.text


def test_further_refusals(http: httpx.Client, hook: Hook) -> None:
    hook.allowed = None
    answer = http.post("/subscriptions", json={"type": "webhook", "endpoint": hook.url})
    assert answer.status_code == 400
    assert "OPTIONS" in answer.text
    text = {"Content-Type": "text/plain"}
    assert http.post("/subscriptions", content="{}", headers=text).status_code == 415
    for path in ("/subscriptions/abc", "/subscriptions/abc/deadletters"):
        assert http.get(path).status_code == 404
    added = http.post("/subscriptions", json={"type": "eventGrid"}).headers["Location"]
    for body in ({}, {"state": "off"}, {"rotate": True}, {"endpoint": "x"}):
        assert http.patch(added, json=body).status_code == 400
    assert http.delete(added).status_code == 204
    v1 = str(http.base_url).replace("/v2", "/v1")
    assert httpx.get(f"{v1}subscriptions").status_code == 404

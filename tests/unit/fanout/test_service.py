"""Subscribers that fail, sleep and die: events come at least once, in order, to each by itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta

import pytest

from shared.adapters.azure.events import EventOutlets
from shared.adapters.system import RandomIds
from shared.errors import Unavailable
from shared.export.addresses import AllowedHosts
from shared.fanout.models import FAN_OUT_QUEUE, Origin, State, Subscription, Type
from shared.fanout.ports import NotDelivered
from shared.fanout.records import SubscriptionNotFound
from shared.fanout.service import FanOut
from shared.fanout.sources import FeedSource
from shared.feed.reader import ChangeFeed
from shared.feed.sequencer import Sequencer
from shared.operations.sealing import Sealer
from tests.support import dicom
from tests.support.hooks import Hook, hook_running
from tests.unit.store.conftest import Tenant, tenant

__all__ = ["tenant"]

_KEY = base64.urlsafe_b64encode(bytes(32)).decode()
_URL = "http://host/main"


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_running() as running:
        yield running


@pytest.fixture
async def outlets(tenant: Tenant) -> AsyncIterator[EventOutlets]:
    found = EventOutlets(
        tenant.queue, AllowedHosts(("127.0.0.1",)), None,
        origin="host", client_id=None, signed_in=False,
    )  # fmt: skip
    yield found
    await found.close()


def _fanout(tenant: Tenant, outlets: EventOutlets) -> FanOut:
    """As a process makes it that has just begun."""
    feed = ChangeFeed(tenant.documents, tenant.blobs, Sequencer(tenant.documents, tenant.clock))
    return FanOut(
        tenant.documents, {Origin.FEED: FeedSource(feed, _URL)}, tenant.queue, outlets,
        sealer=Sealer([_KEY]), ids=RandomIds(), clock=tenant.clock, tenant="main",
    )  # fmt: skip


def _to(hook: Hook, **more: tuple[str, ...]) -> Subscription:
    return Subscription("", Type.WEBHOOK, hook.url, "", **more)


async def _store(tenant: Tenant, *numbers: int) -> None:
    for number in numbers:
        await tenant.store(dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.{number}"))


def _sequences(hook: Hook) -> list[int]:
    return [event["data"]["sequenceNumber"] for event in hook.events]


@pytest.mark.spec("change-feed", 31)
async def test_events_have_the_form_of_the_specification(
    tenant: Tenant, outlets: EventOutlets, hook: Hook
) -> None:
    fanout = _fanout(tenant, outlets)
    new, secret = await fanout.add(_to(hook), after=0, secret=None)
    await _store(tenant, 1)
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    await fanout.lag(new)  # reads the feed, which drains the outbox
    await fanout.delivery.work(new.id)
    created, deleted = hook.events
    assert created["type"] == "Microsoft.HealthcareApis.DicomImageCreated"
    assert deleted["type"] == "Microsoft.HealthcareApis.DicomImageDeleted"
    assert created["specversion"] == "1.0"
    assert created["source"] == _URL
    data = created["data"]
    assert data == {
        "partitionName": "Microsoft.Default",
        "imageStudyInstanceUid": dicom.STUDY,
        "imageSeriesInstanceUid": data["imageSeriesInstanceUid"],
        "imageSopInstanceUid": f"{dicom.INSTANCE}.1",
        "serviceHostName": "host",
        "sequenceNumber": 1,
    }
    assert created["subject"] == (
        f"host/main/v2/partitions/Microsoft.Default/studies/{dicom.STUDY}/series/"
        f"{data['imageSeriesInstanceUid']}/instances/{dicom.INSTANCE}.1"
    )
    headers, body = hook.bodies[0]
    seconds, value = headers["X-Dicom-Signature"].split(",")
    signed = seconds.removeprefix("t=").encode() + b"." + body
    assert secret is not None
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert value == f"v1={expected}"
    assert secret not in json.dumps((await fanout.get(new.id)).to_json())


@pytest.mark.spec("change-feed", 32)
async def test_a_receiver_that_is_away_gets_everything_later_with_the_same_ids(
    tenant: Tenant, outlets: EventOutlets, hook: Hook
) -> None:
    fanout = _fanout(tenant, outlets)
    new, _ = await fanout.add(_to(hook), after=0, secret=None)
    await _store(tenant, 1, 2)
    await fanout.lag(new)
    hook.status = 503
    await fanout.delivery.work(new.id)
    failing = await fanout.get(new.id)
    assert (failing.attempts, failing.cursor) == (1, 0)
    assert "503" in str(failing.error)
    queue, message, delay = tenant.queue.sent[-1]
    assert (queue, message["subscription"]) == (FAN_OUT_QUEUE, new.id)
    assert 1 <= delay <= 5
    hook.status = 200
    await fanout.delivery.work(new.id)
    assert not hook.events, "not before its time"
    tenant.clock.pass_by(seconds=10)
    await fanout.delivery.work(new.id)
    assert _sequences(hook) == [1, 2]
    ids = [event["id"] for event in hook.events]
    assert (await fanout.get(new.id)).attempts == 0
    tenant.documents.failing = lambda _operations: _raise(Unavailable())
    again = _fanout(tenant, outlets)
    await _store_and_ignore(tenant)
    tenant.documents.failing = lambda _operations: None
    other, _ = await again.add(_to(hook), after=0, secret=None)
    await again.delivery.work(other.id)
    assert [event["id"] for event in hook.events[2:]] == ids


async def _store_and_ignore(tenant: Tenant) -> None:
    with pytest.raises(Unavailable):
        await tenant.store(dicom.base(SOPInstanceUID=f"{dicom.INSTANCE}.9"))


def _raise(error: Exception) -> None:
    raise error


async def test_a_process_that_dies_after_sending_sends_again(
    tenant: Tenant, outlets: EventOutlets, hook: Hook
) -> None:
    fanout = _fanout(tenant, outlets)
    new, _ = await fanout.add(_to(hook), after=0, secret=None)
    await _store(tenant, 1, 2)
    await fanout.lag(new)
    writes = 0

    def failing(_operations: object) -> None:
        nonlocal writes
        writes += 1
        if writes == 2:  # the first one says that it is at it
            raise Unavailable

    tenant.documents.failing = failing
    with pytest.raises(Unavailable):
        await fanout.delivery.work(new.id)
    tenant.documents.failing = lambda _operations: None
    await _fanout(tenant, outlets).delivery.work(new.id)
    assert _sequences(hook) == [1, 2], "the one that died is believed to be at it"
    assert tenant.queue.sent[-1][1]["subscription"] == new.id
    tenant.clock.pass_by(minutes=2)
    await _fanout(tenant, outlets).delivery.work(new.id)
    assert _sequences(hook) == [1, 2, 1, 2]
    assert (await fanout.get(new.id)).cursor == 2


async def test_what_fails_for_a_day_is_put_aside_and_can_be_sent_again(
    tenant: Tenant, outlets: EventOutlets, hook: Hook
) -> None:
    fanout = _fanout(tenant, outlets)
    new, _ = await fanout.add(_to(hook), after=0, secret=None)
    await _store(tenant, 1)
    await fanout.lag(new)
    hook.status = 500
    for _ in range(3):
        await fanout.delivery.work(new.id)
        tenant.clock.pass_by(hours=13)
    [letter] = await fanout.dead_letters(new.id)
    assert (letter["first"], letter["last"]) == (1, 1)
    assert (await fanout.get(new.id)).cursor == 1
    with pytest.raises(NotDelivered):
        await fanout.redeliver(new.id)
    hook.status = 200
    await _store(tenant, 2)
    await fanout.lag(new)
    await fanout.delivery.work(new.id)
    assert _sequences(hook) == [2]
    assert await fanout.redeliver(new.id) == (1, 0)
    assert _sequences(hook) == [2, 1]
    assert not await fanout.dead_letters(new.id)


async def test_filters_pauses_places_and_ends(
    tenant: Tenant, outlets: EventOutlets, hook: Hook
) -> None:
    fanout = _fanout(tenant, outlets)
    await _store(tenant, 1)
    from_now, _ = await fanout.add(_to(hook), after=None, secret="a" * 16)
    deletions, _ = await fanout.add(_to(hook, actions=("Delete",)), after=0, secret=None)
    elsewhere, _ = await fanout.add(_to(hook, partitions=("p",)), after=0, secret=None)
    await _store(tenant, 2)
    await tenant.delete.delete("Microsoft.Default", dicom.STUDY)
    assert await fanout.lag(from_now) == 3
    await fanout.delivery.work(from_now.id)
    assert _sequences(hook) == [2, 3, 4]
    await fanout.delivery.work(deletions.id)
    assert _sequences(hook)[3:] == [3, 4]
    await fanout.delivery.work(elsewhere.id)
    assert len(hook.events) == 5
    assert (await fanout.get(elsewhere.id)).cursor == 4
    await fanout.set_state(from_now.id, State.PAUSED)
    await _store(tenant, 3)
    await fanout.lag(from_now)
    await fanout.delivery.work(from_now.id)
    assert len(hook.events) == 5
    await fanout.set_state(from_now.id, State.ACTIVE)
    await fanout.delivery.work(from_now.id)
    assert _sequences(hook)[5:] == [5]
    await fanout.remove(from_now.id)
    await fanout.delivery.work(from_now.id)
    with pytest.raises(SubscriptionNotFound):
        await fanout.get(from_now.id)


async def test_both_secrets_sign_after_a_change(
    tenant: Tenant, outlets: EventOutlets, hook: Hook
) -> None:
    fanout = _fanout(tenant, outlets)
    new, old = await fanout.add(_to(hook), after=0, secret="o" * 20)
    _, fresh = await fanout.rotate(new.id)
    await _store(tenant, 1)
    await fanout.lag(new)
    await fanout.delivery.work(new.id)
    headers, body = hook.bodies[0]
    seconds, *values = headers["X-Dicom-Signature"].split(",")
    signed = seconds.removeprefix("t=").encode() + b"." + body
    assert old is not None
    assert values == [
        f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"
        for secret in (fresh, old)
    ]


async def test_who_does_not_agree_gets_nothing(
    tenant: Tenant, outlets: EventOutlets, hook: Hook
) -> None:
    fanout = _fanout(tenant, outlets)
    for allowed in (None, "other.example"):
        hook.allowed = allowed
        with pytest.raises(NotDelivered, match="agree"):
            await fanout.add(_to(hook), after=0, secret=None)
    assert await fanout.all() == []


async def test_where_no_connection_may_go(hook: Hook) -> None:
    """A name that has a private address, and a receiver that sends elsewhere."""
    strict = EventOutlets(
        None, AllowedHosts(("*.test",)), None,  # type: ignore[arg-type]
        origin="host", client_id=None, signed_in=False,
    )  # fmt: skip
    port = hook.url.rpartition(":")[2]
    for url in (f"http://localhost:{port}", hook.url):
        with pytest.raises(NotDelivered, match="DICOM_WEBHOOK_HOSTS"):
            await strict.send(Subscription("0" * 32, Type.WEBHOOK, url, ""), b"[]", {})
    assert not hook.bodies
    await strict.close()
    named = EventOutlets(
        None, AllowedHosts(("127.0.0.1",)), None,  # type: ignore[arg-type]
        origin="host", client_id=None, signed_in=False,
    )  # fmt: skip
    hook.status, hook.headers = 307, {"Location": "http://127.0.0.1:1/"}
    with pytest.raises(NotDelivered, match="307"):
        await named.send(Subscription("0" * 32, Type.WEBHOOK, hook.url, ""), b"[]", {})
    await named.close()


async def test_a_queue_gets_a_message_for_each_event(tenant: Tenant, outlets: EventOutlets) -> None:
    fanout = _fanout(tenant, outlets)
    asked = Subscription("", Type.QUEUE, "events-viewer", "")
    new, secret = await fanout.add(asked, after=0, secret=None)
    assert secret is None
    await _store(tenant, 1, 2)
    await fanout.lag(new)
    await fanout.delivery.work(new.id)
    sent: list[Mapping[str, object]] = [
        message for queue, message, _ in tenant.queue.sent if queue == "events-viewer"
    ]
    assert [message["data"]["sequenceNumber"] for message in sent] == [1, 2]  # type: ignore[index]


async def test_a_retry_is_no_sooner_than_the_receiver_wants(
    tenant: Tenant, outlets: EventOutlets, hook: Hook
) -> None:
    fanout = _fanout(tenant, outlets)
    new, _ = await fanout.add(_to(hook), after=0, secret=None)
    await _store(tenant, 1)
    await fanout.lag(new)
    hook.status, hook.headers = 429, {"Retry-After": "120"}
    await fanout.delivery.work(new.id)
    _, _, delay = tenant.queue.sent[-1]
    assert timedelta(seconds=delay) >= timedelta(seconds=119)

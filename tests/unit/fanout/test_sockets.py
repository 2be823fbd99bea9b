"""Sockets that Web PubSub holds, against a server that answers as its REST API is documented."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.adapters.azure.events import EventOutlets
from shared.adapters.azure.sockets import WebPubSub
from shared.adapters.system import RandomIds
from shared.errors import MalformedRequest, Unavailable
from shared.export.addresses import AllowedHosts
from shared.fanout import service
from shared.fanout.models import FAN_OUT_QUEUE, Origin, Type
from shared.fanout.requests import subscription_of
from shared.fanout.service import FanOut
from shared.fanout.sources import MailboxSource
from shared.operations.sealing import Sealer
from shared.worklist.mailboxes import Mailboxes
from tests.support.fakes import FixedClock, MemoryQueue, TroubledDocuments
from tests.support.pubsub import PubSub, pubsub_running

_USER = "main%7Cp%7C" + b"A/B".hex()
_VERSION = "api-version=2024-01-01"


class Credential:
    """Signs in, or cannot."""

    def __init__(self) -> None:
        self.works = True

    async def get_token(self, scope: str) -> Any:
        assert scope == "https://webpubsub.azure.com/.default"
        if not self.works:
            raise RuntimeError("no identity")
        return SimpleNamespace(token="signed-in")


class Ward:
    """Mailboxes, and the sockets of those who listen."""

    def __init__(self, documents: TroubledDocuments, pubsub: PubSub) -> None:
        self.clock, self.queue, self.ids = FixedClock(datetime.now(UTC)), MemoryQueue(), RandomIds()
        self.credential = Credential()
        self.mailboxes = Mailboxes(documents, self.clock)
        self.outlets = EventOutlets(
            self.queue, AllowedHosts(()), None, origin="host", client_id=None, signed_in=False,
            sockets=WebPubSub(pubsub.url, self.credential),  # type: ignore[arg-type]
        )  # fmt: skip
        self.fanout = FanOut(
            documents, {Origin.WORKLIST: MailboxSource(self.mailboxes, "http://host/main")},
            self.queue, self.outlets, sealer=Sealer([]), ids=self.ids, clock=self.clock,
            tenant="main",
        )  # fmt: skip

    async def put(self, aet: str, *kinds: int) -> list[str]:
        """Put reports into a mailbox; their event ids."""
        reports = [{"id": self.ids.version(), "event": kind, "info": {}} for kind in kinds]
        await self.mailboxes.append("p", aet, "1.2.3", reports)
        return [one["id"] for one in reports]

    async def work(self) -> None:
        for one in await self.fanout.all():
            await self.fanout.delivery.work(one.id)


@pytest.fixture
def pubsub() -> Iterator[PubSub]:
    with pubsub_running() as running:
        yield running


@pytest.fixture
async def ward(tmp_path: Path, pubsub: PubSub) -> AsyncIterator[Ward]:
    documents = TroubledDocuments(tmp_path / "index.sqlite")
    ward = Ward(documents, pubsub)
    yield ward
    await ward.outlets.close()
    await documents.close()


def _ids(pubsub: PubSub) -> list[str]:
    return [json.loads(body)["00091001"]["Value"][0] for body in pubsub.sent]


async def test_an_ae_is_told_where_and_gets_its_reports(ward: Ward, pubsub: PubSub) -> None:
    await ward.put("A/B", 1)  # before it asked: it finds that in the list
    url = await ward.fanout.open_socket("p", "A/B")
    host = pubsub.url.removeprefix("http")
    assert url == f"ws{host}/client/hubs/ups?access_token=a.b%2Fc"
    [asked] = pubsub.requests
    query = f"userId={_USER}&minutesToExpire=60&{_VERSION}"
    assert asked.target == f"/api/hubs/ups/:generateToken?{query}"
    assert asked.headers["Authorization"] == "Bearer signed-in"
    ids = await ward.put("A/B", 1, 3)
    await ward.put("OTHER", 1)
    await ward.work()
    assert _ids(pubsub) == ids
    sent = pubsub.requests[-1]
    assert sent.target == f"/api/hubs/ups/users/{_USER}/:send?{_VERSION}"
    assert sent.headers["Authorization"] == "Bearer signed-in"
    assert sent.headers["Content-Type"] == "application/json"
    assert json.loads(sent.body)["00001002"] == {"vr": "US", "Value": [3]}
    assert await ward.mailboxes.reached("p", "A/B") == 0
    await ward.fanout.open_socket("p", "A/B")  # once more changes nothing
    await ward.work()
    assert _ids(pubsub) == ids
    [one] = await ward.fanout.all()
    assert (one.type, one.mailbox, one.cursor) == (Type.WEB_PUBSUB, ("p", "A/B"), 3)


@pytest.mark.parametrize("status", [503, 429, 302])
async def test_a_service_that_is_away_puts_reports_off(
    ward: Ward, pubsub: PubSub, status: int
) -> None:
    await ward.fanout.open_socket("p", "A/B")
    pubsub.status = status
    ids = await ward.put("A/B", 1, 3)
    await ward.work()
    [failing] = await ward.fanout.all()
    assert (failing.attempts, failing.cursor) == (1, 0)
    assert str(status) in str(failing.error)
    assert ward.queue.sent[-1][0] == FAN_OUT_QUEUE
    with pytest.raises(Unavailable):
        await ward.fanout.open_socket("p", "A/B")
    pubsub.status = 0
    ids += await ward.put("A/B", 1)
    ward.clock.pass_by(seconds=10)
    await ward.work()
    assert _ids(pubsub) == ids


async def test_without_a_token_nothing_is_sent(ward: Ward, pubsub: PubSub) -> None:
    await ward.fanout.open_socket("p", "A/B")
    await ward.put("A/B", 1)
    ward.credential.works = False
    await ward.work()
    [failing] = await ward.fanout.all()
    assert failing.error == "no token for Web PubSub: RuntimeError"
    assert not pubsub.sent


async def test_an_answer_that_is_no_token(ward: Ward, pubsub: PubSub) -> None:
    for answer in (b"", b"[]", b"{}"):
        pubsub.answer = answer
        with pytest.raises(Unavailable):
            await ward.fanout.open_socket("p", "A/B")


async def test_there_is_an_end_to_sockets(
    ward: Ward, pubsub: PubSub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_SOCKETS", 1)
    await ward.fanout.open_socket("p", "A/B")
    with pytest.raises(MalformedRequest, match="1 AEs"):
        await ward.fanout.open_socket("p", "C")
    await ward.fanout.open_socket("p", "A/B")


def test_nobody_subscribes_a_socket_by_name() -> None:
    body = {"type": "webPubSub", "endpoint": "main|p|00", "source": "worklist", "aeTitle": "A"}
    with pytest.raises(MalformedRequest, match="type"):
        subscription_of(body, AllowedHosts(()), has_topic=True, has_key=True)

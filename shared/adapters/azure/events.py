"""The ``Outlets`` port: webhooks, Event Grid, storage queues, and the sockets of Web PubSub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from shared.adapters.azure.destinations import resolver
from shared.adapters.azure.identity import token_credential
from shared.adapters.azure.sockets import WebPubSub, retry_seconds
from shared.config import Settings
from shared.errors import ServiceTrouble
from shared.export.addresses import AllowedHosts
from shared.fanout.models import Subscription, Type
from shared.fanout.ports import NotDelivered
from shared.ports import Queue

if TYPE_CHECKING:
    import aiohttp
    from azure.core.credentials_async import AsyncTokenCredential

_SECONDS: Final = 30
_OK: Final = range(200, 300)
_SCOPE: Final = "https://eventgrid.azure.net/.default"
_ORIGIN: Final = "WebHook-Request-Origin"
_ALLOWED: Final = "WebHook-Allowed-Origin"


class EventOutlets:
    """Delivers events.

    Parameters
    ----------
    queue : Queue
        Of the service's own storage account.
    hosts : AllowedHosts
        Where webhooks may lie; those named in full may have a private address.
    topic : str or None
        Endpoint of the Event Grid topic, which takes CloudEvents.
    origin : str
        What webhooks are told of where events come from.
    client_id : str or None
        Of the identity that publishes.
    signed_in : bool
        Whether the topic needs a token: not on a developer's machine.
    sockets : WebPubSub or None
        Where there is one.
    """

    def __init__(
        self,
        queue: Queue,
        hosts: AllowedHosts,
        topic: str | None,
        *,
        origin: str,
        client_id: str | None,
        signed_in: bool,
        sockets: WebPubSub | None = None,
    ) -> None:
        self._queue = queue
        self._hosts = hosts
        self._topic = topic
        self._origin = origin
        self._client_id = client_id
        self._signed_in = signed_in
        self._sockets = sockets
        self._credential: AsyncTokenCredential | None = None
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def require_consent(self, url: str) -> None:
        """See ``Outlets.require_consent``."""
        headers = {_ORIGIN: self._origin}
        status, answered, _ = await self._request("OPTIONS", url, b"", headers)
        allowed = answered.get(_ALLOWED, "")
        if status not in _OK or allowed not in ("*", self._origin):
            raise NotDelivered(
                f"The webhook does not agree: it has to answer OPTIONS with {_ALLOWED}."
            )

    async def socket_address(self, user: str) -> str:
        """See ``Outlets.socket_address``."""
        return await self._web_pubsub().client_address(user)

    def _web_pubsub(self) -> WebPubSub:
        if self._sockets is None:
            raise NotDelivered("the setting DICOM_WEBPUBSUB_ENDPOINT is missing")
        return self._sockets

    async def send(
        self, subscription: Subscription, body: bytes, headers: Mapping[str, str]
    ) -> None:
        """See ``Outlets.send``."""
        if subscription.type is Type.QUEUE:
            await self._to_queue(subscription.endpoint, body)
            return
        if subscription.type is Type.WEB_PUBSUB:
            for event in json.loads(body):  # as over a socket of our own
                text = json.dumps(event["data"], ensure_ascii=False, separators=(",", ":"))
                await self._web_pubsub().send(subscription.endpoint, text.encode())
            return
        url = subscription.endpoint
        if subscription.type is Type.EVENT_GRID:
            if self._topic is None:
                raise NotDelivered("the setting DICOM_EVENTGRID_ENDPOINT is missing")
            url, headers = self._topic, {**headers, **await self._token()}
        status, _, retry = await self._request("POST", url, body, headers)
        if status not in _OK:
            raise NotDelivered(f"the receiver answered {status}", retry)

    async def _to_queue(self, name: str, body: bytes) -> None:
        try:
            for event in json.loads(body):
                await self._queue.send(name, event)
        except ServiceTrouble as trouble:
            raise NotDelivered("the queue does not take messages") from trouble

    async def _token(self) -> dict[str, str]:
        if not self._signed_in:
            return {}
        if self._credential is None:
            self._credential = token_credential(self._client_id)
        try:
            token = await self._credential.get_token(_SCOPE)
        except Exception as error:  # the identity library raises many things
            raise NotDelivered(f"no token for Event Grid: {type(error).__name__}") from error
        return {"Authorization": f"Bearer {token.token}"}

    async def _request(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], float | None]:
        """Status, headers, and when to come again; redirects are not followed."""
        import aiohttp

        parts = urlsplit(url)
        host, of_operator = (parts.hostname or "").lower(), url == self._topic
        if not of_operator and not self._hosts.allows(host, parts.port):
            raise NotDelivered("the host is not one that DICOM_WEBHOOK_HOSTS allows")
        # an address in numbers is no matter of the resolver: only a host named in full is one
        session = self._session(private=of_operator or self._hosts.names(host, parts.port))
        try:
            async with session.request(
                method,
                url,
                data=body or None,
                headers=dict(headers),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
            ) as answer:
                return answer.status, answer.headers.copy(), retry_seconds(answer.headers)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise NotDelivered(f"the receiver cannot be reached: {type(error).__name__}") from error

    def _session(self, *, private: bool) -> aiohttp.ClientSession:
        import aiohttp

        found = self._sessions.get(private)
        if found is None or found.closed:
            connector = aiohttp.TCPConnector(resolver=resolver(private=private))
            found = self._sessions[private] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return found

    async def close(self) -> None:
        """Release connections."""
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        if self._sockets is not None:
            await self._sockets.close()


def event_outlets(settings: Settings, queue: Queue) -> EventOutlets:
    """The outlets that the settings ask for."""
    client_id, signed_in = settings.storage.client_id, settings.storage.connection_string is None
    endpoint = settings.fanout.web_pubsub
    return EventOutlets(
        queue,
        AllowedHosts(settings.fanout.webhook_hosts),
        settings.fanout.topic,
        origin=urlsplit(settings.public_base_url).netloc,
        client_id=client_id,
        signed_in=signed_in,
        sockets=None
        if endpoint is None
        else WebPubSub(endpoint, token_credential(client_id) if signed_in else None),
    )

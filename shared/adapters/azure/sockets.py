"""Azure Web PubSub: holds the sockets that a function cannot hold.

References
----------
Azure Web PubSub, data plane REST API 2024-01-01: generate client token, send to user.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from shared.fanout.ports import NotDelivered

if TYPE_CHECKING:
    import aiohttp
    from azure.core.credentials_async import AsyncTokenCredential

HUB: Final = "ups"

_VERSION: Final = "api-version=2024-01-01"
_SCOPE: Final = "https://webpubsub.azure.com/.default"
_MINUTES: Final = 60
_SECONDS: Final = 30
_OK: Final = range(200, 300)


class WebPubSub:
    """The sockets of all tenants, each of a user that names tenant, data partition and AE.

    Parameters
    ----------
    endpoint : str
        Of the service, without a slash at its end.
    credential : AsyncTokenCredential or None
        Signs in; ``None`` on a developer's machine.
    """

    def __init__(self, endpoint: str, credential: AsyncTokenCredential | None) -> None:
        self._endpoint = endpoint
        self._credential = credential
        self._session: aiohttp.ClientSession | None = None

    async def client_address(self, user: str) -> str:
        """Where a user may open a socket within the hour; it may listen, and nothing else.

        Raises
        ------
        NotDelivered
            The service does not answer.
        """
        query = f"userId={quote(user, safe='')}&minutesToExpire={_MINUTES}&{_VERSION}"
        answer = await self._post(f":generateToken?{query}", b"", {})
        try:
            token = json.loads(answer)["token"]
        except (ValueError, KeyError, TypeError):
            raise NotDelivered("Web PubSub gave no token") from None
        host = self._endpoint.replace("http", "ws", 1)
        return f"{host}/client/hubs/{HUB}?access_token={quote(token, safe='')}"

    async def send(self, user: str, message: bytes) -> None:
        """Send a message to each socket of a user; there may be none.

        Raises
        ------
        NotDelivered
            The service did not take it.
        """
        place = f"users/{quote(user, safe='')}/:send?{_VERSION}"
        await self._post(place, message, {"Content-Type": "application/json"})

    async def _post(self, place: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        import aiohttp
        from yarl import URL

        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with self._session.post(
                URL(f"{self._endpoint}/api/hubs/{HUB}/{place}", encoded=True),
                data=body,
                headers={**headers, **await self._token()},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_SECONDS),
            ) as answer:
                content = await answer.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise NotDelivered(f"Web PubSub cannot be reached: {type(error).__name__}") from error
        if answer.status not in _OK:
            raise NotDelivered(
                f"Web PubSub answered {answer.status}", retry_seconds(answer.headers)
            )
        return content

    async def _token(self) -> dict[str, str]:
        if self._credential is None:
            return {}
        try:
            token = await self._credential.get_token(_SCOPE)
        except Exception as error:  # the identity library raises many things
            raise NotDelivered(f"no token for Web PubSub: {type(error).__name__}") from error
        return {"Authorization": f"Bearer {token.token}"}

    async def close(self) -> None:
        """Release connections."""
        if self._session is not None:
            await self._session.close()


def retry_seconds(headers: Mapping[str, str]) -> float | None:
    """When a receiver wants to be asked again."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 8 else None

"""The ``Published`` port: small JSON documents of issuers, over HTTPS."""

from __future__ import annotations

import json
import urllib.request

from shared.errors import Unavailable
from shared.ports import JsonObject

_OK = 200
_TIMEOUT_S = 5.0
_MOST_BYTES = 1024 * 1024


class PublishedJson:
    """Reads with aiohttp; no redirects, so that an address that was checked is the one read."""

    async def get(self, url: str) -> JsonObject:
        """A JSON object.

        Raises
        ------
        Unavailable
            There is none, or no answer in time.
        """
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        proxies = bool(urllib.request.getproxies())
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=proxies) as session,
                session.get(url, allow_redirects=False) as answer,
            ):
                if answer.status != _OK:
                    raise Unavailable
                content = b""
                async for piece in answer.content.iter_any():
                    content += piece
                    if len(content) > _MOST_BYTES:
                        raise Unavailable
            found = json.loads(content)
        except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError) as error:
            raise Unavailable from error
        if not isinstance(found, dict):
            raise Unavailable
        return found

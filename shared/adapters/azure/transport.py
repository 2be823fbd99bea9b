"""The HTTP transport of all Azure clients. Imported when the first client is made."""

from __future__ import annotations

import contextlib
import time
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport

from shared.resilience import Patience
from shared.telemetry import REQUEST_CHARGE, STORE_CALLS, Span, SpanKind, Value, failed, span

_PIECE = 1024 * 1024
_CONNECTIONS = 100
_TROUBLE = {408, 429}
_FIRST_OF_THEIRS = 500


class Transport(AioHttpTransport):  # type: ignore[misc]  # the SDK exports it as Any
    """The SDK's own transport with three costs taken out, and with our patience.

    The times that a storage client is given count only for a transport that it makes itself; one
    that is given to it waits five minutes for each answer, unless it is told.

    Measured on blobs of 2 kB, they are 40 % of the time of a call: the SDK's session looks for a
    proxy in the environment at each request, keeps cookies away at a price, and reads a body in
    pieces of 256 KiB from a buffer of 64 KiB.

    Parameters
    ----------
    credential : AsyncTokenCredential, optional
        What the client signs in with; closed with the transport.
    resolver : AbstractResolver, optional
        What finds the addresses of a host, and may refuse to.
    patience : Patience
        How long a connection and an answer may take.
    service : str
        How spans and metrics name what is called.
    """

    def __init__(
        self,
        credential: AsyncTokenCredential | None = None,
        resolver: AbstractResolver | None = None,
        patience: Patience = Patience(),  # noqa: B008 — frozen
        service: str = "blob",
    ) -> None:
        super().__init__(
            connection_data_block_size=_PIECE,
            connection_timeout=patience.connect_s,
            read_timeout=patience.silence_s,
        )
        self.patience = patience
        self._service = service
        self.session: aiohttp.ClientSession | None
        self._credential = credential
        self._resolver = resolver
        self._was_opened = False

    async def open(self) -> None:
        """Make the session, in the loop that runs now."""
        if self.session is None and not self._was_opened:
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS, resolver=self._resolver),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_PIECE,
                trust_env=bool(urllib.request.getproxies()),
            )
            # else it sends a PUT or DELETE again by itself, though the first may have been done
            self.session._retry_connection = False
        self._was_opened = True
        await super().open()

    async def send(self, request: Any, **config: Any) -> Any:
        """Send a request.

        A connection that breaks is an answer that is lost: what was asked may have been done. The
        SDK takes it for a request that was not sent, and repeats what must not be.
        """
        began = time.perf_counter()
        method = str(request.method)
        status = "none"
        sent = int(request.headers.get("Content-Length", 0))
        known: dict[str, Value] = {"http.request.method": method, "http.request.body.size": sent}
        with span(f"{self._service} {method}", known, kind=SpanKind.CLIENT) as current:
            try:
                response = await super().send(request, **config)
                status = str(response.status_code)
                self._note(current, response)
                return response
            except ServiceRequestError as error:
                cause = error.inner_exception
                if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
                    raise
                raise ServiceResponseError(cause, error=cause) from error
            finally:
                words = {"service": self._service, "method": method, "status": status}
                STORE_CALLS.record(time.perf_counter() - began, words)

    def _note(self, current: Span, response: Any) -> None:
        """What an answer tells: its status, its size, and what Cosmos charges for it."""
        current.set_attribute("http.response.status_code", response.status_code)
        size = response.headers.get("Content-Length", "")
        if size.isdigit():
            current.set_attribute("http.response.body.size", int(size))
        charge = response.headers.get("x-ms-request-charge")
        if charge is not None:
            with contextlib.suppress(ValueError):
                current.set_attribute("azure.cosmosdb.operation.request_charge", float(charge))
                REQUEST_CHARGE.add(float(charge))
        if response.status_code in _TROUBLE or response.status_code >= _FIRST_OF_THEIRS:
            failed(current, str(response.status_code))

    async def close(self) -> None:
        """Close the session and the credential."""
        await super().close()
        if self._credential is not None:
            await self._credential.close()

    def _get_request_data(self, request: Any) -> Any:
        # aiohttp warns of larger bodies in one piece: they keep the loop from other work
        data = super()._get_request_data(request)
        if isinstance(data, str | bytes) and len(data) > _PIECE:
            return _pieces(data.encode() if isinstance(data, str) else data)
        return data


async def _pieces(data: bytes) -> AsyncIterator[memoryview]:
    view = memoryview(data)
    for offset in range(0, len(view), _PIECE):
        yield view[offset : offset + _PIECE]

"""Blobs read as streams.

The blob client of the SDK loads each answer whole before it gives the first byte, so reading with
little memory means many small requests. Here one request is one stream, sent through the SDK's
own pipeline (azure-core). A stream that breaks goes on behind the last byte that arrived.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shared.adapters.azure.clients import transport_of
from shared.adapters.azure.failures import translated
from shared.errors import BlobNotFound, RangeNotSatisfiable
from shared.ports import ByteSpan
from shared.resilience import Patience

if TYPE_CHECKING:
    from azure.core import AsyncPipelineClient
    from azure.core.rest import AsyncHttpResponse
    from azure.storage.blob.aio import BlobServiceClient

_SCOPE = "https://storage.azure.com/.default"
_SIGNATURE_LASTS = timedelta(hours=12)
_SIGNATURE_RENEWED = timedelta(hours=1)
_GONE = {404, 412}
_OUTSIDE = 416
_TRY_AGAIN = {408, 429, 500, 502, 503, 504}


class BlobReader:
    """Reads the blobs of one container.

    Parameters
    ----------
    service : BlobServiceClient
        A client of ``clients.blob_service``: its address, credential and connections serve here
        too.
    container : str
        Name of the container.
    """

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._service = service
        address, _, query = service.get_container_client(container).url.partition("?")
        self._address, self._query = address, query
        self._signed_until = datetime.min.replace(tzinfo=UTC)
        self._client: AsyncPipelineClient[Any, Any] | None = None

    @property
    def _patience(self) -> Patience:
        return transport_of(self._service).patience

    async def read(self, key: str, span: ByteSpan | None) -> AsyncIterator[bytes]:
        """Begin to read. See ``Blobs.read``."""
        start = 0 if span is None else span.offset
        response = await self._open(key, _range(start, None if span is None else span.end))
        if response is None:
            return _nothing()
        # Azurite takes a range that begins at the very end
        size = int(response.headers.get("Content-Range", "0").rpartition("/")[2])
        if span is not None and start >= size:
            await response.close()
            raise RangeNotSatisfiable(size)
        end = size if span is None else min(span.end, size)
        return _Reading(response, self._stream(key, response, start, end))

    async def _stream(
        self, key: str, response: AsyncHttpResponse | None, position: int, end: int
    ) -> AsyncGenerator[bytes, None]:
        from azure.core.exceptions import AzureError

        etag = "" if response is None else response.headers["ETag"]
        failures = 0
        try:
            while position < end:
                if response is None:
                    response = await self._open(key, _range(position, end), etag)
                if response is None:
                    raise BlobNotFound("no such blob")
                try:
                    async for piece in response.iter_raw():
                        position += len(piece)
                        yield piece
                except AzureError:
                    failures += 1
                    if failures >= self._patience.tries:
                        with translated():
                            raise
                await response.close()
                response = None
        finally:
            if response is not None:
                await response.close()

    async def _open(self, key: str, range_header: str, etag: str = "") -> AsyncHttpResponse | None:
        """The answer with its body still to come; ``None`` for a blob without content."""
        from azure.core.exceptions import HttpResponseError

        headers = {"x-ms-version": self._service.api_version, "Range": range_header}
        if etag:
            headers["If-Match"] = etag
        with translated():
            response = await self._send(key, headers)
            if response.status_code < 300:
                return response
            await response.read()
            await response.close()
            if response.status_code in _GONE:
                raise BlobNotFound("no such blob")
            if response.status_code == _OUTSIDE:
                size = await self._size(key, response)
                if size == 0 and range_header == _range(0, None):
                    return None
                raise RangeNotSatisfiable(size)
            raise HttpResponseError(response=response)

    async def _send(self, key: str, headers: dict[str, str]) -> AsyncHttpResponse:
        from azure.core.exceptions import AzureError
        from azure.core.rest import HttpRequest

        tries = self._patience.tries
        for attempt in range(1, tries + 1):
            request = HttpRequest("GET", self._url(key), headers=headers)
            try:
                response = await self._pipeline().send_request(request, stream=True)
            except AzureError:
                if attempt == tries:
                    raise
            else:
                if response.status_code not in _TRY_AGAIN or attempt == tries:
                    return response  # type: ignore[no-any-return]
                await response.close()
            pause_s = self._patience.pause_s
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s * 3 / 2))  # noqa: S311
        raise AssertionError("the last attempt returns or raises")

    async def _size(self, key: str, response: AsyncHttpResponse) -> int:
        found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        if found is not None:
            return int(found[1])
        container = self._address.rpartition("/")[2]
        properties = await self._service.get_blob_client(container, key).get_blob_properties()
        return int(properties.size)

    def _url(self, key: str) -> str:
        url = f"{self._address}/{quote(key, safe='/~()')}"
        query = self._signature()
        return f"{url}?{query}" if query else url

    def _signature(self) -> str:
        """A shared access signature where the account is reached by a key, as Azurite is."""
        credential: Any = self._service.credential
        key = getattr(credential, "account_key", None)
        now = datetime.now(UTC)
        if key is not None and now + _SIGNATURE_RENEWED > self._signed_until:
            from azure.storage.blob import (
                AccountSasPermissions,
                ResourceTypes,
                generate_account_sas,
            )

            self._signed_until = now + _SIGNATURE_LASTS
            self._query = generate_account_sas(
                credential.account_name,
                key,
                ResourceTypes(object=True),
                AccountSasPermissions(read=True),
                self._signed_until,
            )
        return self._query

    def _pipeline(self) -> AsyncPipelineClient[Any, Any]:
        if self._client is None:
            from azure.core import AsyncPipelineClient
            from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy

            credential: Any = self._service.credential
            policies: list[Any] = []
            if hasattr(credential, "get_token"):
                policies.append(AsyncBearerTokenCredentialPolicy(credential, _SCOPE))
            self._client = AsyncPipelineClient(
                self._address, policies=policies, transport=transport_of(self._service)
            )
        return self._client


class _Reading(AsyncGenerator[bytes, None]):
    """Pieces of a blob; ``aclose`` releases the connection, also before the first piece.

    A generator itself would not: one that has not begun has nothing to clean up. It is one by its
    methods, as those who close readings ask for that.
    """

    def __init__(self, response: AsyncHttpResponse, pieces: AsyncGenerator[bytes, None]) -> None:
        self._response = response
        self._pieces = pieces

    async def asend(self, value: None) -> bytes:
        """The next piece."""
        return await self._pieces.asend(value)

    async def athrow(self, *arguments: Any) -> bytes:
        """Raise within."""
        return await self._pieces.athrow(*arguments)

    async def aclose(self) -> None:
        """End reading."""
        await self._pieces.aclose()
        await self._response.close()


def _range(start: int, end: int | None) -> str:
    return f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"


async def _nothing() -> AsyncGenerator[bytes, None]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece

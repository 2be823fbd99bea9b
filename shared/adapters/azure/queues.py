"""The ``Queue`` port on Azure Queue Storage."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from shared.adapters.azure.failures import translated
from shared.ports import JsonObject

if TYPE_CHECKING:
    from azure.storage.queue.aio import QueueClient, QueueServiceClient

_MOST_BYTES = 48 * 1024
_LONGEST_DELAY_S = 7 * 24 * 3600
_NEVER = -1


class AzureQueue:
    """Messages to the queue-triggered functions.

    Parameters
    ----------
    service : QueueServiceClient
        The client; ``close`` closes it.
    """

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service
        self._clients: dict[str, QueueClient] = {}

    async def send(self, queue: str, message: JsonObject, *, delay_s: float = 0) -> None:
        """Put a message on a queue. See ``Queue.send``."""
        from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

        text = json.dumps(message, separators=(",", ":"), allow_nan=False)
        if len(text) > _MOST_BYTES:
            raise ValueError(f"a message has at most {_MOST_BYTES} bytes")
        if not 0 <= delay_s <= _LONGEST_DELAY_S:
            raise ValueError(f"a delay is 0 to {_LONGEST_DELAY_S} s")
        try:
            await self._send(queue, text, math.ceil(delay_s))
        except ResourceNotFoundError:
            try:
                with translated():
                    await self._client(queue).create_queue()
            except ResourceExistsError:
                pass  # another process was faster
            await self._send(queue, text, math.ceil(delay_s))

    async def close(self) -> None:
        """Close the client."""
        await self._service.close()

    async def _send(self, queue: str, text: str, delay_s: int) -> None:
        with translated():
            await self._client(queue).send_message(
                text, visibility_timeout=delay_s, time_to_live=_NEVER
            )

    def _client(self, queue: str) -> QueueClient:
        from azure.storage.queue import TextBase64EncodePolicy

        client = self._clients.get(queue)
        if client is None:
            # base64 is what the Functions host expects, and not what the SDK sends by itself
            client = self._clients[queue] = self._service.get_queue_client(
                queue, message_encode_policy=TextBase64EncodePolicy()
            )
        return client

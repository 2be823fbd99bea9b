"""Queue triggers: one listener a function, with the rules of the real host.

A message is invisible while its function runs: its lease is renewed until then, as the real host
does. The lease is half a minute here and ten there, for on one machine a process is more often
stopped, and what it had begun should not wait so long. After a failure a message is visible again
after ``visibilityTimeout``; at ``maxDequeueCount`` it moves to ``<queue>-poison``.

References
----------
azure-sdk-for-net, Microsoft.Azure.WebJobs.Extensions.Storage.Queues: ``QueueListener``,
``QueueProcessor``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import random
import time
from collections.abc import Mapping
from typing import Any

import azure.functions as func
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from azure.functions.queue import QueueMessage as HostedMessage
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from local_host.functions import HostedFunction
from local_host.invocations import Invocations, log
from local_host.settings import QueueOptions, resolve_connection, resolve_names
from local_host.storage import queue_service

LEASE_S = 30
"""Seconds after which a message whose process died is visible again."""

_RENEWAL_S = LEASE_S / 3

POISON_SUFFIX = "-poison"
_SHORTEST_WAIT_S = 0.1
_PULSED_WAIT_S = 0.5


async def create_queue(queue: QueueClient) -> None:
    """Create a queue unless it is there."""
    try:
        await queue.create_queue()
    except ResourceExistsError:
        return


class BackOff:
    """Waits that double from 100 ms to ``longest_s`` seconds while nothing is found."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self.reset()

    def reset(self) -> None:
        self._wait_s = min(_SHORTEST_WAIT_S, self._longest_s)

    def shorten(self) -> None:
        """Look sooner: something has happened that may have sent a message."""
        self._wait_s = min(self._wait_s, _PULSED_WAIT_S)

    def next_s(self) -> float:
        """The next wait in seconds, spread by a fifth so that pollers do not march in step."""
        wait_s = self._wait_s
        self._wait_s = min(self._wait_s * 2, self._longest_s)
        return wait_s * random.uniform(0.8, 1.0)  # noqa: S311 — no secret


class QueueListener:
    """Polls the queue of one function.

    Parameters
    ----------
    function : HostedFunction
        A function with a queue trigger.
    options : QueueOptions
        From host.json.
    invocations : Invocations
        Runs the function.
    environment : Mapping[str, str]
        App settings: the connection and names in ``%…%``.
    """

    def __init__(
        self,
        function: HostedFunction,
        options: QueueOptions,
        invocations: Invocations,
        environment: Mapping[str, str],
    ) -> None:
        self._function = function
        self._options = options
        self._invocations = invocations
        self._name = resolve_names(str(function.trigger["queueName"]), environment)
        self._connection = resolve_connection(function.trigger.get("connection"), environment)
        self._running: set[asyncio.Task[bool]] = set()

    async def run(self) -> None:
        """Listen until cancelled. What has begun goes on; ``Invocations.stop`` waits for it."""
        self._service: QueueServiceClient = queue_service(self._connection)
        self._queue = self._service.get_queue_client(self._name)
        back_off = BackOff(self._options.max_polling_interval_s)
        while True:
            if len(self._running) > self._options.new_batch_threshold:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                continue
            if await self._fetch():
                back_off.reset()
            else:
                await self._pause(back_off)

    async def _pause(self, back_off: BackOff) -> None:
        wait_s = back_off.next_s()
        began = time.monotonic()
        if await self._invocations.activity.wait(wait_s):
            back_off.shorten()
            shortest_s = min(wait_s, _PULSED_WAIT_S)
            await asyncio.sleep(max(0.0, began + shortest_s - time.monotonic()))

    async def close(self) -> None:
        """Close the client, after the last invocation."""
        if hasattr(self, "_service"):
            await self._service.close()

    async def _fetch(self) -> int:
        """Start one batch; the number of messages."""
        count = 0
        try:
            pages = self._queue.receive_messages(
                messages_per_page=self._options.batch_size, visibility_timeout=LEASE_S
            ).by_page()
            async for message in await anext(pages):
                count += 1
                task = self._invocations.start(self._process(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        except StopAsyncIteration:
            return count
        except ResourceNotFoundError:
            await self._create()
        except AzureError as error:
            log.warning("%s: queue %s: %s", self._function.name, self._name, type(error).__name__)
        return count

    async def _create(self) -> None:
        try:
            await create_queue(self._queue)
        except AzureError as error:
            log.warning("%s: queue %s: %s", self._function.name, self._name, type(error).__name__)

    async def _process(self, message: QueueMessage) -> bool:
        try:
            return await self._process_message(message)
        except AzureError as error:
            # the message comes back by itself when it becomes visible
            log.warning("%s: queue %s: %s", self._function.name, self._name, type(error).__name__)
            return False

    async def _process_message(self, message: QueueMessage) -> bool:
        count = message.dequeue_count or 1
        body = self._decode(str(message.content))
        if body is None or (count > self._options.max_dequeue_count and not self._is_poison):
            await self._poison(message)
            return False
        succeeded, message = await self._run(message, body)
        if succeeded:
            await self._delete(message)
            return True
        if self._is_poison:
            return False  # as in the real host: stays hidden, so that it cannot spin
        if count >= self._options.max_dequeue_count:
            await self._poison(message)
        else:
            visible_in_s = int(self._options.visibility_timeout_s)
            await self._queue.update_message(message, visibility_timeout=visible_in_s)
        return False

    async def _run(self, message: QueueMessage, body: bytes) -> tuple[bool, QueueMessage]:
        """Run the function; with its outcome, the message as the last renewal left it."""
        running = asyncio.ensure_future(
            self._invocations.run(self._function, _hosted(message, body))
        )
        try:
            while not (await asyncio.wait({running}, timeout=_RENEWAL_S))[0]:
                message = await self._renew(message)
            return running.result(), message
        finally:
            running.cancel()

    async def _renew(self, message: QueueMessage) -> QueueMessage:
        try:
            return await self._queue.update_message(message, visibility_timeout=LEASE_S)
        except AzureError as error:
            log.warning(
                "%s: lease of %s: %s", self._function.name, message.id, type(error).__name__
            )
            return message

    @property
    def _is_poison(self) -> bool:
        return self._name.endswith(POISON_SUFFIX)

    def _decode(self, content: str) -> bytes | None:
        if not self._options.base64:
            return content.encode("utf-8")
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            return None

    async def _poison(self, message: QueueMessage) -> None:
        poison = self._service.get_queue_client(self._name + POISON_SUFFIX)
        await create_queue(poison)
        await poison.send_message(message.content, time_to_live=-1)
        await self._delete(message)
        log.error("%s: message %s moved to %s", self._function.name, message.id, poison.queue_name)

    async def _delete(self, message: QueueMessage) -> None:
        try:
            await self._queue.delete_message(message)
        except ResourceNotFoundError:
            log.warning("%s: message %s was taken meanwhile", self._function.name, message.id)


def _hosted(message: QueueMessage, body: bytes) -> func.QueueMessage:
    """The message as the worker would hand it to the function."""
    return HostedMessage(
        id=message.id,
        body=body,
        dequeue_count=message.dequeue_count,
        expiration_time=message.expires_on,
        insertion_time=message.inserted_on,
        time_next_visible=message.next_visible_on,
        pop_receipt=message.pop_receipt,
    )


async def send_poison_blob(
    service: QueueServiceClient, queue_name: str, content: Mapping[str, Any]
) -> None:
    """Put a JSON message in base64 on a queue, which is created if absent."""
    queue = service.get_queue_client(queue_name)
    await create_queue(queue)
    text = base64.b64encode(json.dumps(content).encode("utf-8")).decode("ascii")
    await queue.send_message(text, time_to_live=-1)

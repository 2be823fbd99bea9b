"""The ``Queue`` port on Azurite."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from shared.adapters.azure.queues import AzureQueue


async def _receive(client: Any, queue: str) -> list[dict]:
    found = client.get_queue_client(queue).receive_messages(visibility_timeout=30)
    return [json.loads(base64.b64decode(message.content)) async for message in found]


async def test_message_arrives_as_the_functions_host_reads_it(queue_client, fresh_name):
    message = {"pointer": "instances/ü/😀", "n": [1, None]}
    await AzureQueue(queue_client).send(fresh_name, message)
    assert await _receive(queue_client, fresh_name) == [message]


async def test_queue_is_made_by_the_first_message(queue_client, fresh_name):
    queue = AzureQueue(queue_client)
    await asyncio.gather(*(queue.send(fresh_name, {"n": n}) for n in range(5)))
    found = await _receive(queue_client, fresh_name)
    assert sorted(message["n"] for message in found) == [0, 1, 2, 3, 4]


async def test_delayed_message_is_hidden_until_then(queue_client, fresh_name):
    queue = AzureQueue(queue_client)
    await queue.send(fresh_name, {"n": 1}, delay_s=0.5)
    assert await _receive(queue_client, fresh_name) == []
    await asyncio.sleep(1.3)
    assert await _receive(queue_client, fresh_name) == [{"n": 1}]


async def test_message_may_wait_for_seven_days(queue_client, fresh_name):
    await AzureQueue(queue_client).send(fresh_name, {"n": 1}, delay_s=7 * 24 * 3600)
    assert await _receive(queue_client, fresh_name) == []


async def test_message_of_48_kib_and_one_beyond(queue_client, fresh_name):
    queue = AzureQueue(queue_client)
    await queue.send(fresh_name, {"x": "a" * (48 * 1024 - 8)})
    with pytest.raises(ValueError, match="bytes"):
        await queue.send(fresh_name, {"x": "a" * (48 * 1024 - 7)})
    with pytest.raises(ValueError, match="delay"):
        await queue.send(fresh_name, {}, delay_s=-1)

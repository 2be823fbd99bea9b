"""local_host.queues: the lease of a message lasts as long as its function."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.storage.queue import QueueMessage

from local_host import queues
from local_host.functions import HostedFunction
from local_host.invocations import Invocations
from local_host.queues import QueueListener
from local_host.settings import QueueOptions


class _Leases:
    """Azure's queue, as far as one message needs it: a renewal gives a new receipt."""

    def __init__(self, renewals_until_done: int, done: asyncio.Event) -> None:
        self.receipts = ["first"]
        self.deleted: list[str | None] = []
        self._most = renewals_until_done
        self._done = done

    async def update_message(self, message: QueueMessage, **_: Any) -> QueueMessage:
        if len(self.receipts) == self._most + 1:
            self._done.set()
        if len(self.receipts) == 2:
            self.receipts.append("lost answer")
            raise ServiceRequestError("lost")
        self.receipts.append(f"renewed {len(self.receipts)}")
        return QueueMessage(id=message.id, content="{}", pop_receipt=self.receipts[-1])

    async def delete_message(self, message: QueueMessage) -> None:
        self.deleted.append(message.pop_receipt)


async def test_a_lease_is_renewed_until_the_function_ends_and_its_last_receipt_deletes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queues, "_RENEWAL_S", 0.01)
    done = asyncio.Event()
    leases = _Leases(4, done)

    async def work(msg: object) -> None:
        await done.wait()

    listener = QueueListener(
        HostedFunction(
            "work", {"name": "msg", "queueName": "work", "connection": "Work"}, work, is_async=True
        ),
        QueueOptions(base64=False),
        Invocations(None),
        {"Work": "UseDevelopmentStorage=true"},
    )
    listener._queue = leases  # type: ignore[assignment]
    assert await listener._process(QueueMessage(id="1", content="{}", pop_receipt="first"))
    assert leases.deleted == [leases.receipts[-1]]
    assert len(leases.receipts) >= 5

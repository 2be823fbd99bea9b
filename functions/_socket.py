"""Event reports over a WebSocket (PS3.18 8.10.4, 8.10.5).

Only the host of one machine can hold a socket; in Azure, Web PubSub does (docs/worklist-events.md).
A socket comes in by the same door as a request: refused, it is answered as one.

A report counts as brought once the connection has outlived a ping that was sent after it, for the
pong says that the peer has read so far; or once the peer has closed the connection itself. What
does not count is sent again over the next connection.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.worklist.events import message
from shared.worklist.mailboxes import MOST_REPORTS, Mailboxes

PING_S: Final = 5.0
"""Seconds between pings, and until a pong is missed; ``local_host/server.py`` has the same."""

_SETTLED_S: Final = 2 * PING_S + 1
_LOOK_S: Final = 2.0
_CLOSED_BY_PEER: Final = (1000, 1001)


class EventChannel(Response):
    """A WebSocket that brings the reports of one subscriber, as the answer to its request.

    Parameters
    ----------
    mailboxes : Mailboxes
        Of the tenant.
    partition, aet : str
        The subscriber.
    place : int
        The reports behind it are sent.
    """

    def __init__(self, mailboxes: Mailboxes, partition: str, aet: str, place: int) -> None:
        super().__init__(status_code=101)
        self._mailboxes = mailboxes
        self._partition = partition
        self._aet = aet
        self._place = place
        self._sent: deque[tuple[float, int]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept the connection, and send until it ends."""
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        sending = asyncio.create_task(self._send_all(send))
        listening = asyncio.create_task(_closed(receive))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and listening.result() in _CLOSED_BY_PEER:
                await self._settle(until=float("inf"))
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            listening.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        while True:
            found = await self._mailboxes.reports(
                self._partition, self._aet, self._place, MOST_REPORTS
            )
            for report in found:
                text = json.dumps(message(report), ensure_ascii=False, separators=(",", ":"))
                await send({"type": "websocket.send", "text": text})
                self._place = int(report["version"])
                self._sent.append((time.monotonic(), self._place))
            await self._settle(until=time.monotonic() - _SETTLED_S)
            if not found:
                await self._mailboxes.grown(self._partition, self._aet, _LOOK_S)

    async def _settle(self, until: float) -> None:
        reached = None
        while self._sent and self._sent[0][0] <= until:
            reached = self._sent.popleft()[1]
        if reached is not None:
            await self._mailboxes.set_reached(self._partition, self._aet, reached)


async def _closed(receive: Receive) -> int:
    """Wait for the end of a connection; its code. What the peer sends has no meaning."""
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return int(event.get("code") or 0)

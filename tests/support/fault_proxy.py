"""A proxy with faults, in front of one service that speaks HTTP/1.1.

    with FaultProxy("127.0.0.1", 10000) as proxy:
        proxy.fault = Answer(503, {"Retry-After": "2"})
        ...
        proxy.fault = None

It reads requests only as far as faults need it: where each begins and ends. Bodies have a length or
come in chunks; nothing is pipelined, as no client of Azure does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeAlias

_PIECE = 64 * 1024
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Slow:
    """Each request is passed on ``seconds`` late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Each request is answered here, and never reaches the service."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class ResetRequest:
    """The connection breaks while a request is being sent; the service sees no end of it."""


@dataclass(frozen=True, slots=True)
class ResetAnswer:
    """The service does what it is asked; of its answer ``after`` bytes arrive."""

    after: int = 0


@dataclass(frozen=True, slots=True)
class Silent:
    """Half-open: connections are taken, requests are read, and nothing ever comes back.

    ``done``: the service does what it is asked all the same.
    """

    done: bool = False


Kind: TypeAlias = Slow | Answer | ResetRequest | ResetAnswer | Silent


@dataclass(slots=True)
class Once:
    """Each request meets its fault once: what is sent a second time passes."""

    kind: Kind
    met: set[tuple[str, str]] = field(default_factory=set)

    def befalls(self, method: str, target: str) -> Kind | None:
        """What befalls this request, if anything."""
        if (method, target) in self.met:
            return None
        self.met.add((method, target))
        return self.kind


class _Broken(Exception):
    """The connection ends here."""


class FaultProxy:
    """Listens on a free port of this machine, on a thread of its own.

    Parameters
    ----------
    host, port
        The service behind it.
    """

    def __init__(self, host: str, port: int) -> None:
        self.fault: Kind | Once | None = None
        self.port = 0
        self.requests = 0
        self.hits = 0
        self._upstream = (host, port)
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_PIECE)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await _Connection(self, reader, writer, self._upstream).run()
        except (OSError, EOFError, _Broken, asyncio.CancelledError):
            pass  # a connection that ended; the client sees it
        finally:
            self._tasks.discard(task)

    def befalls(self, method: str, target: str) -> Kind | None:
        """What befalls the next request."""
        self.requests += 1
        fault = self.fault
        kind = fault.befalls(method, target) if isinstance(fault, Once) else fault
        self.hits += kind is not None
        return kind


class _Connection:
    """One connection of a client, with one to the service behind it."""

    def __init__(
        self,
        proxy: FaultProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: tuple[str, int],
    ) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._upstream = upstream
        self._service: asyncio.StreamWriter | None = None
        self._pump: asyncio.Task[None] | None = None
        self._allowed: int | None = None  # bytes of the answer that are still passed on
        self._silent = False

    async def run(self) -> None:
        serving = asyncio.ensure_future(self._serve())
        try:
            await serving
        finally:
            serving.cancel()
            if self._pump is not None:
                self._pump.cancel()
            for writer in (self._writer, self._service):
                if writer is not None:
                    writer.transport.abort()

    async def _serve(self) -> None:
        while True:
            head = await _head(self._reader)
            method, target = head.split(b" ", 2)[:2]
            kind = self._proxy.befalls(method.decode(), target.decode("latin-1"))
            if isinstance(kind, Slow):
                await asyncio.sleep(kind.seconds)
                kind = None
            await self._exchange(head, kind)

    async def _exchange(self, head: bytes, kind: Kind | None) -> None:
        if isinstance(kind, Answer):
            await self._read_body(head, None)
            await self._answer(kind, head)
        elif isinstance(kind, ResetRequest):
            service = await self._connected()
            service.write(head[: len(head) // 2])
            await service.drain()
            self._reset()
        elif isinstance(kind, Silent) and not kind.done:
            self._silent = True
            await self._read_body(head, None)
        else:
            if isinstance(kind, ResetAnswer):
                self._allowed = kind.after
            self._silent = self._silent or isinstance(kind, Silent)
            service = await self._connected()
            service.write(head)
            await self._read_body(head, service)

    async def _connected(self) -> asyncio.StreamWriter:
        if self._service is None:
            reader, self._service = await asyncio.open_connection(*self._upstream, limit=_PIECE)
            self._pump = asyncio.create_task(self._pass_answers(reader))
        return self._service

    async def _pass_answers(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_PIECE):
                if self._silent:
                    continue
                if self._allowed is not None and len(piece) >= self._allowed:
                    self._writer.write(piece[: self._allowed])
                    await self._writer.drain()
                    self._reset()
                    return
                if self._allowed is not None:
                    self._allowed -= len(piece)
                self._writer.write(piece)
                await self._writer.drain()
        if not self._silent:
            self._writer.close()

    async def _read_body(self, head: bytes, to: asyncio.StreamWriter | None) -> None:
        async for piece in _body(head, self._reader):
            if to is not None:
                to.write(piece)
                await to.drain()

    async def _answer(self, kind: Answer, head: bytes) -> None:
        headers = {**kind.headers, "Content-Length": str(len(kind.body))}
        lines = [f"HTTP/1.1 {kind.status} Fault", *(f"{k}: {v}" for k, v in headers.items())]
        body = b"" if head.startswith(b"HEAD ") else kind.body
        self._writer.write("\r\n".join(lines).encode() + _END_OF_HEAD + body)
        await self._writer.drain()

    def _reset(self) -> None:
        """End the connection by RST, so that the client's own system learns of it at once."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        raise _Broken


async def _head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(_END_OF_HEAD)


async def _body(head: bytes, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    length = re.search(rb"(?im)^content-length:\s*(\d+)", head)
    if length is not None:
        left = int(length[1])
        while left and (piece := await reader.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece
    elif re.search(rb"(?im)^transfer-encoding:\s*chunked", head):
        while True:
            line = await reader.readuntil(b"\r\n")
            yield line
            size = int(line.split(b";")[0], 16)
            yield await reader.readexactly(size + 2)
            if size == 0:
                return

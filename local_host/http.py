"""The HTTP side: each request to its function, with the limits of the real host."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from local_host.functions import HostedFunction
from local_host.invocations import Activity, log, new_invocation_id
from local_host.routes import Hit, Route, RouteTable, Template, decode_path

MAX_REQUEST_LINE = 8_192
"""Kestrel's limit of the request line, in bytes."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def route_table(functions: Sequence[HostedFunction], prefix: str) -> RouteTable:
    """The routes of all HTTP functions below ``routePrefix``."""
    return RouteTable(
        [
            Route(
                function.name,
                Template.parse(f"{prefix}/{str(function.trigger['route']).strip('/')}"),
                frozenset(method.upper() for method in function.trigger.get("methods") or ()),
            )
            for function in functions
        ]
    )


class HttpHost:
    """An ASGI application that invokes HTTP functions.

    Parameters
    ----------
    functions : Mapping[str, HostedFunction]
        HTTP functions by name.
    table : RouteTable
        Their routes.
    body_limit : int
        Most bytes of a request body; beyond it 413.
    activity : Activity
        Pulsed after each request that may have changed something.
    """

    def __init__(
        self,
        functions: Mapping[str, HostedFunction],
        table: RouteTable,
        body_limit: int,
        activity: Activity,
    ) -> None:
        self._functions = functions
        self._table = table
        self._body_limit = body_limit
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw_path: bytes = scope["raw_path"]
        if scope["type"] == "websocket":
            scope = {**scope, "method": "GET"}
        line = len(scope["method"]) + len(raw_path) + len(scope["query_string"]) + 11
        if line > MAX_REQUEST_LINE:
            await Response(status_code=414)(scope, receive, send)
            return
        path = decode_path(raw_path)
        if "\0" in path:
            await Response(status_code=400)(scope, receive, send)
            return
        found = self._table.find(scope["method"], path)
        if not isinstance(found, Hit):
            headers = {"allow": ", ".join(sorted(found))} if found else {}
            await Response(status_code=405 if found else 404, headers=headers)(scope, receive, send)
            return
        scope["path_params"] = found.parameters
        if scope["type"] == "websocket":
            await _socket(self._functions[found.function], scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._body_limit)
        await exchange.run(self._functions[found.function])
        if scope["method"] not in _SAFE_METHODS:
            self._activity.pulse()


async def _socket(function: HostedFunction, scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket, which no host in Azure gives to a function; here a service beside it would be.

    The function gets a GET request with ``websocket`` in its scope. What it answers takes the
    connection, or is sent as the refusal.
    """
    headers = [
        *(pair for pair in scope["headers"] if pair[0] != b"x-ms-invocation-id"),
        (b"x-ms-invocation-id", new_invocation_id().encode()),
    ]
    request = Request({**scope, "type": "http", "headers": headers, "websocket": True})
    response = await function.call(**{function.argument: request})
    await response(scope, receive, send)


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_limit: int) -> None:
        self.invocation_id = new_invocation_id()
        self.status: int | None = None
        self._receive = receive
        self._send = send
        self._left = body_limit
        self._too_large = _content_length(scope) > body_limit
        self._scope = dict(scope)
        self._scope["headers"] = [
            *(pair for pair in scope["headers"] if pair[0] != b"x-ms-invocation-id"),
            (b"x-ms-invocation-id", self.invocation_id.encode()),
        ]

    async def run(self, function: HostedFunction) -> None:
        began = time.perf_counter()
        failure: Exception | None = None
        broken = False
        try:
            await self._respond(function)
        except ClientDisconnect:
            log.info("%s: the client went away %s", function.name, self.invocation_id)
        except Exception as error:  # a function's failure is a 500 here
            failure = error
            broken = self.status is not None
            if not broken:
                await self._answer(Response(status_code=500))
        log.log(
            logging.ERROR if failure else logging.INFO,
            "%s %s %.1f ms %s",
            function.name,
            self.status or "-",
            (time.perf_counter() - began) * 1000,
            self.invocation_id,
            exc_info=failure,
        )
        if broken:
            raise _Broken from failure  # bytes are out: only closing tells the client

    async def _respond(self, function: HostedFunction) -> None:
        if self._beyond_limit():
            await self._answer(Response(status_code=413))
            return
        request = Request(self._scope, self._limited_receive)
        response: object = None
        try:
            response = await function.call(**{function.argument: request})
        except Exception:
            if not self._beyond_limit():
                raise
        if self._beyond_limit():
            response = Response(status_code=413)
        if not isinstance(response, Response):
            raise TypeError(f"function {function.name} returned {type(response).__name__}")
        await self._answer(response)

    def _beyond_limit(self) -> bool:
        return self._too_large

    async def _answer(self, response: Response) -> None:
        await response(self._scope, self._limited_receive, self._watched_send)

    async def _watched_send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def _limited_receive(self) -> Message:
        """The request's next piece; past the limit, as if the client had gone away."""
        if self._too_large:
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self._too_large = True
                return {"type": "http.disconnect"}
        return message


class _Broken(Exception):
    """The response ended early; the server closes the connection."""


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0

"""The app under Microsoft's own worker library, driven by this project's host.

The package ``azure-functions-runtime`` (Python 3.13 or newer) is what indexes and invokes
functions in Azure. Here it takes the place of ``local_host``'s own loader: the host's triggers
stay the same, but each invocation goes through the library, with the payloads that the real
host would send. So what passes here loads and runs in Azure.

    .venv-worker/bin/python -m tests.support.real_worker --app DIR --port 7072 --state DIR
    .venv-worker/bin/python -m tests.support.real_worker --app DIR --index

Exit status: 0 after SIGINT or SIGTERM, 2 where the worker does not load the app.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import azure.functions as func
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from local_host.functions import BLOB, HTTP, QUEUE, SUPPORTED, TIMER, HostedFunction
from local_host.invocations import new_invocation_id
from local_host.server import run_host
from local_host.settings import HostError

_SUCCESS = 1
_REQUEST_S = 230.0
"""Azure's limit for one HTTP request, in seconds."""

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


class _Message:
    """A stand-in for any protobuf message: the members that it is made with."""

    Failure, Success, Cancelled = 0, 1, 2
    undefined, out, inout = 0, 1, 2

    def __init__(self, **members: Any) -> None:
        self.__dict__.update(members)

    def WhichOneof(self, group: str) -> str | None:
        """The member that is set."""
        return "data" if group == "rpc_data" else next(iter(self.__dict__), None)


class _Protos:
    """The module of message classes that the library asks its caller for."""

    def __getattr__(self, name: str) -> type[_Message]:
        made = type(name, (_Message,), {})
        setattr(self, name, made)
        return made


class InvocationFailed(Exception):
    """The worker reports a failed invocation; the message is the worker's."""


class Worker:
    """The worker library with its index of an app."""

    def __init__(self) -> None:
        self._library = importlib.import_module("azure_functions_runtime").handle_event
        self._protos = _Protos()
        self._front: Callable[[Request], Awaitable[Response]] | None = None

    async def load(self, app: Path) -> list[HostedFunction]:
        """Let the worker index the app.

        Raises
        ------
        HostError
            It refuses; the message holds its reason.
        """
        init = _Message(capabilities={}, function_app_directory=str(app), host_version="4.0.0")
        reply = await self._library.worker_init_request(
            _Message(
                request=_Message(worker_init_request=init),
                properties={"host": "127.0.0.1", "protos": self._protos},
            )
        )
        if reply.result.status != _SUCCESS:
            raise HostError(f"the worker does not load the app: {vars(reply.result.exception)}")
        address = reply.capabilities.get("HttpUri")
        if address is not None:
            self._front = _front(address)
        return [self._hosted(one) for one in self._library._metadata_result or ()]

    def _hosted(self, indexed: Any) -> HostedFunction:
        bindings = [json.loads(one) for one in indexed.raw_bindings]
        trigger = next(one for one in bindings if one["type"] in SUPPORTED)
        payload = _PAYLOADS[trigger["type"]]

        async def call(**arguments: Any) -> Response | None:
            ((name, value),) = arguments.items()
            invocation_id = new_invocation_id()
            if isinstance(value, Request):
                invocation_id = value.headers["x-ms-invocation-id"]
            data, metadata = await payload(self._protos, value)
            invoking = self._invoke(indexed.function_id, name, data, metadata, invocation_id)
            if not isinstance(value, Request):
                await invoking
                return None
            return await self._invoke_over_http(indexed.name, invoking, value)

        return HostedFunction(indexed.name, trigger, call, is_async=True)

    async def _invoke_over_http(
        self, name: str, invoking: Coroutine[Any, Any, None], request: Request
    ) -> Response:
        """Forward the request to the worker's own server while the worker invokes."""
        if self._front is None:
            raise HostError("the app does not use HTTP streaming")
        task = asyncio.create_task(invoking)
        try:
            response = await self._front(request)
        except BaseException:
            task.cancel()
            raise
        try:
            await task
        except InvocationFailed as failure:
            print(f"{name}: {failure}", file=sys.stderr)
        return response

    async def _invoke(
        self, function_id: str, name: str, data: Any, metadata: dict[str, Any], invocation_id: str
    ) -> None:
        request = _Message(
            invocation_id=invocation_id,
            function_id=function_id,
            input_data=[_Message(name=name, data=data)],
            trigger_metadata=metadata,
            trace_context=_Message(trace_parent="", trace_state="", attributes={}),
            retry_context=_Message(retry_count=0, max_retry_count=0, exception=None),
        )
        reply = await self._library.invocation_request(
            _Message(request=_Message(invocation_request=request), properties={})
        )
        if reply.result.status != _SUCCESS:
            raise InvocationFailed(str(vars(reply.result.exception)))


# Payloads ---------------------------------------------------------------------------------


async def _http(protos: _Protos, request: Request) -> tuple[Any, dict[str, Any]]:
    http = protos.RpcHttp(
        method=request.method,
        url=str(request.url),
        headers={},
        body=protos.TypedData(bytes=b""),
        params=dict(request.path_params),
        query={},
    )
    return protos.TypedData(http=http), {}


async def _queue(protos: _Protos, message: func.QueueMessage) -> tuple[Any, dict[str, Any]]:
    times = {
        "ExpirationTime": message.expiration_time,
        "InsertionTime": message.insertion_time,
        "NextVisibleTime": message.time_next_visible,
    }
    texts = {
        "Id": message.id,
        "DequeueCount": str(message.dequeue_count),
        "PopReceipt": message.pop_receipt,
        **{name: time.isoformat() for name, time in times.items() if time is not None},
    }
    metadata = {name: protos.TypedData(string=text) for name, text in texts.items()}
    return protos.TypedData(string=message.get_body().decode("utf-8")), metadata


async def _blob(protos: _Protos, blob: func.InputStream) -> tuple[Any, dict[str, Any]]:
    content = await asyncio.to_thread(blob.read)
    metadata = {
        "BlobTrigger": protos.TypedData(string=blob.name),
        "Uri": protos.TypedData(string=blob.uri),
        "Properties": protos.TypedData(json=json.dumps({"ContentLength": blob.length})),
        "Metadata": protos.TypedData(json="{}"),
    }
    return protos.TypedData(bytes=content), metadata


async def _timer(protos: _Protos, timer: func.TimerRequest) -> tuple[Any, dict[str, Any]]:
    return protos.TypedData(json=json.dumps({"IsPastDue": timer.past_due})), {}


_PAYLOADS: dict[str, Callable[[_Protos, Any], Awaitable[tuple[Any, dict[str, Any]]]]] = {
    HTTP: _http,
    QUEUE: _queue,
    BLOB: _blob,
    TIMER: _timer,
}


# HTTP -------------------------------------------------------------------------------------


def _front(address: str) -> Callable[[Request], Awaitable[Response]]:
    """What forwards a request to the worker's own server, as the real host does with YARP."""
    import httpx

    client = httpx.AsyncClient(
        timeout=_REQUEST_S, trust_env=False, limits=httpx.Limits(max_connections=None)
    )
    client.headers.clear()  # of its own it would ask for gzip, whatever the client takes

    async def forward(request: Request) -> Response:
        path = request.scope["raw_path"].decode("ascii")
        query = request.scope["query_string"].decode("ascii")
        headers = [
            (name, value) for name, value in request.headers.items() if name not in _HOP_BY_HOP
        ]
        has_body = "content-length" in request.headers or "transfer-encoding" in request.headers
        outgoing = client.build_request(
            request.method,
            f"{address}{path}?{query}" if query else f"{address}{path}",
            headers=headers,
            content=request.stream() if has_body else None,
        )
        reply = await client.send(outgoing, stream=True)
        response = StreamingResponse(_pieces(reply), reply.status_code)
        response.raw_headers = [
            (name.lower(), value)
            for name, value in reply.headers.raw
            if name.lower().decode("ascii") not in {*_HOP_BY_HOP, "date", "server"}
        ]
        return response

    return forward


async def _pieces(reply: Any) -> AsyncIterator[bytes]:
    try:
        async for piece in reply.aiter_raw():
            yield piece
    finally:
        await reply.aclose()


# Command line -----------------------------------------------------------------------------


async def _run(arguments: argparse.Namespace) -> None:
    app: Path = arguments.app.resolve()
    sys.path.insert(0, str(app))
    os.chdir(app)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole addresses
    functions = await Worker().load(app)
    if arguments.index:
        for one in functions:
            place = [
                one.trigger[key]
                for key in ("route", "queueName", "path", "schedule")
                if key in one.trigger
            ]
            print(one.name, one.type, *place)
        return
    await run_host(app, arguments.port, arguments.state, functions)


def main() -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(prog="real_worker", description=__doc__)
    parser.add_argument("--app", type=Path, required=True)
    parser.add_argument("--port", type=int, default=7072)
    parser.add_argument("--state", type=Path, default=Path(".local/host"))
    parser.add_argument("--index", action="store_true", help="list the functions and end")
    arguments = parser.parse_args()
    arguments.state = arguments.state.resolve()
    try:
        asyncio.run(_run(arguments))
    except HostError as error:
        print(f"real_worker: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

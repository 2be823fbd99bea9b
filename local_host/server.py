"""The host as a whole: reads the app, answers HTTP, runs the listeners, ends in good order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import uvicorn

from local_host.functions import BLOB, HTTP, QUEUE, TIMER, HostedFunction, load_functions
from local_host.http import HttpHost, route_table
from local_host.invocations import Invocations, log
from local_host.settings import HostError, HostSettings, body_limit, load_host_settings

GRACE_S = 10
"""Seconds that running invocations have to finish after SIGINT or SIGTERM."""

KEEP_ALIVE_S = 130
"""Kestrel's time until an idle connection is closed, in seconds."""

BLOB_EVENTS = "blob-events"
"""The queue to which Event Grid sends the storage account's events."""

PING_S = 5.0
"""Seconds between the pings of a WebSocket, and until a pong is missed."""

SOCKET_MESSAGE_BYTES = 65_536
"""Largest message that a WebSocket takes."""

_RESTART_S = 1.0


class Listener(Protocol):
    """What drives one function that is not called over HTTP."""

    async def run(self) -> None:
        """Listen until cancelled."""

    async def close(self) -> None:
        """Release what is open."""


class _Server(uvicorn.Server):
    """uvicorn, with the signals left to this host."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(port: int) -> socket.socket:
    """A listening address on loopback; port 0 takes a free one.

    Raises
    ------
    HostError
        The port is taken.
    """
    # the protocol by name: asyncio turns Nagle off only for sockets that say so (40 ms a request)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise HostError(
            f"port {port} cannot be used ({error.strerror}): another program may have it; "
            "choose another with --port"
        ) from None
    return listener


def build_listeners(
    functions: Sequence[HostedFunction],
    settings: HostSettings,
    invocations: Invocations,
    state: Path,
) -> list[Listener]:
    """A listener for each function that is not called over HTTP."""
    # imported where an app needs them: the storage SDKs take half a second
    environment = os.environ
    by_type = {
        kind: [one for one in functions if one.type == kind] for kind in (QUEUE, BLOB, TIMER)
    }
    listeners: list[Listener] = []
    covered: frozenset[str] = frozenset()
    if by_type[QUEUE]:
        from local_host.queues import QueueListener

        listeners += [
            QueueListener(one, settings.queues, invocations, environment) for one in by_type[QUEUE]
        ]
    told = [one for one in by_type[QUEUE] if one.trigger["queueName"] == BLOB_EVENTS]
    if by_type[BLOB] or told:
        from local_host.receipts import Receipts

        receipts = Receipts(state / "receipts.sqlite")
    if by_type[BLOB]:
        from local_host.blobs import BlobListener

        slots = asyncio.Semaphore(settings.blobs.parallelism)
        scanning = [
            BlobListener(
                one, settings.blobs, invocations, environment, receipts=receipts, slots=slots
            )
            for one in by_type[BLOB]
        ]
        listeners += scanning
        covered = frozenset(one.container for one in scanning)
    if told:
        from local_host.event_grid import EventGrid

        listeners += [
            EventGrid(one, covered, invocations, environment, receipts=receipts) for one in told
        ]
    if by_type[TIMER]:
        from local_host.timers import TimerListener, TimerState

        timer_state = TimerState(state / "timers.json")
        listeners += [
            TimerListener(one, invocations, environment, timer_state) for one in by_type[TIMER]
        ]
    return listeners


async def run_host(
    app: Path, port: int, state: Path, functions: Sequence[HostedFunction] | None = None
) -> None:
    """Host the app until SIGINT or SIGTERM.

    Parameters
    ----------
    app : Path
        Folder with ``function_app.py`` and ``host.json``.
    port : int
        Port on loopback; 0 takes a free one. The line ``ready http://…`` on standard output
        says when and where requests are answered, and by which process.
    state : Path
        Folder for what outlives a restart.
    functions : Sequence[HostedFunction] | None
        The app's functions; read from ``function_app.py`` if absent.

    Raises
    ------
    HostError
        The app cannot be hosted; the message says what to change.
    """
    settings = load_host_settings(app / "host.json")
    _configure_logging(settings.log_level)
    listener = bind(port)
    if functions is None:
        functions = load_functions(app)
    over_http = {one.name: one for one in functions if one.type == HTTP}
    table = route_table(list(over_http.values()), settings.route_prefix)
    invocations = Invocations(settings.function_timeout_s)
    application = HttpHost(over_http, table, body_limit(os.environ), invocations.activity)
    listeners = build_listeners(functions, settings, invocations, state)
    server = _Server(
        uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=SOCKET_MESSAGE_BYTES,
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
    )
    stop = _stop_on_signals()
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    answering = asyncio.create_task(server.answering.wait())
    await asyncio.wait((serving, answering), return_when=asyncio.FIRST_COMPLETED)
    if not answering.done():
        answering.cancel()
        await serving  # raises why it does not serve
    address = "http://{}:{}".format(*listener.getsockname())
    print(f"ready {address} process {os.getpid()} functions {len(functions)}", flush=True)
    driving = [asyncio.create_task(_keep_running(one)) for one in listeners]
    await stop.wait()
    for task in driving:
        task.cancel()
    await asyncio.gather(*driving, return_exceptions=True)
    server.should_exit = True
    await asyncio.gather(serving, invocations.stop(GRACE_S))
    for one in listeners:
        await one.close()


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _keep_running(listener: Listener) -> None:
    while True:
        try:
            await listener.run()
        except Exception:
            log.exception("a listener failed and begins anew")
            await asyncio.sleep(_RESTART_S)


# Logging ----------------------------------------------------------------------------------

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "information": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "none": logging.CRITICAL + 1,
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Line(logging.Formatter):
    """One line a record, with the structured fields of ``extra`` behind the message."""

    def format(self, record: logging.LogRecord) -> str:
        record = logging.makeLogRecord(record.__dict__)
        fields = [f"{key}={value}" for key, value in vars(record).items() if key not in _STANDARD]
        if fields:
            record.msg, record.args = " ".join([record.getMessage(), *fields]), ()
        return super().format(record)


def _configure_logging(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=_LEVELS.get(level.lower(), logging.INFO), handlers=[handler])
    for noisy in ("azure", "aiohttp", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # what fails in a request is logged by this host already
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)

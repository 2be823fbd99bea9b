"""Running functions: one log line each, a time limit, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from local_host.functions import HostedFunction

log = logging.getLogger("local_host")


def new_invocation_id() -> str:
    """A fresh id in the form of the real host's (a UUID)."""
    return str(uuid.uuid4())


class Activity:
    """Wakes pollers early: whoever has just run may have given them work.

    Only latency depends on it; a poller that misses a pulse looks again by itself.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def pulse(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next pulse, at most ``timeout_s`` seconds. Whether one came."""
        event = self._event
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


class Invocations:
    """Runs queue, blob and timer functions.

    Parameters
    ----------
    timeout_s : float | None
        ``functionTimeout`` of host.json in seconds. A synchronous function that runs longer is
        given up, but its thread cannot be stopped (the real host ends the process).
    """

    def __init__(self, timeout_s: float | None) -> None:
        self.activity = Activity()
        self.stopping = False
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(thread_name_prefix="function")
        self._running: set[asyncio.Task[bool]] = set()

    def start(self, work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
        """Run in the background work that :meth:`stop` shall wait for."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def run(self, function: HostedFunction, value: object) -> bool:
        """Invoke a function. ``False`` where it raised or took too long; that is logged."""
        invocation_id = new_invocation_id()
        began = time.perf_counter()
        failure: BaseException | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._call(function, value)
        except asyncio.CancelledError:
            log.warning("%s cancelled %s", function.name, invocation_id)
            raise
        except Exception as error:  # a function's failure is a result here
            failure = error
        milliseconds = (time.perf_counter() - began) * 1000
        outcome = "failed" if failure else "succeeded"
        log.log(
            logging.ERROR if failure else logging.INFO,
            "%s %s %.1f ms %s",
            function.name,
            outcome,
            milliseconds,
            invocation_id,
            exc_info=failure,
        )
        self.activity.pulse()
        return failure is None

    async def _call(self, function: HostedFunction, value: object) -> None:
        arguments = {function.argument: value}
        if function.is_async:
            await function.call(**arguments)
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, lambda: function.call(**arguments))

    async def stop(self, grace_s: float) -> None:
        """Let running invocations finish, at most ``grace_s`` seconds, then cancel them."""
        self.stopping = True
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)

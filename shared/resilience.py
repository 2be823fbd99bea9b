"""How long the service waits for a store, how often it asks again, and when it answers 503 instead.

One place for all of it; the settings are in ``docs/settings.md``, the reasons in
``docs/resilience.md``. A call to a store is bounded by the number of its tries, and each try by the
time in which nothing comes; a request is bounded as a whole, from the last byte of it that arrived
until its answer begins. What is still to be tidied up then has a little time more, and goes on
without the client after that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.errors import Unavailable

FRONT_END_S = 230.0
"""Seconds after which Azure's load balancer gives up on an answer (502)."""

TIDY_S = 15.0
"""Seconds that an answer waits for what a request has begun and must not leave half-way."""

_CONNECT_S = 5.0
_PAUSE_S = 0.5
_T = TypeVar("_T")
_Receive = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Patience:
    """With stores.

    Parameters
    ----------
    silence_s : float
        Seconds in which nothing comes of an answer until a try has failed.
    tries : int
        How often a call is made at most.
    request_s : float
        Seconds from the last byte of a request that arrives until its answer begins.
    """

    silence_s: float = 20.0
    tries: int = 3
    request_s: float = 150.0

    @property
    def connect_s(self) -> float:
        """Seconds until a connection has to be there."""
        return min(_CONNECT_S, self.silence_s)

    @property
    def pause_s(self) -> float:
        """Seconds between two tries; each client spreads them by chance."""
        return min(_PAUSE_S, self.silence_s)

    @property
    def call_s(self) -> float:
        """Seconds after which a call to a store that is silent has failed for good."""
        return self.tries * (self.connect_s + self.silence_s) + 3 * self.pause_s * (self.tries - 1)

    @property
    def fits(self) -> bool:
        """Whether the client gets an answer before Azure's front end gives up."""
        return self.request_s + TIDY_S < FRONT_END_S


class Deadline:
    """Bounds the work on a request until its answer begins.

    A body that arrives puts it off: how long that may take is the business of who reads it.

    Parameters
    ----------
    seconds : float
        From now, and again from each piece of the body.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout: asyncio.Timeout | None = None

    @contextlib.asynccontextmanager
    async def bounding(self) -> AsyncIterator[None]:
        """Cancel the block when it is over, and raise ``Unavailable`` for it."""
        self._timeout = asyncio.timeout(self._seconds)
        try:
            async with self._timeout:
                yield
        except TimeoutError as error:
            if not self._timeout.expired():
                raise
            raise Unavailable from error
        finally:
            self._timeout = None

    def watching(self, receive: _Receive) -> _Receive:
        """``receive`` of ASGI, each message of which puts the deadline off."""

        async def watched() -> Any:
            message = await receive()
            if self._timeout is not None and not self._timeout.expired():
                self._timeout.reschedule(asyncio.get_running_loop().time() + self._seconds)
            return message

        return watched


_going_on: set[asyncio.Future[Any]] = set()


async def regardless_of_cancellation(work: Coroutine[Any, Any, _T]) -> _T:
    """Finish ``work`` even if the request is cancelled: its client left, or its time is up.

    Whoever waits is kept ``TIDY_S`` longer at most; the work goes on.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _wait_a_little(task)
        raise


async def tidied(work: Coroutine[Any, Any, object]) -> None:
    """Wait for ``work`` that tidies up, ``TIDY_S`` at most; then it goes on by itself."""
    await _wait_a_little(asyncio.ensure_future(work))


async def _wait_a_little(task: asyncio.Future[Any]) -> None:
    _going_on.add(task)
    task.add_done_callback(_ended)
    await asyncio.wait({task}, timeout=TIDY_S)


def _ended(task: asyncio.Future[Any]) -> None:
    _going_on.discard(task)
    if not task.cancelled():
        task.exception()  # it has been told where it was raised, or there is nobody to tell

"""The clock and the identifiers of the running process."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from datetime import UTC, datetime

from shared.ports import VERSION_EPOCH, VERSION_LOW_BITS

_EPOCH_MS = int(VERSION_EPOCH.timestamp() * 1000)
_STEP_BITS = 6
_VERSION_DIGITS = 19


class SystemClock:
    """The machine's time."""

    def now(self) -> datetime:
        """The time in UTC, with its zone."""
        return datetime.now(UTC)


class RandomIds:
    """Identifiers from time and chance.

    The lower 22 bits of a version are drawn anew in each millisecond, so two processes that make
    one version each in the same millisecond collide once in four million times. That does no
    harm: versions name things of one instance or one study only. Within a process each version is
    greater than the one before, also when the clock is set back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def version(self) -> str:
        """A new instance version: 19 decimal digits, later ones sort higher."""
        now = (time.time_ns() // 1_000_000 - _EPOCH_MS) << VERSION_LOW_BITS
        with self._lock:
            if now > self._last:
                self._last = now | secrets.randbits(VERSION_LOW_BITS)
            else:
                self._last += 1 + secrets.randbits(_STEP_BITS)
            return f"{self._last:0{_VERSION_DIGITS}}"

    def unique(self) -> str:
        """A new random identifier: 32 hexadecimal digits."""
        return uuid.uuid4().hex

"""Timer triggers: NCRONTAB schedules in UTC, whose state outlives a restart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.functions.timer import TimerRequest

from local_host.functions import HostedFunction
from local_host.invocations import Invocations
from local_host.ncrontab import Schedule
from local_host.settings import resolve_names

_MONITORED_FROM = timedelta(minutes=1)
_LONGEST_SLEEP_S = 30.0


def _now() -> datetime:
    return datetime.now(UTC)


async def _sleep_until(due: datetime) -> None:
    left_s = (due - _now()).total_seconds()
    while left_s > 0:
        # in short pieces: the clock may be set, the machine may sleep
        await asyncio.sleep(min(left_s, _LONGEST_SLEEP_S))
        left_s = (due - _now()).total_seconds()


class TimerState:
    """When each timer is due, in one JSON file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._due: dict[str, dict[str, str]] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            self._due = {}

    def due(self, function: str, expression: str) -> datetime | None:
        """When the function was due, if its schedule is still the same."""
        row = self._due.get(function, {})
        return datetime.fromisoformat(row["due"]) if row.get("schedule") == expression else None

    def put(self, function: str, expression: str, due: datetime) -> None:
        """Remember when the function is due."""
        self._due[function] = {"schedule": expression, "due": due.isoformat()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._due), "utf-8")
        draft.replace(self._path)


class TimerListener:
    """Runs one function by its schedule, never twice at once.

    Parameters
    ----------
    function : HostedFunction
        A function with a timer trigger.
    invocations : Invocations
        Runs the function.
    environment : Mapping[str, str]
        App settings for names in ``%…%``.
    state : TimerState
        Where due times are kept for schedules of a minute and more (``useMonitor``).
    """

    def __init__(
        self,
        function: HostedFunction,
        invocations: Invocations,
        environment: Mapping[str, str],
        state: TimerState,
    ) -> None:
        self._function = function
        self._invocations = invocations
        self._expression = resolve_names(str(function.trigger["schedule"]), environment)
        self._schedule = Schedule(self._expression)
        self._state = state
        first = self._schedule.after(_now())
        often = self._schedule.after(first) - first < _MONITORED_FROM
        self._monitored = bool(function.trigger.get("useMonitor", True)) and not often

    async def run(self) -> None:
        """Listen until cancelled. What has begun goes on; ``Invocations.stop`` waits for it."""
        stored = self._state.due(self._function.name, self._expression) if self._monitored else None
        if stored is not None and stored <= _now():
            await self._invoke(stored, past_due=True)
        elif self._function.trigger.get("runOnStartup"):
            await self._invoke(_now(), past_due=False)
        while True:
            due = self._schedule.after(_now())
            if self._monitored:
                self._state.put(self._function.name, self._expression, due)
            await _sleep_until(due)
            await self._invoke(due, past_due=False)

    async def close(self) -> None:
        """Nothing is open."""

    async def _invoke(self, due: datetime, *, past_due: bool) -> None:
        now = _now()
        request = TimerRequest(
            past_due=past_due,
            schedule_status={
                "Last": due.isoformat(),
                "Next": self._schedule.after(now).isoformat(),
                "LastUpdated": now.isoformat(),
            },
            schedule={"AdjustForDST": True},
        )
        task = self._invocations.start(self._invocations.run(self._function, request))
        await asyncio.shield(task)

"""NCRONTAB schedules: ``{second} {minute} {hour} {day} {month} {day-of-week}``, in UTC.

References
----------
atifaziz/NCrontab: values, ranges, lists, steps (``a/n`` is from ``a`` to the end), names of
months and days; day and day-of-week must both fit (unlike Unix cron).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_host.settings import HostError

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_LAST_YEAR = 9999


class ScheduleError(HostError):
    """A schedule that is no NCRONTAB expression."""


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_KINDS = (
    _Kind("second", 0, 59),
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day", 1, 31),
    _Kind("month", 1, 12, _MONTHS),
    _Kind("day-of-week", 0, 6, _DAYS),
)


def _value(text: str, kind: _Kind) -> int:
    if text.isascii() and text.isdigit():
        number = int(text)
        if kind.low <= number <= kind.high:
            return number
    elif text:
        for index, name in enumerate(kind.names):
            if name.startswith(text.lower()):
                return index + kind.low
    raise ScheduleError(f"{text!r} is not a {kind.name} from {kind.low} to {kind.high}")


def _values(text: str, kind: _Kind) -> set[int]:
    span, slash, step_text = text.partition("/")
    if slash and not re.fullmatch(r"[0-9]+", step_text):
        raise ScheduleError(f"{text!r} has no whole number as its step")
    step = max(1, int(step_text or 1))
    if span == "*":
        low, high = kind.low, kind.high
    elif "-" in span:
        first, _, last = span.partition("-")
        low, high = sorted((_value(first, kind), _value(last, kind)))
    else:
        low = _value(span, kind)
        high = kind.high if slash else low
    return set(range(low, high + 1, step))


class Schedule:
    """A parsed schedule.

    Parameters
    ----------
    expression : str
        Six fields, or five without seconds.

    Raises
    ------
    ScheduleError
        It cannot be read.
    """

    def __init__(self, expression: str) -> None:
        fields = expression.split()
        if len(fields) == 5:
            fields.insert(0, "0")
        if len(fields) != 6:
            raise ScheduleError(
                f"the schedule {expression!r} must have six fields: second minute hour day month "
                "day-of-week (a time span is for App Service plans only)"
            )
        parsed = [
            sorted(set().union(*(_values(part, kind) for part in text.split(","))))
            for text, kind in zip(fields, _KINDS, strict=True)
        ]
        self._seconds, self._minutes, self._hours, self._days, self._months, weekdays = parsed
        # Python's weekday() begins on Monday
        self._weekdays = {(day - 1) % 7 for day in weekdays}

    def after(self, moment: datetime) -> datetime:
        """The first occurrence later than ``moment``, in the same zone.

        Raises
        ------
        ScheduleError
            There is none: the days never occur (30 February).
        """
        candidate = moment.replace(microsecond=0) + timedelta(seconds=1)
        day = candidate.replace(hour=0, minute=0, second=0)
        earliest = (candidate.hour, candidate.minute, candidate.second)
        # the calendar repeats after 400 years; 28 hold each weekday of 29 February but for 2100
        limit = min(day.year + 40, _LAST_YEAR)
        while day.year <= limit:
            time_of_day = self._time_from(earliest) if self._fits(day) else None
            if time_of_day is not None:
                hour, minute, second = time_of_day
                return day.replace(hour=hour, minute=minute, second=second)
            day = self._next_day(day)
            earliest = (0, 0, 0)
        raise ScheduleError("the schedule never occurs")

    def _fits(self, day: datetime) -> bool:
        return (
            day.month in self._months and day.day in self._days and day.weekday() in self._weekdays
        )

    def _next_day(self, day: datetime) -> datetime:
        if day.month in self._months:
            return day + timedelta(days=1)
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)

    def _time_from(self, earliest: tuple[int, int, int]) -> tuple[int, int, int] | None:
        for hour in self._hours:
            for minute in self._minutes if hour >= earliest[0] else ():
                if (hour, minute) < earliest[:2]:
                    continue
                for second in self._seconds:
                    if (hour, minute, second) >= earliest:
                        return hour, minute, second
        return None

"""Matching of dates, times and date-times: single values, ranges, and both as one interval.

A value stands for all moments that begin like it: the time ``10`` for the whole hour, the date
and time ``2024`` for the whole year.

References
----------
PS3.4 C.2.2.2.1.3, C.2.2.2.5 (range matching); spec dicomweb.md §4.4.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable

from shared.errors import MalformedQuery
from shared.index import terms
from shared.web.query import Filter
from shared.where import And, Eq, Not, Or, Path, Range, Where

VRS = frozenset({"DA", "TM", "DT"})

_PAIRS = ((0x00080020, 0x00080030), (0x00400244, 0x00400245))
_LATEST_TIME = {2: "5959.999999", 4: "59.999999", 6: ".999999"}

Moment = str | int


def predicate(wanted: Filter, path: Path, value: str) -> Where:
    """The predicate of a single value or a range.

    Raises
    ------
    MalformedQuery
        It is neither; the message names the attribute.
    """
    low, high = _ends(wanted, value)
    if _is_before(high, low):
        raise _backwards(wanted)
    return Eq(path, low) if low is not None and low == high else Range(path, low, high)


def pairs(filters: Iterable[Filter]) -> list[tuple[Filter, Filter]]:
    """A date with its time, where ranges of both are asked for."""
    ranges = {wanted.key.path: wanted for wanted in filters if "-" in wanted.value}
    return [
        (ranges[date,], ranges[time,])
        for date, time in _PAIRS
        if (date,) in ranges and (time,) in ranges
    ]


def interval(date: Filter, date_path: Path, time: Filter, time_path: Path) -> Where:
    """All moments from the first day at the first time to the last day at the last time.

    A day in between matches at any time, also if the time is not known.
    """
    first_day, last_day = _ends(date, date.value.strip(" \0"))
    begin, end = _ends(time, time.value.strip(" \0"))
    if _is_before(last_day, first_day) or (first_day == last_day and _is_before(end, begin)):
        raise _backwards(date)
    found: list[Where] = [Range(date_path, first_day, last_day)]
    for day, edge in ((first_day, Range(time_path, begin)), (last_day, Range(time_path, high=end))):
        if day is not None and (edge.low is not None or edge.high is not None):
            found.append(Or((edge, Not(Eq(date_path, day)))))
    return And(tuple(found))


def _ends(wanted: Filter, value: str) -> tuple[Moment | None, Moment | None]:
    if "-" not in value:
        return _moment(wanted, value, last=False), _moment(wanted, value, last=True)
    low, _, high = (part.strip() for part in value.partition("-"))
    if not (low or high) or "-" in high:
        raise MalformedQuery(f"Invalid query: {wanted.name} has a range without ends.")
    return (
        _moment(wanted, low, last=False) if low else None,
        _moment(wanted, high, last=True) if high else None,
    )


def _is_before(one: Moment | None, other: Moment | None) -> bool:
    return one is not None and other is not None and one < other  # type: ignore[operator] # alike


def _backwards(wanted: Filter) -> MalformedQuery:
    return MalformedQuery(f"Invalid query: the range of {wanted.name} ends before it begins.")


def _moment(wanted: Filter, value: str, *, last: bool) -> Moment:
    """The first or last moment that a value stands for."""
    text = value.strip()
    match wanted.key.vr:
        case "DA":
            return _date(wanted, text)
        case "TM":
            return _time(wanted, text, last=last)
        case _:
            return _date_time(wanted, text, last=last)


def _date(wanted: Filter, text: str) -> str:
    found = terms.date_term(text)
    if found is None:
        raise MalformedQuery(
            f"Invalid query: specified Date value '{text[:40]}' is invalid for attribute "
            f"'{wanted.key.keyword}'. Date should be valid and formatted as yyyyMMdd."
        )
    return found


def _time(wanted: Filter, text: str, *, last: bool) -> int:
    found = terms.time_term(text)
    if found is not None and last:
        found = terms.time_term(text + _LATEST_TIME.get(len(text), ""))
    if found is None:
        raise MalformedQuery(
            f"Invalid query: specified Time value is invalid for attribute "
            f"'{wanted.key.keyword}'. Time should be formatted as HH, HHmm, HHmmss or "
            "HHmmss.FFFFFF."
        )
    return found


def _date_time(wanted: Filter, text: str, *, last: bool) -> int:
    found = terms.date_time_term(text) if text[:14].isdigit() and "+" not in text else None
    if found is not None and last:
        found = terms.date_time_term(_latest_date_time(text))
    if found is None:
        raise MalformedQuery(
            f"Invalid query: specified DateTime value is invalid for attribute "
            f"'{wanted.key.keyword}'. It should be formatted as yyyy[MM[dd[HH[mm[ss[.FFFFFF]]]]]], "
            "without an offset from UTC."
        )
    return found


def _latest_date_time(text: str) -> str:
    if len(text) == 4:
        text += "12"
    if len(text) == 6:
        text += f"{calendar.monthrange(int(text[:4]), int(text[4:6]))[1]:02}"
    if len(text) == 8:
        text += "23"
    return text + _LATEST_TIME.get(len(text) - 8, "")

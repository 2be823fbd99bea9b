from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_host.ncrontab import Schedule, ScheduleError


def after(expression: str, moment: str, count: int = 1) -> list[str]:
    schedule, found = Schedule(expression), datetime.fromisoformat(moment).replace(tzinfo=UTC)
    occurrences = []
    for _ in range(count):
        found = schedule.after(found)
        occurrences.append(found.strftime("%Y-%m-%d %H:%M:%S"))
    return occurrences


@pytest.mark.parametrize(
    ("expression", "moment", "expected"),
    [
        # the examples of Microsoft's page on the timer trigger
        ("0 */5 * * * *", "2024-01-01 10:04:59", ["2024-01-01 10:05:00", "2024-01-01 10:10:00"]),
        ("0 0 * * * *", "2024-01-01 10:00:00", ["2024-01-01 11:00:00"]),
        ("0 0 */2 * * *", "2024-01-01 23:00:00", ["2024-01-02 00:00:00", "2024-01-02 02:00:00"]),
        ("0 0 9-17 * * *", "2024-01-01 17:00:00", ["2024-01-02 09:00:00"]),
        ("0 30 9 * * *", "2024-01-01 09:30:00", ["2024-01-02 09:30:00"]),
        ("0 30 9 * * 1-5", "2024-01-05 10:00:00", ["2024-01-08 09:30:00"]),
        ("0 30 9 * Jan Mon", "2024-01-29 10:00:00", ["2025-01-06 09:30:00"]),
        ("* * * * * *", "2024-12-31 23:59:59", ["2025-01-01 00:00:00"]),
        ("*/20 * * * * *", "2024-01-01 00:00:41", ["2024-01-01 00:01:00", "2024-01-01 00:01:20"]),
        (
            "5,10-12 0 0 1 1 *",
            "2024-01-01 00:00:10",
            ["2024-01-01 00:00:11", "2024-01-01 00:00:12", "2025-01-01 00:00:05"],
        ),
        ("10/25 0 0 1 1 *", "2024-01-01 00:00:10", ["2024-01-01 00:00:35", "2025-01-01 00:00:10"]),
        ("0 0 0 29 2 *", "2023-03-01", ["2024-02-29 00:00:00", "2028-02-29 00:00:00"]),
        ("0 0 0 31 * *", "2024-04-01", ["2024-05-31 00:00:00", "2024-07-31 00:00:00"]),
        ("0 0 0 * * sunday", "2024-01-01", ["2024-01-07 00:00:00"]),
        ("0 0 0 13 * 5", "2024-01-01", ["2024-09-13 00:00:00"]),
        ("0 0 0 1 12-2 *", "2024-03-01", ["2024-04-01 00:00:00"]),
        ("*/5 * * * *", "2024-01-01 10:04:59", ["2024-01-01 10:05:00"]),
        ("0 0 0 1 jan,JUL *", "2024-01-01", ["2024-07-01 00:00:00", "2025-01-01 00:00:00"]),
    ],
)
def test_the_next_occurrences(expression, moment, expected):
    assert after(expression, moment, len(expected)) == expected


def test_fractions_of_a_second_do_not_repeat_an_occurrence():
    moment = datetime(2024, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)
    assert Schedule("* * * * * *").after(moment) == datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * * *",
        "0 0 24 * * *",
        "0 0 0 0 * *",
        "0 0 0 1 13 *",
        "0 0 0 * * 7",
        "x * * * * *",
        "*/x * * * * *",
        "1,, * * * * *",
        "- * * * * *",
        "00:05:00",
        "0 0 0 * foo *",
        "-1 * * * * *",
        "*/-1 * * * * *",
    ],
)
def test_what_is_no_schedule_is_refused(expression):
    with pytest.raises(ScheduleError):
        Schedule(expression)


def test_days_that_never_come_are_refused():
    with pytest.raises(ScheduleError, match="never occurs"):
        Schedule("0 0 0 30 2 *").after(datetime(2024, 1, 1, tzinfo=UTC))


@given(
    second=st.integers(0, 59),
    step=st.integers(1, 59),
    hour=st.integers(0, 23),
    weekday=st.integers(0, 6),
    days=st.integers(0, 36_000),
    seconds=st.integers(0, 86_399),
)
def test_an_occurrence_fits_and_none_is_left_out(second, step, hour, weekday, days, seconds):
    moment = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=days, seconds=seconds)
    schedule = Schedule(f"{second} */{step} {hour} * * {weekday}")
    found = schedule.after(moment)
    assert found > moment
    assert fits(found, second, step, hour, weekday)
    # going through all minutes between finds nothing earlier
    probe = max(moment + timedelta(seconds=1), found - timedelta(hours=30)).replace(
        second=second, microsecond=0
    )
    while probe < found:
        assert probe <= moment or not fits(probe, second, step, hour, weekday)
        probe += timedelta(minutes=1)


def fits(moment: datetime, second: int, step: int, hour: int, weekday: int) -> bool:
    return (
        moment.second == second
        and moment.minute % step == 0
        and moment.hour == hour
        and moment.isoweekday() % 7 == weekday
    )

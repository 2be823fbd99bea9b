from __future__ import annotations

import asyncio
import time

from local_host.invocations import Activity
from local_host.queues import BackOff


def test_waits_double_from_100_ms_to_the_longest():
    back_off = BackOff(1.0)
    waits = [back_off.next_s() for _ in range(6)]
    for wait_s, expected in zip(waits, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0], strict=True):
        assert 0.8 * expected <= wait_s <= expected
    back_off.reset()
    assert back_off.next_s() <= 0.1


def test_activity_shortens_a_wait_but_not_below_half_a_second():
    back_off = BackOff(60.0)
    for _ in range(10):
        back_off.next_s()
    back_off.shorten()
    assert 0.4 <= back_off.next_s() <= 0.5
    back_off.reset()
    back_off.shorten()
    assert back_off.next_s() <= 0.1


async def test_a_pulse_wakes_who_waits_and_nobody_later():
    activity = Activity()
    began = time.monotonic()
    waiting = asyncio.create_task(activity.wait(30))
    await asyncio.sleep(0)
    activity.pulse()
    assert await waiting is True
    assert time.monotonic() - began < 5
    assert await activity.wait(0.01) is False

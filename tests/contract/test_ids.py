"""The ``Clock`` and ``Ids`` ports."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from shared.adapters.system import RandomIds, SystemClock

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


def test_clock_gives_utc_with_its_zone():
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert abs(now.timestamp() - time.time()) < 5


def test_versions_have_19_digits_and_rise():
    ids = RandomIds()
    versions = [ids.version() for _ in range(20_000)]
    assert all(len(version) == 19 and version.isdigit() for version in versions)
    assert versions == sorted(set(versions))


def test_versions_rise_over_threads():
    ids = RandomIds()
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: [ids.version() for _ in range(2_000)], range(8)))
    assert all(run == sorted(run) for run in runs)
    assert len({version for run in runs for version in run}) == 16_000


def test_version_holds_the_time():
    before = datetime.now(UTC)
    milliseconds = int(RandomIds().version()) >> 22
    made = EPOCH + timedelta(milliseconds=milliseconds)
    assert before - timedelta(milliseconds=2) <= made <= datetime.now(UTC)


def test_versions_rise_when_the_clock_is_set_back(monkeypatch):
    ids = RandomIds()
    first = ids.version()
    monkeypatch.setattr(time, "time_ns", lambda: 1_600_000_000 * 10**9)
    assert first < ids.version() < ids.version()


def test_version_fits_63_bits_until_2088(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: int(datetime(2088, 1, 1).timestamp()) * 10**9)  # noqa: DTZ001
    assert int(RandomIds().version()) < 2**63


def test_processes_do_not_collide():
    code = (
        "import time\n"
        "from shared.adapters.system import RandomIds\n"
        "ids = RandomIds()\n"
        "for _ in range(200):\n"
        "    print(ids.version())\n"
        "    time.sleep(0.0005)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    versions = [line for process in running for line in process.communicate()[0].split()]
    assert len(versions) == len(set(versions)) == 800


def test_unique_is_32_hexadecimal_digits():
    ids = RandomIds()
    found = {ids.unique() for _ in range(1_000)}
    assert len(found) == 1_000
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in found)

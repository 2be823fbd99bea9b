"""The rows of DICOMcast on Azurite."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.adapters.azure.cast_failures import TABLE, TableFailures
from shared.cast.failures import MOST_CAUSE, Failure
from tests.support.fakes import FixedClock

ROW = Failure("Microsoft.Default", "1.2", "fhir", "why", sequence=2**60)


@pytest.fixture
async def clock() -> FixedClock:
    return FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def failures(table_client, clock) -> TableFailures:
    await table_client.delete_table(TABLE)
    return TableFailures(table_client, "main", clock)


async def test_nothing_is_there_before_something_is_put(failures):
    assert await failures.page(limit=10) == ([], "")
    assert await failures.of_study("Microsoft.Default", "1.2") == []
    await failures.put("Microsoft.Default", "1.2", [])
    assert await failures.page(limit=10) == ([], "")


async def test_rows_of_a_study_are_what_was_put_last(failures, clock):
    skipped = [replace(ROW, kind="skipped", instance=f"1.{n}", cause=f"tag {n}") for n in range(3)]
    await failures.put("Microsoft.Default", "1.2", [ROW, *skipped])
    await failures.put("Microsoft.Default", "1.23", [replace(ROW, study="1.23")])
    await failures.put("site", "1.2", [replace(ROW, partition="site")])
    first = await failures.of_study("Microsoft.Default", "1.2")
    assert {row.since for row in first} == {"2026-01-01T00:00:00.000000Z"}
    assert sorted(row.instance for row in first) == ["", "1.0", "1.1", "1.2"]
    assert {row.sequence for row in first} == {2**60}
    clock.pass_by(minutes=1)
    await failures.put(
        "Microsoft.Default", "1.2", [skipped[0], replace(skipped[1], cause="another")]
    )
    after = {row.cause: row.since for row in await failures.of_study("Microsoft.Default", "1.2")}
    assert after == {
        "tag 0": "2026-01-01T00:00:00.000000Z",
        "another": "2026-01-01T00:01:00.000000Z",
    }
    assert len(await failures.of_study("Microsoft.Default", "1.23")) == 1
    assert len(await failures.of_study("site", "1.2")) == 1
    await failures.put("Microsoft.Default", "1.2", [])
    assert await failures.of_study("Microsoft.Default", "1.2") == []


async def test_pages_and_tenants(failures, table_client, clock):
    for number in range(5):
        study = f"1.{number}"
        await failures.put("p", study, [replace(ROW, partition="p", study=study)])
    other = TableFailures(table_client, "other", clock)
    assert await other.page(limit=10) == ([], "")
    await other.put("p", "1.0", [])
    rows, after = await failures.page(limit=3)
    rest, end = await failures.page(limit=3, after=after)
    assert [row.study for row in rows + rest] == [f"1.{number}" for number in range(5)]
    assert end == ""
    assert await failures.page(limit=3, after="it's") == (rows, after)


async def test_a_long_cause_is_cut_and_many_rows_are_several_transactions(failures):
    rows = [
        replace(ROW, kind="refused", instance=f"1.{n}", cause="x" * (MOST_CAUSE + 1) * (n == 0))
        for n in range(150)
    ]
    await failures.put("Microsoft.Default", "1.2", rows)
    found = await failures.of_study("Microsoft.Default", "1.2")
    assert len(found) == 150
    assert max(len(row.cause) for row in found) == MOST_CAUSE

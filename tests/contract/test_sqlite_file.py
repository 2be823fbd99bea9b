"""What only the SQLite body promises: crashes, trouble with the file, speed of its plans."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.adapters.sqlite import files, writer
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.sqlite.layout import TABLES
from shared.adapters.sqlite.sql import page_statement
from shared.errors import OperationRefused, Unavailable
from shared.ports import Create, Documents, JsonObject, Patch, Upsert
from shared.where import And, Contains, Eq, Exists, In, Like, Member, Order, Range, Where

NEWEST = [Order(("version",), descending=True), Order(("id",))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tenant ?#%.db"


@pytest.fixture
async def documents(path: Path) -> AsyncIterator[SqliteDocuments]:
    opened = SqliteDocuments(path)
    yield opened
    await opened.close()


def _doc(identifier: str, pk: str = "p", **members: object) -> JsonObject:
    return {"id": identifier, "pk": pk, "type": "t", **members}


async def _commit(documents: Documents, identifier: str, **members: object) -> None:
    await documents.commit("index", "p", [Create(_doc(identifier, **members))])


async def _ids(documents: Documents) -> set[str]:
    found = await documents.query("index", And(()), limit=1_000_000, members=["id"])
    return {body["id"] for body in found}


# Crashes ----------------------------------------------------------------------------------

COMMITS_FOR_EVER = """
import asyncio, itertools, sys
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.ports import Create, Patch

async def main():
    documents = SqliteDocuments(sys.argv[1])
    numbers = itertools.count()
    await documents.commit("index", "p", [Create({"id": "sum", "pk": "p", "n": 0})])

    async def work():
        for number in numbers:
            body = {"id": f"d{number}", "pk": "p", "type": "t", "text": "x" * 3000}
            await documents.commit("index", "p", [Create(body), Patch("sum", add={("n",): 1})])
            print(body["id"], flush=True)

    await asyncio.gather(*(work() for _ in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 300, 3_000])
async def test_killed_process_loses_nothing_that_it_acknowledged(path, acknowledged):
    with subprocess.Popen(
        [sys.executable, "-c", COMMITS_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline().strip() for _ in range(acknowledged)]
        process.kill()
        seen += process.stdout.read().split()  # what it had printed before it died
    seen = [line for line in seen if line.startswith("d") and len(line) > 1]
    documents = SqliteDocuments(path)
    stored = await _ids(documents) - {"sum"}
    total = await documents.get("index", "p", "sum")
    assert total is not None
    # the last line may be cut off: then it is the beginning of an id that is there
    assert set(seen[:-1]) <= stored
    assert total.body["n"] == len(stored)
    await _commit(documents, "after")
    await documents.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


async def test_log_is_on_the_disk_before_a_commit_is_acknowledged(documents, path):
    await _commit(documents, "a")
    connection = files.open_writer(str(path))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    connection.close()


async def test_each_read_sees_what_was_acknowledged_before(documents):
    async def work(worker: int) -> None:
        for number in range(50):
            identifier = f"d{worker}-{number}"
            await _commit(documents, identifier)
            assert await documents.get("index", "p", identifier) is not None
            where = Eq(("id",), identifier)
            assert len(await documents.query("index", where, limit=2)) == 1

    await asyncio.gather(*(work(worker) for worker in range(8)))


async def test_commits_that_wait_together_share_a_transaction(path, monkeypatch):
    statements: list[str] = []
    open_writer = writer.open_writer

    def traced(name: str) -> sqlite3.Connection:
        connection = open_writer(name)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(writer, "open_writer", traced)
    documents = SqliteDocuments(path)
    await _commit(documents, "first")
    await asyncio.gather(*(_commit(documents, f"d{number}") for number in range(50)))
    await documents.close()
    assert statements.count("COMMIT") <= 1 + 5


async def test_closing_finishes_what_was_given(path):
    documents = SqliteDocuments(path)
    given = [asyncio.create_task(_commit(documents, f"d{number}")) for number in range(100)]
    await asyncio.sleep(0)
    await documents.close()
    await asyncio.gather(*given)
    with pytest.raises(Unavailable):
        await _commit(documents, "late")
    with pytest.raises(Unavailable):
        await documents.get("index", "p", "d1")
    await documents.close()
    again = SqliteDocuments(path)
    assert len(await _ids(again)) == 100
    await again.close()


async def test_waiter_that_gives_up_does_not_undo_its_commit(documents):
    task = asyncio.create_task(_commit(documents, "a"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _commit(documents, "b")
    assert await _ids(documents) == {"a", "b"}


async def test_bodies_in_several_event_loops(documents):
    def in_another_loop() -> None:
        asyncio.run(_commit(documents, "other"))

    await asyncio.gather(asyncio.to_thread(in_another_loop), _commit(documents, "a"))
    assert await _ids(documents) == {"a", "other"}


# Trouble ----------------------------------------------------------------------------------


async def test_full_disk_is_unavailable_and_loses_nothing(path, monkeypatch):
    limit = [300]
    open_writer = writer.open_writer

    def small(name: str) -> sqlite3.Connection:
        connection = open_writer(name)
        connection.execute(f"PRAGMA max_page_count={limit[0]}")
        return connection

    monkeypatch.setattr(writer, "open_writer", small)
    documents = SqliteDocuments(path)
    acknowledged = set()

    async def fill() -> None:
        for number in range(10_000):
            await _commit(documents, f"d{number}", text="x" * 10_000)
            acknowledged.add(f"d{number}")

    with pytest.raises(Unavailable) as caught:
        await fill()
    assert "full" in str(caught.value.__cause__)
    assert len(acknowledged) > 10
    assert await _ids(documents) == acknowledged
    with pytest.raises(Unavailable):
        await _commit(documents, "still full", text="x" * 100_000)
    limit[0] = 10_000
    await _commit(documents, "later", text="x" * 100_000)
    assert await _ids(documents) == acknowledged | {"later"}
    await documents.close()


async def test_locked_file_is_unavailable_until_it_is_free(path, monkeypatch):
    monkeypatch.setattr(files, "_LOCK_WAIT_S", 0.1)
    documents = SqliteDocuments(path)
    await _commit(documents, "a")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        await _commit(documents, "b")
    assert await _ids(documents) == {"a"}  # readers go on
    other.execute("ROLLBACK")
    other.close()
    await _commit(documents, "b")
    assert await _ids(documents) == {"a", "b"}
    await documents.close()


async def test_file_of_another_kind_is_unavailable(path, caplog):
    caplog.set_level(logging.CRITICAL)
    path.write_bytes(b"this is no database\n" * 1_000)
    documents = SqliteDocuments(path)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await _commit(documents, "a")
        with pytest.raises(Unavailable):
            await documents.get("index", "p", "a")
        with pytest.raises(Unavailable):
            await documents.query("index", And(()), limit=1)
    await documents.close()
    assert path.read_bytes().startswith(b"this is no database")


async def test_folder_that_is_not_there_is_unavailable(tmp_path):
    documents = SqliteDocuments(tmp_path / "absent" / "x.db")
    with pytest.raises(Unavailable):
        await documents.get("index", "p", "a")
    with pytest.raises(Unavailable):
        await _commit(documents, "a")
    (tmp_path / "absent").mkdir()
    await _commit(documents, "a")
    assert await _ids(documents) == {"a"}
    await documents.close()


async def test_damaged_pages_are_unavailable(path):
    documents = SqliteDocuments(path)
    for number in range(50):
        await _commit(documents, f"d{number}", text="x" * 2_000)
    await documents.close()
    with path.open("r+b") as file:
        file.seek(8 * 4_096)
        file.write(b"\xff" * (path.stat().st_size - 8 * 4_096))
    documents = SqliteDocuments(path)
    with pytest.raises(Unavailable):
        await documents.query("index", And(()), limit=100)
    await documents.close()


async def test_document_that_cannot_be_encoded_harms_no_other(documents):
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    outcomes = await asyncio.gather(
        _commit(documents, "a"),
        _commit(documents, "deep", value=deep),
        _commit(documents, "set", value={1, 2}),
        _commit(documents, "huge", value=10**400),
        _commit(documents, "version", version=2**70),
        _commit(documents, "b"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes[1:3]] == [RecursionError, TypeError]
    assert await _ids(documents) == {"a", "huge", "version", "b"}


# The file ---------------------------------------------------------------------------------


async def test_file_of_another_layout_is_rebuilt(path):
    documents = SqliteDocuments(path)
    for number in range(20):
        q = {"00100020": f"P{number}"}
        await _commit(documents, f"d{number}", q=q, partition="x", version=f"{number:04}")
    found = await documents.get("index", "p", "d3")
    await documents.close()
    old = sqlite3.connect(path)
    old.execute('UPDATE "index" SET "q.00100020" = NULL')
    old.execute("PRAGMA user_version=7")
    old.commit()
    old.close()
    documents = SqliteDocuments(path)
    assert await documents.get("index", "p", "d3") == found
    where = Eq(("q", "00100020"), "P3")
    assert [body["id"] for body in await documents.query("index", where, limit=5)] == ["d3"]
    with pytest.raises(OperationRefused):
        await _commit(documents, "d3")
    await documents.commit("index", "p", [Patch("d3", put={("x",): 1}), Upsert(_doc("new"))])
    await documents.close()


async def test_two_openings_at_once(path):
    both = [SqliteDocuments(path), SqliteDocuments(path)]
    await asyncio.gather(*(_commit(one, f"d{number}") for number, one in enumerate(both)))
    for one in both:
        assert await _ids(one) == {"d0", "d1"}
        await one.close()


STUDIES = And((Eq(("type",), "study"), Eq(("partition",), "microsoft.default")))
SEARCHES: dict[str, Where] = {
    "newest": And(()),
    "patient id": Eq(("q", "00100020"), "P1"),
    "patient id, wildcard": Like(("q", "00100020"), "P1*"),
    "patient name, wildcard": Like(("q", "00100010", "full"), "*smith*"),
    "patient name, word": Contains(("q", "00100010", "words"), " smith"),
    "study date": Range(("q", "00080020"), "2020-01-01", "2020-12-31"),
    "accession number": Eq(("q", "00080050"), "1"),
    "uids": In(("q", "0020000D"), ("1.2", "1.3")),
    "series uid": Eq(("q", "0020000E"), "1.2"),
    "instance uid": Eq(("q", "00080018"), "1.2"),
    "modality": Member(("q", "00080061"), "CT"),
}


@pytest.mark.parametrize("search", SEARCHES)
async def test_search_reads_an_index_only(documents, path, search):
    await _commit(documents, "a")
    where = And((STUDIES, SEARCHES[search]))
    sql, parameters = page_statement(TABLES["index"], where, order=NEWEST, limit=100)
    connection = files.open_reader(str(path))
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    connection.close()
    assert "USING COVERING INDEX" in plan[0]
    assert "(type=? AND partition=?" in plan[0]


@pytest.mark.parametrize(
    ("container", "where", "order", "partition", "expected"),
    [
        ("index", Eq(("type",), "instance"), NEWEST, "p", "(pk=?)"),
        ("index", Eq(("type",), "outbox"), [Order(("version",))], None, "(type=?)"),
        ("index", Eq(("type",), "behind"), [Order(("version",))], None, "(type=?)"),
        ("index", Range(("due",), None, "2"), [Order(("due",))], None, "due<?)"),
        ("changes", Range(("sequence",), 5), [Order(("sequence",))], "b", "sequence>?"),
        ("changes", Exists(("timestamp",)), [Order(("timestamp",))], "b", "(pk=?"),
        ("control", Eq(("kind",), "tag"), [Order(("key",), True)], "tag", "(pk=?"),
    ],
)
async def test_other_queries_use_an_index(
    documents, path, container, where, order, partition, expected
):
    await _commit(documents, "a")
    both = And((Eq(("type",), "tombstone"), where)) if "due" in str(where) else where
    sql, parameters = page_statement(
        TABLES[container], both, order=order, limit=10, partition=partition
    )
    connection = files.open_reader(str(path))
    plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
    connection.close()
    assert plan.startswith("SEARCH")
    assert expected in plan

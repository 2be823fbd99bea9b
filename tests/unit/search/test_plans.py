"""How SQLite looks for what a search asks: by an index, and by the key's own where there is one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from shared.adapters.sqlite.files import open_reader
from shared.adapters.sqlite.layout import TABLES
from shared.adapters.sqlite.sql import count_statement, page_statement
from shared.search.matching import conditions
from shared.web import query as scopes
from shared.web.query import parse_search_query
from shared.where import And, Eq, Order, Range, Where
from tests.support.search import Archive

_NEWEST = (Order(("version",), descending=True), Order(("id",)))


def _where(query: str, level: str = "study") -> Where:
    scope = {"study": scopes.STUDIES, "series": scopes.SERIES, "instance": scopes.INSTANCES}[level]
    asked = parse_search_query(parse_qsl(query, keep_blank_values=True), scope, most=200)
    return And((Eq(("type",), level), Eq(("partition",), "p"), *conditions(asked)))


def _plan(path: Path, sql: str, parameters: dict) -> str:  # type: ignore[type-arg]
    connection = open_reader(str(path / "index.sqlite"))
    try:
        return "\n".join(
            row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + sql, parameters)
        )
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("level", "query", "column"),
    [
        ("study", "", "partition=?"),
        ("study", "StudyDate=20200101", "q.00080020=?"),
        ("study", "StudyDate=20200101-20201231", "q.00080020>? AND q.00080020<?"),
        ("study", "StudyDate=20200101-", "q.00080020>?"),
        ("study", "StudyDate=-20200101", "q.00080020<?"),
        (
            "study",
            "StudyDate=20200101-20201231&StudyTime=10-11&combineddatetime=true",
            "q.00080020>? AND q.00080020<?",
        ),
        ("study", "PatientID=P1", "q.00100020=?"),
        ("study", "PatientID=P1*", "q.00100020>? AND q.00100020<?"),
        ("study", "PatientID=*1", "q.00100020>?"),
        ("study", "PatientID=a%5Cb&multiplevaluematching=true", "q.00100020=?"),
        ("study", "AccessionNumber=A1", "q.00080050=?"),
        ("study", "StudyInstanceUID=1.2,1.3", "q.0020000D=?"),
        ("study", "PatientName=a^b", "q.00100010.full=?"),
        ("study", "PatientName=a*", "q.00100010.full>? AND q.00100010.full<?"),
        ("study", "PatientName=a&fuzzymatching=true", "COVERING INDEX"),
        ("study", "ModalitiesInStudy=CT", "COVERING INDEX"),
        ("series", "SeriesInstanceUID=1.2", "q.0020000E=?"),
        ("series", "PatientID=P1&Modality=CT", "q.00100020=?"),
        ("instance", "SOPInstanceUID=1.2", "q.00080018=?"),
        # the rest walks from the newest on, and ends when the page is full
        ("study", "StudyID=1", "partition=?"),
        ("series", "Modality=CT", "partition=?"),
        ("instance", "InstanceNumber=1", "partition=?"),
    ],
)
async def test_each_search_seeks_an_index(
    archive: Archive, tmp_path: Path, level: str, query: str, column: str
) -> None:
    assert await archive.find() == []  # the file is there
    statement = page_statement(TABLES["index"], _where(query, level), order=_NEWEST, limit=101)
    plan = _plan(tmp_path, *statement)
    assert "SCAN" not in plan
    assert column in plan
    assert "SCAN" not in _plan(tmp_path, *count_statement(TABLES["index"], _where(query, level)))


async def test_a_page_far_behind_begins_at_its_place(archive: Archive, tmp_path: Path) -> None:
    assert await archive.find() == []
    where = And((_where(""), Range(("version",), high="1")))
    statement = page_statement(
        TABLES["index"], where, order=_NEWEST, limit=101, after=("1", "study|1")
    )
    plan = _plan(tmp_path, *statement)
    assert "version<?" in plan
    assert "TEMP B-TREE" not in plan

"""The search for patients in logs finds what it is for, and nothing else."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.support.patients import of_index, told_in


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index with an instance, and one that is deleted."""
    stored = {"q": {"00100020": "1CT1", "00100010": {"full": ["müller"], "words": ["A"]}}}
    deleted = {"instances": [{"shown": {"0020000D": "1.2", "00100020": {"Value": ["ID-77"]}}}]}
    connection = sqlite3.connect(tmp_path / "dicom-main.sqlite")
    with connection:
        connection.execute('CREATE TABLE "index" (body)')
        rows = [(json.dumps(body),) for body in (stored, deleted)]
        connection.executemany('INSERT INTO "index" VALUES (?)', rows)
    connection.close()
    sqlite3.connect(tmp_path / "empty.sqlite").close()
    return tmp_path


def test_what_is_in_the_index_is_looked_for(index: Path) -> None:
    patients = of_index(index)
    assert patients == {"1CT1", "müller", "ID-77"}
    for text in ("id=1CT1", "of müller.", '"ID-77"', "Doe^John", "T-001"):
        assert told_in(f"store 200 {text} in 7 ms", patients) is not None
    for text in ("1CT10", "x-1CT1", "A", "1.2", ""):
        assert told_in(f"store 200 {text} in 7 ms", patients) is None

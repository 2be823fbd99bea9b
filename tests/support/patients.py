"""Names and ids of the patients of tests, which no log, no record and no error may have.

``PATIENT`` knows the usual ones. ``of_index`` reads what an index has, whatever was stored.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENT = re.compile(r"[A-Za-z]{2,}\^[A-Za-z]{2,}|\bT-001\b|SECRET-(?:ID|1)|Secret\b")

_NAME, _ID = "00100010", "00100020"
_TELLING = re.compile(r"(?=.*\d)(?=.*[^\d.]).{4,}|(?=.*\w).*\^.*|.*[^\x00-\x7f].*", re.DOTALL)
"""Not "A" or "OTHER" or "123", which logs have for other reasons."""

_BEFORE, _AFTER = r"(?<![\w-])(?<!\w\.)", r"(?![\w-])(?!\.\w)"
"""A word of its own: no part of a UID, of an address or of a longer id."""


def of_index(folder: Path) -> set[str]:
    """Names and ids in the embedded indexes of a folder, as far as they could be nothing else."""
    found: set[str] = set()
    for file in folder.glob("*.sqlite"):
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
        try:
            if not connection.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'index'"
            ).fetchall():
                continue
            for (body,) in connection.execute('SELECT body FROM "index"'):
                found.update(_texts_of_patients(json.loads(body)))
        finally:
            connection.close()
    return {text for text in found if _TELLING.fullmatch(text)}


def told_in(text: str, patients: set[str]) -> str | None:
    """What a text has of a patient; ``None`` if nothing."""
    usual = PATIENT.search(text)
    if usual is not None:
        return usual.group()
    for one in patients:
        if one in text and re.search(rf"{_BEFORE}{re.escape(one)}{_AFTER}", text):
            return one
    return None


def _texts_of_patients(body: Any) -> Iterator[str]:
    """Texts anywhere below the names and ids of a document."""
    if isinstance(body, list):
        for one in body:
            yield from _texts_of_patients(one)
    if isinstance(body, dict):
        for key, value in body.items():
            if key.rpartition(".")[2] in (_NAME, _ID):
                yield from _texts(value)
            else:
                yield from _texts_of_patients(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)

"""Each key by which work items are searched, and what an item of a sequence has to fulfil."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.system import RandomIds
from shared.dicom.attributes import SearchKey
from shared.dicom.tags import entry
from shared.dicom.tags import key as tag_key
from shared.ports import JsonObject
from shared.web.query import parse_search_query
from shared.worklist.keys import KEYS, MOST_ITEMS, SCOPE, terms_of
from shared.worklist.service import WorklistService
from shared.worklist.validation import data_set_of
from tests.support import dicom
from tests.support.fakes import FixedClock
from tests.support.work_items import code, sq, value, work_item

_VALUES: dict[str, Any] = {
    "UI": "1.2.{}", "DA": "2026010{}", "DT": "2026010{}1200", "PN": {"Alphabetic": "Name{}^A"},
}  # fmt: skip
_SERVER_SETS = {(0x00741000,), (0x00741202,), (0x00404010,), (0x00080018,)}


def filled(number: int) -> JsonObject:
    """A data set with a value for each key."""
    found: JsonObject = work_item(None)
    for path, key in KEYS.items():
        inner = found
        for tag in path[:-1]:
            around = inner.get(tag_key(tag)) or {}
            inner[tag_key(tag)] = sq(*(around.get("Value") or [{}]))
            [inner] = inner[tag_key(tag)]["Value"]
        if path not in _SERVER_SETS:
            inner[tag_key(path[-1])] = value(key.vr, text(key, number, quoted=False))
    return found


def text(key: SearchKey, number: int, *, quoted: bool = True) -> Any:
    kind = _VALUES.get(key.vr, f"{key.keyword[:10]}{{}}")
    if isinstance(kind, dict):
        name = kind["Alphabetic"].format(number)
        return name if quoted else {"Alphabetic": name}
    return kind.format(number)


@pytest.fixture
async def worklist(tmp_path: Path) -> AsyncIterator[WorklistService]:
    documents = SqliteDocuments(tmp_path / "index.sqlite")
    yield WorklistService(documents, RandomIds(), FixedClock())
    await documents.close()


async def found(worklist: WorklistService, **parameters: str) -> list[str]:
    query = parse_search_query(list(parameters.items()), SCOPE, most=200)
    rows = (await worklist.search(query, "p")).rows
    return [row["00080018"]["Value"][0] for row in rows]


@pytest.mark.spec("worklist", 61, 62, 63)
async def test_each_key_finds_what_has_its_value(worklist: WorklistService) -> None:
    made = []
    for number in (1, 2):
        data_set = {**filled(number), "00080018": value("UI", f"1.2.{number}")}
        meanings = {"00080104": value("LO", "a code")}
        for name in ("00404025", "00404026", "00404027", "00404018"):
            data_set[name]["Value"][0] |= meanings
        performer = data_set["00404034"]["Value"][0]
        performer["00404009"]["Value"][0] |= meanings
        empty = {name: {"vr": "SQ"} for name in ("00080051", "00400026", "00400027", "00321064")}
        data_set["0040A370"]["Value"][0] = {
            **empty, "00321060": {"vr": "LO"}, **data_set["0040A370"]["Value"][0],
        }  # fmt: skip
        issuer = {name: {"vr": "SQ"} for name in ("00400036", "00400039", "0040003A")}
        data_set["00100024"]["Value"][0] |= {**issuer, "00400035": {"vr": "CS"}}
        data_set["00741224"]["Value"][0]["00081150"] = value("UI", "1.2.840.10008.5.1.4.34.6.1")
        made.append(await worklist.create("p", None, data_set_of([data_set])))
    for path, key in KEYS.items():
        by_keyword = ".".join(entry(tag).keyword for tag in path)  # type: ignore[union-attr]
        by_tag = ".".join(map(tag_key, path))
        for name in (by_keyword, by_tag):
            if path in ((0x00741000,), (0x00741202,)):
                both = {"00741000": "SCHEDULED", "00741202": "worklist"}[by_tag]
                assert sorted(await found(worklist, **{name: both})) == made
            elif path == (0x00404010,):
                assert sorted(await found(worklist, **{name: "20000101-"})) == made
            else:
                assert await found(worklist, **{name: text(key, 2)}) == made[1:], name
            assert await found(worklist, **{name: text(key, 3)}) == []


async def test_one_item_of_a_sequence_has_to_fulfil_all(worklist: WorklistService) -> None:
    def scheme(value_: str, scheme_: str) -> JsonObject:
        return {**code(value_), "00080102": value("SH", scheme_)}

    uid = dicom.new_uid()
    stations = sq(scheme("CT", "99A"), scheme("MR", "99B"))
    await worklist.create("p", None, data_set_of([work_item(uid, t00404025=stations)]))
    name = "ScheduledStationNameCodeSequence"
    for value_, scheme_, matches in (
        ("CT", "99A", True), ("MR", "99B", True), ("CT", "99B", False), ("MR", "99A", False),
        ("CT", "*", True), ("", "99B", True),
    ):  # fmt: skip
        query = {f"{name}.CodeValue": value_, f"{name}.CodingSchemeDesignator": scheme_}
        assert await found(worklist, **query) == ([uid] if matches else []), query
    several = {f"{name}.CodeValue": "MR\\US", "multiplevaluematching": "true"}
    assert await found(worklist, **several) == [uid]


async def test_an_attribute_that_no_item_has(worklist: WorklistService) -> None:
    one, none = dicom.new_uid(), dicom.new_uid()
    for uid, stations in ((one, sq(*map(code, "abcdefgh"))), (none, {"vr": "SQ"})):
        await worklist.create("p", None, data_set_of([work_item(uid, t00404025=stations)]))
    name = "ScheduledStationNameCodeSequence.CodeValue"
    assert await found(worklist, **{name: '""', "emptyvaluematching": "true"}) == [none]
    for letter in "abcdefgh":
        assert await found(worklist, **{name: letter}) == [one]
    assert len("abcdefgh") == MOST_ITEMS


def test_a_name_of_nothing_is_not_found() -> None:
    nameless = work_item("1.2.3", t00100010=value("PN", {"Alphabetic": None}))
    assert "00100010" not in terms_of(nameless)

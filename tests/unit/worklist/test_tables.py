"""Every row of the tables, at creation and update: there, missing, empty, forbidden."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from shared.dicom import tags
from shared.errors import MalformedRequest
from shared.ports import JsonObject
from shared.worklist.tables import ALWAYS, ANY, FINAL, MACROS, TOP, Row
from shared.worklist.validation import data_set_of, require_final, require_rules
from tests.support.work_items import PERFORMED, PROGRESS, sample, sq, value, work_item

MISSING, EMPTY, BLANK, PRESENT = "missing", "empty", "blank", "present"
REFUSED = {
    "1/1": {MISSING, EMPTY, BLANK},
    "2/1": {MISSING},
    "2/2": {MISSING},
    "3/1": {EMPTY, BLANK},
    "3/2": {EMPTY, BLANK},
    "3/3": {EMPTY, BLANK},
    "1C/1C": {EMPTY, BLANK},
    "1C/1": {EMPTY, BLANK},
    "1C/2": {EMPTY, BLANK},
    "2C/2C": set(),
    "X": {EMPTY, BLANK, PRESENT},
    "E": {MISSING, PRESENT},
    ".": set(),
}
"""What each code refuses (spec worklist.md §2)."""

BLANKS: dict[str, list[Any]] = {
    "PN": [{"Alphabetic": " "}, {"Alphabetic": None}, {}, None],
    "DS": [None], "IS": [None], "US": [], "FL": [], "FD": [], "UL": [],
}  # fmt: skip


class Place(NamedTuple):
    """A row, and the rows of the sequences around it."""

    around: tuple[Row, ...]
    row: Row

    def __str__(self) -> str:
        return ".".join(row.keyword for row in (*self.around, self.row))


def places(rows: tuple[Row, ...], around: tuple[Row, ...] = ()) -> Iterator[Place]:
    for row in rows:
        yield Place(around, row)
        if row.items and row.items != ANY:
            below = (*around, row)
            yield from places(MACROS[row.items], below) if row not in around else ()


PLACES = list(places(TOP))
CREATING = pytest.mark.parametrize("creating", [True, False], ids=["create", "update"])


def base(*, creating: bool) -> JsonObject:
    if not creating:
        return {"00404010": value("DT", "20261125")}
    server = {"00080016": value("UI", "1.2"), "00404010": value("DT", "20261125"),
              "00741000": value("CS", "SCHEDULED")}  # fmt: skip
    return {**work_item("1.2.3"), **server}


def elements(row: Row, case: str, *, creating: bool) -> list[JsonObject | None]:
    if case == MISSING:
        return [None]
    if case == EMPTY:
        return [{"vr": row.vr}, {"vr": row.vr, "Value": []}]
    if case == BLANK:
        if row.vr in ("SQ", "OB", "OW", "UN", "AT"):
            return []
        return [value(row.vr, each) for each in BLANKS.get(row.vr, ["", " ", None])]
    return [sample(row, creating=creating)]


def with_it(place: Place, element: JsonObject | None, *, creating: bool) -> JsonObject:
    """A complete data set in which the row has this element."""
    found = base(creating=creating)
    inner = found
    for around in place.around:
        filled = sample(around, creating=creating)
        inner[tags.key(around.tag)] = filled
        [inner] = filled["Value"]
    name = tags.key(place.row.tag)
    inner.pop(name, None)
    if element is not None:
        inner[name] = element
    return found


@CREATING
@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.spec("worklist", 15, 16, 17, 18, 19, 20, 21, 22, 35, 36, 37)
def test_each_row_is_held_to_its_code(place: Place, creating: bool) -> None:
    forbidden = next((row for row in place.around if row.code(creating=creating) == "X"), None)
    code = place.row.code(creating=creating)
    for case in (MISSING, EMPTY, BLANK, PRESENT):
        for element in elements(place.row, case, creating=creating):
            data_set = data_set_of([with_it(place, element, creating=creating)])
            if forbidden is None and case not in REFUSED[code]:
                require_rules(data_set, creating=creating)
                continue
            with pytest.raises(MalformedRequest) as refused:
                require_rules(data_set, creating=creating)
            named = forbidden or place.row
            assert f"{named.keyword} {tags.text(named.tag)}" in str(refused.value), case


@CREATING
@pytest.mark.parametrize(
    "row", [row for row in TOP if row.items == ANY], ids=lambda row: row.keyword
)
def test_below_an_optional_sequence_nothing_is_empty(row: Row, creating: bool) -> None:
    name = tags.key(row.tag)
    for inner, taken in (
        ({"00080104": value("LO", "x")}, True),
        ({}, True),
        ({"00091001": value("LO", "x")}, True),
        ({"00080104": {"vr": "LO"}}, False),
        ({"00081140": {"vr": "SQ"}}, False),
        ({"00081140": sq({"00081150": value("UI", " ")})}, False),
    ):
        data_set = data_set_of([{**base(creating=creating), name: sq(inner)}])
        if taken:
            require_rules(data_set, creating=creating)
        else:
            with pytest.raises(MalformedRequest, match=f"{row.keyword}.*has no value"):
                require_rules(data_set, creating=creating)


@pytest.mark.parametrize(("state", "items"), [("COMPLETED", PERFORMED), ("CANCELED", PROGRESS)])
@pytest.mark.spec("worklist", 46, 47)
def test_each_row_of_a_final_state(state: str, items: JsonObject) -> None:
    sequence, members = FINAL[state]
    [item] = items["Value"]
    whole = {**base(creating=True), tags.key(sequence): items}
    require_final(whole, state)
    broken = [
        (tag, {**whole, tags.key(tag): element})
        for tag in (*ALWAYS, sequence)
        for element in _none(whole[tags.key(tag)])
    ]
    broken += [(tag, {**whole, tags.key(sequence): sq(item, {**item, tags.key(tag): element})})
               for tag in members for element in _none(item[tags.key(tag)])]  # fmt: skip
    for tag, data_set in broken:
        without = {name: element for name, element in data_set.items() if element is not None}
        with pytest.raises(MalformedRequest) as refused:
            require_final(without, state)
        assert tags.text(tag) in str(refused.value)
    assert len(broken) == 2 * (len(ALWAYS) + 1 + len(members))


def _none(element: JsonObject) -> list[Any]:
    return [None, {"vr": element["vr"]}]


def test_the_tables_are_whole() -> None:
    assert len({row.tag for row in TOP}) == len(TOP) > 140
    everything = [*TOP, *(row for rows in MACROS.values() for row in rows)]
    for row in everything:
        known = tags.entry(row.tag)
        assert known is not None
        assert (known.keyword, known.vr) == (row.keyword, row.vr)
        assert (row.vr == "SQ") is bool(row.items), row
        assert {row.create, row.update} <= REFUSED.keys()
    assert {row.items for row in everything if row.items} == {*MACROS.keys(), ANY}
    assert len(PLACES) > 700

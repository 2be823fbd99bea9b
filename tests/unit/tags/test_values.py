"""Values of extended query tags, of every VR: what is kept, what is wrong, what finds them."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from shared.dicom.attributes import SearchKey
from shared.errors import MalformedQuery
from shared.index.terms import level_terms
from shared.search.matching import predicate
from shared.tags.models import VRS, ExtendedTag
from shared.tags.values import MESSAGES, values_of
from shared.web.query import Filter
from shared.where import Where
from tests.support.where_reference import matches

_GOOD: dict[str, list[Any]] = {
    "AE": ["A" * 16],
    "AS": ["001Y", "099D"],
    "CS": ["MR", "x" * 16],
    "DA": ["20240229"],
    "DT": ["2024", "20240229", "20240229101112.123456", "20240101120000+0100", "2024-0500"],
    "FD": [1.5, 2, "Infinity", "NaN"],
    "FL": [0.10000000149011612, -3, "-Infinity"],
    "IS": [12, "12", " 03 ", -(2**31), 2**31 - 1],
    "LO": ["Ünit", "x" * 64, "a\x1bb"],
    "PN": [{"Alphabetic": "A^B^C^D^E", "Ideographic": "x" * 64, "Phonetic": "y"}],
    "SH": ["x" * 16],
    "SL": [-(2**31), 2**31 - 1],
    "SS": [-(2**15), 2**15 - 1],
    "TM": ["10", "1011", "101112", "101112.123456", "000000"],
    "UI": ["1.2.3", "1." * 31 + "22"],
    "UL": [0, 2**32 - 1],
    "US": [0, 2**16 - 1],
}
_BAD: dict[str, list[tuple[Any, int]]] = {
    "AE": [("A" * 17, 2)],
    "AS": [("1Y", 3), ("0001Y", 3), ("001X", 3)],
    "CS": [("x" * 17, 2)],
    "DA": [("20240230", 1100), ("2024.01.01", 1100), ("2024", 1100)],
    "DT": [("20241301", 1300), ("x", 1300), ("20240101120000+9900", 1300)],
    "FD": [("x", 3), (True, 3)],
    "FL": [("1.5", 3)],
    "IS": [("one", 1500), (2**31, 1500), ("1.5", 1500), ("1" * 13, 1500)],
    "LO": [("x" * 65, 2), ("a\\b", 4), ("a\x01", 4)],
    "PN": [
        ({"Alphabetic": "a^b^c^d^e^f"}, 1000),
        ({"Alphabetic": "x" * 65}, 1001),
        ("a name", 5),
    ],
    "SH": [("x" * 17, 2)],
    "SL": [(2**31, 1500), ("x", 1500)],
    "SS": [(2**15, 1500)],
    "TM": [("24", 1400), ("10:00", 1400), ("101112.", 1400)],
    "UI": [("1.x", 1200), ("1." * 33, 1200), ("x" * 65, 1200)],
    "UL": [(-1, 1500), (2**32, 1500)],
    "US": [(2**16, 1500), (1.5, 1500)],
}


def _entry(vr: str) -> ExtendedTag:
    return ExtendedTag(0x00100040, vr, "study", number=7)


def test_every_vr_is_tested() -> None:
    assert _GOOD.keys() == _BAD.keys() == _MATCHES.keys() == VRS


@pytest.mark.parametrize("vr", sorted(VRS))
def test_valid_values_are_kept_and_others_are_told(vr: str) -> None:
    entry = _entry(vr)
    for value in _GOOD[vr]:
        for values in ([value], [value, "a second one, which does not count"]):
            found, faults = values_of({entry.path: {"vr": vr, "Value": values}}, [entry])
            assert found == {"study.00100040.7": {"vr": vr, "Value": [value]}}, value
            assert not faults
    for value, code in _BAD[vr]:
        found, faults = values_of({entry.path: {"vr": vr, "Value": [value]}}, [entry])
        assert (found, faults) == ({}, {"00100040.7": code}), value
        assert MESSAGES[code].endswith(".")
    for element in ({"vr": vr}, {"vr": vr, "Value": []}, {"vr": vr, "Value": [None]}):
        assert values_of({entry.path: element}, [entry]) == ({}, {})
    assert values_of({}, [entry]) == ({}, {})


@pytest.mark.parametrize("vr", sorted(VRS))
def test_an_element_of_another_vr_is_none_of_the_tag(vr: str) -> None:
    entry = _entry(vr)
    element = {"vr": "LT", "Value": [_GOOD[vr][0]]}
    assert values_of({entry.path: element}, [entry]) == ({}, {"00100040.7": 5})


def _unknown(raw: bytes) -> dict[str, Any]:
    return {"vr": "UN", "InlineBinary": base64.b64encode(raw).decode()}


@pytest.mark.parametrize(
    ("vr", "raw", "value"),
    [
        ("SH", b"Colour\\Other ", "Colour"), ("IS", b"03 ", "03"), ("UI", b"1.2\0", "1.2"),
        ("PN", b"A^B ", {"Alphabetic": "A^B"}), ("US", b"\x01\x02", 0x0201),
        ("SS", b"\xff\xff", -1), ("UL", b"\1\0\0\0\2\0\0\0", 1), ("SL", b"\xff" * 4, -1),
        ("FL", struct.pack("<f", 0.5), 0.5), ("FD", struct.pack("<d", 0.1), 0.1),
        ("FD", struct.pack("<d", float("nan")), None), ("FL", b"\0\0", None),
        ("US", b"", None), ("SH", b"", None),
    ],
)  # fmt: skip
def test_private_elements_of_unknown_vr_are_read_as_the_tag_says(
    vr: str, raw: bytes, value: Any
) -> None:
    """A value that JSON has no number for is left alone: no answer could show it."""
    entry = ExtendedTag(0x00091010, vr, "study", "ACME", number=7)
    data_set = {"00090011": {"vr": "LO", "Value": ["ACME "]}, "00091110": _unknown(raw)}
    found, faults = values_of(data_set, [entry])
    assert not faults
    expected = {} if value is None else {entry.key: {"vr": vr, "Value": [value]}}
    assert found == expected


# What finds them -------------------------------------------------------------------------

_MATCHES: dict[str, list[tuple[Any, list[str], list[str], list[str]]]] = {
    # value, found by, not found by, refused
    "AE": [("STORE_1", ["store_1", "STORE*"], ["STORE"], [])],
    "AS": [("053Y", ["053Y", "053y"], ["53Y"], [])],
    "CS": [("MR", ["mr", "M?"], ["M"], [])],
    "DA": [
        (
            "20240229",
            ["20240229", "20240229-", "-20240229", "20240101-20240229"],
            ["20240301-", "-20240228"],
            ["x", "20240230", "20240301-20240229"],
        )
    ],
    "DT": [
        (
            "20240229101112+0100",  # as it is written: no shift
            ["20240229101112", "2024", "202402291011-202402291012", "-2024"],
            ["20240229091112", "20240229101113-", "2023"],
            ["20240229101112+0100", "20240229101112-0500", "x"],
        )
    ],
    "FD": [(0.1, ["0.1", "1e-1", "+.1"], ["0.10000000149011612", "0"], ["x", "nan", "inf"])],
    "FL": [(0.10000000149011612, ["0.1", "0.10000000149011612"], ["0.11"], ["x", "1e99"])],
    "IS": [("03 ", ["3", "0003", "+3"], ["30", "-3"], ["x", "3.5"])],
    "LO": [("Ünit", ["ünit", "ÜNIT", "*nit"], ["unit"], [])],
    "PN": [({"Alphabetic": "Ünit^A"}, ["unit^a", "ÜNIT^A", "Uni*"], ["unit^b"], [])],
    "SH": [("Ward 7", ["ward 7"], ["ward"], [])],
    "SL": [(-70000, ["-70000"], ["70000"], ["x"])],
    "SS": [(-7, ["-7", "-0007"], ["7"], ["x", "7.0"])],
    "TM": [
        (
            "000000",
            ["000000", "00", "-01", "000000-000001"],
            ["000001-", "01"],
            ["x", "25", "02-01"],
        )
    ],
    "UI": [("1.2.3", ["1.2.3", "1.2.3,1.2.4"], ["1.2"], [])],
    "UL": [(2**32 - 1, ["4294967295"], ["-1"], ["x"])],
    "US": [(512, ["512", "0512"], ["51"], ["x", "5 1"])],
}


def _holds(where: Where, q: dict[str, Any]) -> bool:
    return matches(where, {"q": q})


@pytest.mark.parametrize("vr", sorted(VRS))
def test_what_finds_a_value(vr: str) -> None:
    entry = _entry(vr)
    key = SearchKey((entry.tag,), "X", vr, "study", core=False, stored_as=entry.key)
    for value, hits, misses, refused in _MATCHES[vr]:
        found, _ = values_of({entry.path: {"vr": vr, "Value": [value]}}, [entry])
        q = level_terms(found, "study")
        assert q, value
        for text, expected in [*((hit, True) for hit in hits), *((miss, False) for miss in misses)]:
            where = predicate(Filter("X", key, text), fuzzy=False)
            assert where is not None
            assert _holds(where, q) is expected, (value, text)
        for text in refused:
            with pytest.raises(MalformedQuery):
                predicate(Filter("X", key, text), fuzzy=False)

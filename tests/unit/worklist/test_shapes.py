"""What is no data set in DICOM JSON: the culprit is named, its value is not."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import MalformedRequest
from shared.ports import JsonObject
from shared.worklist.validation import data_set_of
from tests.support.work_items import sq, value


@pytest.mark.parametrize(
    "body",
    [
        None, {}, [], [None], [[]], [{"1": {}}], [{"0010001g": {}}], [{"00100010": []}],
        [{"00100010": {"vr": 7}}], [{"00100010": {"vr": "LO"}}],
        [{"00100010": {"vr": "PN", "Value": "x"}}], [{"00404025": {"vr": "SQ", "Value": [1]}}],
        [{"00100020": {"vr": "LO", "Value": [["x"]]}}], [{"00091001": {}}],
        [{"0040a370": {"vr": "SQ"}, "0040A370": {"vr": "SQ"}}], [{"0010_010": {"vr": "LO"}}],
        [{"00741216": {"vr": "UN", "Value": ["x"]}}], [{"0074100E": {"vr": "UN"}}],
    ],
)  # fmt: skip
@pytest.mark.spec("worklist", 12)
def test_what_is_no_data_set(body: Any) -> None:
    with pytest.raises(MalformedRequest):
        data_set_of(body)


SECRET = "Secret^Name"


@pytest.mark.parametrize(
    ("tag", "element"),
    [
        *(("00741204", value("LO", wrong)) for wrong in (1, 1.5, True, {"Alphabetic": SECRET})),
        *(("00100010", value("PN", wrong)) for wrong in (SECRET, 1, [SECRET], {"Alphabetic": 1})),
        *(("001021C0", value("US", wrong)) for wrong in (SECRET, True, {}, -1, 70_000, 1.5)),
        *(("00741004", value("DS", wrong)) for wrong in (True, {}, float("inf"), float("nan"))),
        ("00200013", value("IS", 1.5)),
        ("0020000D", value("UI", 1)),
        ("00404005", value("DT", 20261125)),
        ("00404025", value("SQ", SECRET)),
        ("00404025", {"vr": "SQ", "InlineBinary": "AAA="}),
        ("00741204", {"vr": "LO", "Value": [SECRET], "InlineBinary": "AAA="}),
        ("00741204", {"vr": "LO", "Value": {}}),
        ("00741204", {"vr": "LO", "BulkDataURI": 1}),
        ("00741204", {"vr": "UN", "Value": [SECRET]}),
        ("00741204", {"vr": "UN", "InlineBinary": "%"}),
        ("00400400", value("LT", "a", "b")),
        ("00091001", value("XX", SECRET)),
        ("00091001", value("at", SECRET)),
        ("00091001", value("AT", "0010")),
        ("00091001", value("OB", SECRET)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("inside", [False, True])
def test_a_value_that_is_none_of_its_vr(tag: str, element: JsonObject, inside: bool) -> None:
    data_set = {"00404025": sq({tag: element})} if inside else {tag: element}
    with pytest.raises(MalformedRequest) as refused:
        data_set_of([data_set])
    text = str(refused.value)
    assert f"({tag[:4]},{tag[4:]})" in text
    assert SECRET not in text
    assert ("ScheduledStationNameCodeSequence" in text) is (inside or tag == "00404025")


@pytest.mark.parametrize(
    "element",
    [
        value("LO", "x", None), value("LO"), {"vr": "LO"}, value("DS", 1.5), value("DS", "1.5"),
        value("IS", 7), value("IS", "7"), value("UV", 2**64 - 1), value("SV", "-1"),
        value("FL", "NaN"), value("AT", "00100010"), {"vr": "OB", "InlineBinary": "AAA="},
        {"vr": "UT", "BulkDataURI": "https://example.org/1"}, value("PN", {"Ideographic": "x"}),
        value("PN", None), sq({}), value("SQ", None),
    ],
)  # fmt: skip
def test_values_that_are(element: JsonObject) -> None:
    kept = data_set_of([{"00091001": element}])["00091001"]
    assert kept == (sq({}) if element["vr"] == "SQ" else element)


def test_members_that_the_model_does_not_know_are_left_out() -> None:
    element = {**value("LO", "Read"), "keyword": "ProcedureStepLabel"}
    assert data_set_of([{"00741204": element}]) == {"00741204": value("LO", "Read")}


def test_nesting_has_an_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"0040A730": {"vr": "SQ", "Value": [deep]}}
    with pytest.raises(MalformedRequest, match="deep"):
        data_set_of([deep])

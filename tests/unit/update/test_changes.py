"""What a bulk update may be asked for: each refusal names the element, and repeats no value."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import MalformedRequest
from shared.update.changes import UPDATABLE, Change, ChangesRefused, changes_of, read_changes

_SECRET = "Doe"


def _changes(data_set: Any) -> dict[int, Change]:
    return dict(read_changes(changes_of({"changeDataset": data_set})))


@pytest.mark.spec("operations", 15, 16)
@pytest.mark.parametrize(
    ("tag", "element"),
    [
        ("0008103E", {"vr": "LO", "Value": ["A"]}),
        ("0020000D", {"vr": "UI", "Value": ["1.2"]}),
        ("00081140", {"vr": "SQ", "Value": [{}]}),
        ("00080005", {"vr": "CS", "Value": ["ISO_IR 192"]}),
        ("00091010", {"vr": "LO", "Value": ["A"]}),
        ("7FE00010", {"vr": "OW", "InlineBinary": "AAAA"}),
        ("00100010", "Doe"),
        ("00100020", {"vr": "SH", "Value": ["A"]}),
        ("00100020", {"vr": "LO", "BulkDataURI": "http://host/file"}),
        ("00100020", {"vr": "LO", "Value": "Doe"}),
        ("00100020", {"vr": "LO", "Value": [1]}),
        ("00100020", {"vr": "LO", "Value": ["Doe" * 22]}),
        ("00100020", {"vr": "LO", "Value": ["Doe\\Doe"]}),
        ("00100020", {"vr": "LO", "Value": ["Doe", "Doe"]}),
        ("00100020", {"vr": "LO", "Value": ["Doe", "Doe\0"]}),
        ("00100020", {"vr": "LO", "Value": ["Doe\n"]}),
        ("00100020", {"vr": "LO", "Value": ["Doe\x1b$B"]}),
        ("00100020", {"vr": "LO", "Value": ["Doe\ud800"]}),
        ("00104000", {"vr": "LT", "Value": ["Doe\0"]}),
        ("00104000", {"vr": "LT", "Value": ["Doe" * 3414]}),
        ("00100010", {"vr": "PN", "Value": [{"alphabetic": "Doe"}]}),
        ("00100010", {"vr": "PN", "Value": [{"Alphabetic": "Doe=Doe"}]}),
        ("00100010", {"vr": "PN", "Value": [{"Alphabetic": 7}]}),
        ("00100010", {"vr": "PN", "Value": [{"Alphabetic": []}]}),
        ("00100010", {"vr": "PN", "Value": [{"Alphabetic": "A", "Phonetic": False}]}),
        ("00100010", {"vr": "PN", "Value": [{"Alphabetic": "Doe^^^^^"}]}),
        ("00100030", {"vr": "DA", "Value": ["notadate"]}),
        ("00100030", {"vr": "DA", "Value": ["20250230"]}),
        ("00100030", {"vr": "DA", "Value": ["20250101-20250102"]}),
        ("00100032", {"vr": "TM", "Value": ["2561"]}),
        ("00100040", {"vr": "CS", "Value": ["m"]}),
        ("00101010", {"vr": "AS", "Value": ["35Y"]}),
        ("00101020", {"vr": "DS", "Value": ["tall"]}),
        ("00101030", {"vr": "DS", "Value": [float("inf")]}),
        ("00101030", {"vr": "DS", "Value": [10**400]}),
    ],
)
def test_what_cannot_be_written_is_refused(tag: str, element: Any) -> None:
    with pytest.raises(ChangesRefused) as refused:
        changes_of({"changeDataset": {tag: element, "00100021": {"vr": "LO", "Value": ["Good"]}}})
    [comment] = refused.value.comments
    assert comment.startswith(f"DICOM100: ({tag[:4].lower()},{tag[4:].lower()}) - ")
    assert _SECRET not in comment


@pytest.mark.parametrize(
    "name", ["0x100010", " 0100010", "0010_010", "PatientName", "", "00100010 "]
)
def test_what_is_no_tag_is_malformed(name: str) -> None:
    with pytest.raises(MalformedRequest, match="no tag"):
        changes_of({"changeDataset": {name: {"vr": "PN"}}})


def test_an_element_that_is_there_twice() -> None:
    element = {"vr": "LO", "Value": ["A"]}
    with pytest.raises(ChangesRefused) as refused:
        changes_of({"changeDataset": {"001021F0": element, "001021f0": element}})
    assert refused.value.comments == ["DICOM100: (0010,21f0) - the element is there twice"]


def test_what_is_taken() -> None:
    data_set = {
        "00104000": {"vr": "LT", "Value": ["one\r\ntwo\\three"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada", "Ideographic": "山田"}]},
        "00100020": {"vr": "LO"},
        "00100030": {"Value": ["20240229"]},
        "00101000": {"vr": "LO", "Value": ["A", None, "C"]},
        "00101020": {"vr": "DS", "Value": [1.85]},
        "00080050": {"vr": "SH", "Value": []},
    }
    assert _changes(data_set) == {
        0x00080050: Change("SH", ()),
        0x00100010: Change("PN", ("Yamada=山田",)),
        0x00100020: Change("LO", ()),
        0x00100030: Change("DA", ("20240229",)),
        0x00101000: Change("LO", ("A", "", "C")),
        0x00101020: Change("DS", ("1.85",)),
        0x00104000: Change("LT", ("one\r\ntwo\\three",)),
    }
    assert list(_changes(data_set)) == sorted(int(tag, 16) for tag in data_set)
    assert len(UPDATABLE) == 36

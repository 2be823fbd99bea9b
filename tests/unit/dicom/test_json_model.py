"""Values in the DICOM JSON model, as the metadata of whole files show them (PS3.18 F)."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.json_model import little_endian, quote, string_values, strings_json
from shared.dicom.text import DEFAULT
from tests.support import dicom
from tests.support.dicom import element, file_with
from tests.unit.dicom.reading import address, facts_of, metadata_of, parsed, text_of


def _value(tag: int, vr: str, value: bytes, **options: Any) -> Any:
    """The JSON of one element that is put into BASE."""
    return metadata_of(dicom.splice(dicom.base(), element(tag, vr, value)), **options)[f"{tag:08X}"]


# Strings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "raw", "values"),
    [
        ("LO", b"", []),
        ("LO", b"  ", []),
        ("LO", b"a \\ b", ["a", " b"]),
        ("LO", b"\\", ["", ""]),
        ("CS", b"X\0", ["X\0"]),
        ("CS", b"X\0 ", ["X\0"]),
        ("UI", b"1.2\0", ["1.2"]),
        ("UI", b"1.2 ", ["1.2 "]),
        ("UI", b"1.2\0\\1.3\0\0", ["1.2", "1.3"]),
        ("LT", b"one \\ value ", ["one \\ value"]),
        ("UR", b"http://a\\b ", ["http://a\\b"]),
        ("DS", b" 1 \\2 ", [" 1", "2"]),
    ],
)
@pytest.mark.bug_report(11)
def test_strings_lose_trailing_spaces_and_uids_trailing_nuls(
    vr: str, raw: bytes, values: list[str]
) -> None:
    """Row 11, spec §2.8.3."""
    assert string_values(raw, vr, DEFAULT) == values


@pytest.mark.bug_report(11)
def test_uids_keep_their_space_and_their_leading_zeros() -> None:
    """Row 11."""
    data = dicom.splice(dicom.base(), element(0x0020000E, "UI", b"2.25.7 "))
    assert facts_of(data).identifiers.series_instance_uid == "2.25.7 "
    data = dicom.splice(dicom.base(), element(0x0020000E, "UI", b"2.25.007\0"))
    assert metadata_of(data)["0020000E"]["Value"] == ["2.25.007"]


@pytest.mark.bug_report(10)
def test_control_characters_are_escaped() -> None:
    """Row 10."""
    assert _value(0x00204000, "LT", b'a\x0b\x1f"\\/b\x00') == {
        "vr": "LT",
        "Value": ['a\x0b\x1f"\\/b\x00'],
    }


@given(st.text())
def test_any_text_is_valid_json(text: str) -> None:
    found = quote(text)
    assert parsed(found.encode("utf-8", "replace")) == text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ("Wang^Xiao=王^小=WANG^X", [("Wang^Xiao", "王^小", "WANG^X")]),
        ("=王", [("", "王", "")]),
        ("a==c", [("a", "", "c")]),
        ("Doe^J\\", [("Doe^J", "", ""), None]),
        ("a=b=c=d", [("a", "b", "c=d")]),
        ("==", None),
        ("", None),
    ],
)
@pytest.mark.bug_report(55)
def test_names_have_their_component_groups_and_no_empty_ones(
    raw: str, values: list[tuple[str, str, str] | None] | None
) -> None:
    """Row 55."""
    charset = element(0x00080005, "CS", b"ISO_IR 192")
    name = element(0x00101001, "PN", raw.encode())
    found = metadata_of(dicom.splice(dicom.base(), charset, name))["00101001"]
    names = ("Alphabetic", "Ideographic", "Phonetic")
    expected = [
        None if value is None else {k: v for k, v in zip(names, value, strict=True) if v}
        for value in values or []
    ]
    assert found == ({"vr": "PN", "Value": expected} if expected else {"vr": "PN"})


# Numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "json"),
    [
        ("0.50", "0.50"),
        ("-1024", "-1024"),
        ("1.5e+05", "1.5e+05"),
        ("+7", "7"),
        ("007", "7"),
        (".5", "0.5"),
        ("5.", "5"),
        (" 12", "12"),
        ("12\0", "12"),
        ("", "null"),
        ("1A", '"1A"'),
        ("1_0", '"1_0"'),
        ("nan", '"nan"'),
        ("-inf", '"-inf"'),
        ("1e400", '"1e400"'),
        ("\xb2", '"\xb2"'),
        ("9" * 5000, '"' + "9" * 5000 + '"'),
    ],
)
@pytest.mark.parametrize("vr", ["DS", "IS"])
@pytest.mark.bug_report(56)
def test_number_texts_are_numbers_if_they_parse_and_texts_otherwise(
    vr: str, text: str, json: str
) -> None:
    """Row 56 (PS3.18 F.2.3)."""
    assert strings_json([text, "1"], vr) == f',"Value":[{json},1]'
    assert strings_json([text], vr) == ("" if json == "null" else f',"Value":[{json}]')


@given(st.text(alphabet="0123456789+-.eE_ \0xnafi", max_size=30))
def test_any_number_text_gives_valid_json(text: str) -> None:
    parsed(f'{{"a":1{strings_json([text], "DS")}}}'.encode())


def test_a_wanted_number_of_thousands_of_digits_is_a_text() -> None:
    number = element(0x00200013, "IS", b"1" * 5000)
    data = dicom.splice(dicom.base(), number)
    found = facts_of(data, wanted=frozenset({0x00200013})).attributes
    assert found["00200013"] == {"vr": "IS", "Value": ["1" * 5000]}


@pytest.mark.bug_report(56)
def test_all_values_of_a_multi_valued_number_are_there() -> None:
    """Row 56."""
    found = metadata_of(dicom.part10(dicom.ct()))
    assert found["00200037"]["Value"] == [1, 0, 0, 0, 1, 0]
    assert found["00280030"]["Value"] == [0.5, 0.5]
    assert found["00200013"]["Value"] == [7]


@pytest.mark.bug_report(53)
def test_infinities_and_nan_are_words() -> None:
    """Row 53."""
    value = struct.pack("<2f", float("-inf"), -1.0)
    assert _value(0x00720076, "FL", value)["Value"] == ["-Infinity", -1.0]
    value = struct.pack("<2d", float("nan"), float("inf"))
    assert _value(0x0074102A, "FD", value)["Value"] == ["NaN", "Infinity"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("vr", "code", "numbers"),
    [
        ("US", "H", [0, 65535]),
        ("SS", "h", [-5]),
        ("UL", "I", [2**32 - 1]),
        ("SL", "i", [-(2**31), 1, 2]),
        ("UV", "Q", [2**64 - 1]),
        ("SV", "q", [-(2**63)]),
        ("FL", "f", [0.5, -2.0]),
        ("FD", "d", [0.1]),
    ],
)
def test_binary_numbers_are_read_in_either_byte_order(
    order: str, vr: str, code: str, numbers: list[float]
) -> None:
    raw = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
    found = _in_order(order, vr, raw + b"\1" * (len(raw) > 2))
    assert found == {"vr": vr, "Value": numbers}, "a remainder is left out"


def _in_order(order: str, vr: str, raw: bytes) -> Any:
    long = vr in ("UV", "SV", "OW", "OB", "OL", "OD", "OF", "OV", "UN")
    head = struct.pack(order + "HH2s", 0x0040, 0xA000, vr.encode())
    head += struct.pack(order + ("xxI" if long else "H"), len(raw))
    syntax = dicom.EXPLICIT_LE if order == "<" else dicom.EXPLICIT_BE
    return metadata_of(file_with(head + raw, transfer_syntax=syntax))["0040A000"]


def test_tags_are_eight_digits() -> None:
    assert _in_order("<", "AT", b"\x08\0\x18\0\x10\0\x20\0")["Value"] == ["00080018", "00100020"]
    assert _in_order(">", "AT", b"\0\x08\0\x18")["Value"] == ["00080018"]


@pytest.mark.parametrize("vr", ["AT", "US", "FD", "LO", "PN", "IS", "UN", "OB", "OW", "SQ"])
def test_an_empty_element_has_its_vr_alone(vr: str) -> None:
    assert _value(0x00091001, vr, b"") == {"vr": vr}


# Bulk data --------------------------------------------------------------------------------


@pytest.mark.parametrize("vr", ["OB", "OD", "OF", "OL", "OV", "OW", "UN"])
def test_bulk_of_1024_bytes_is_inline_and_more_is_to_be_fetched(vr: str) -> None:
    value = bytes(range(256)) * 4
    found = _value(0x00420011, vr, value)
    assert base64.b64decode(found["InlineBinary"]) == value
    for longer in (value + b"\0\1", value * 100):
        data = dicom.splice(dicom.base(), element(0x00420011, vr, longer))
        facts = facts_of(data)
        found = parsed(text_of(facts.metadata))["00420011"]
        assert found == {"vr": vr, "BulkDataURI": address(facts.identifiers, "00420011")}
        offset, length = facts.bulk["00420011"]
        assert data[offset : offset + length] == longer


def test_without_addresses_bulk_is_left_out_at_any_depth() -> None:
    """Spec §2.9."""
    found = metadata_of(dicom.part10(dicom.waveform(samples=10)), bulk=False)
    assert list(found["54000100"]["Value"][0]) == ["54001004", "54001006"]
    assert "7FE00010" not in metadata_of(dicom.base(), bulk=False)


@pytest.mark.parametrize("samples", [1000, 20_000, 100_000])
@pytest.mark.parametrize("syntax", [dicom.EXPLICIT_LE, dicom.IMPLICIT_LE])
@pytest.mark.bug_report(58)
def test_bulk_in_a_sequence_has_its_address_at_its_level_and_its_own_bytes(
    samples: int, syntax: str
) -> None:
    """Row 58."""
    data = dicom.part10(dicom.waveform(samples), syntax)
    facts = facts_of(data[at : at + 4096] for at in range(0, len(data), 4096))
    items = parsed(text_of(facts.metadata))["54000100"]["Value"]
    for number, item in enumerate(items, 1):
        path = f"54000100.{number}.54001010"
        assert item["54001010"]["BulkDataURI"] == address(facts.identifiers, path)
        offset, length = facts.bulk[path]
        assert data[offset : offset + length] == struct.pack("<h", number) * samples
    assert len(items) == len(facts.bulk) == 2


def test_a_text_too_long_to_keep_is_bulk() -> None:
    assert "BulkDataURI" in _value(0x0040A160, "UT", b"x" * 70_000)
    assert _value(0x0040A160, "UT", b"x" * 65_536)["Value"] == ["x" * 65_536]


@pytest.mark.parametrize(
    ("vr", "words"), [("OB", 1), ("UN", 1), ("OW", 2), ("OF", 4), ("OL", 4), ("OD", 8), ("OV", 8)]
)
def test_inline_bytes_of_a_big_endian_file_are_little_endian(vr: str, words: int) -> None:
    """PS3.18 F.2.7."""
    raw = bytes(range(16))
    found = base64.b64decode(_in_order(">", vr, raw)["InlineBinary"])
    assert found == b"".join(raw[at : at + words][::-1] for at in range(0, 16, words))


def test_a_remainder_of_a_word_stays_as_it_is() -> None:
    assert little_endian(b"\1\2\3\4\5", 2) == b"\2\1\4\3\5"
    assert little_endian(b"\1\2\3", 1) == b"\1\2\3"
    assert little_endian(b"\1\2\3", 4) == b"\1\2\3"


def test_private_elements_of_an_implicit_file_are_left_out_but_for_their_creators() -> None:
    """Spec §2.9: nothing tells their VR."""
    body = b"".join(
        [
            element(0x00080060, None, b"CT"),
            element(0x00090010, None, b"ACME"),
            element(0x00091001, None, b"12"),
            element(0x00091002, None, b"x" * 70_000),
            element(0x00095555, None, b""),
            element(0x00100020, None, b"1 "),
        ]
    )
    facts = facts_of(file_with(body, transfer_syntax=dicom.IMPLICIT_LE))
    assert list(parsed(text_of(facts.metadata))) == ["00080060", "00090010", "00100020"]
    assert not facts.bulk
    explicit = element(0x00090010, "LO", b"ACME") + element(0x00091001, "SH", b"12")
    assert metadata_of(file_with(explicit))["00091001"]["Value"] == ["12"]


@pytest.mark.parametrize(("signed", "vr", "value"), [(0, "US", 65535), (1, "SS", -1)])
def test_us_or_ss_of_an_implicit_file_follows_the_pixel_representation(
    signed: int, vr: str, value: int
) -> None:
    body = element(0x00280103, None, struct.pack("<H", signed))
    body += element(0x00280106, None, b"\xff\xff")
    found = metadata_of(file_with(body, transfer_syntax=dicom.IMPLICIT_LE))
    assert found["00280106"] == {"vr": vr, "Value": [value]}

"""Text in its character set (PS3.5 6.1, examples of PS3.5 H, I, J, K)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings, decode_bytes

from shared.dicom.text import DEFAULT, CharacterSet, character_set, decode
from tests.support import dicom
from tests.support.dicom import element
from tests.unit.dicom.reading import metadata_of

TERMS = [
    "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127",
    "ISO_IR 126", "ISO_IR 138", "ISO_IR 148", "ISO_IR 166", "ISO_IR 13", "ISO_IR 192", "GB18030",
    "GBK",
]  # fmt: skip


@pytest.mark.parametrize("term", TERMS)
@given(text=st.text(max_size=20))
def test_text_of_one_character_set_is_read_as_pydicom_reads_it(term: str, text: str) -> None:
    (codec,) = convert_encodings([term])
    raw = text.encode(codec, "ignore").replace(b"\x1b", b"")
    assert decode(raw, character_set(term.encode())) == decode_bytes(raw, [codec], set())


@pytest.mark.parametrize(
    ("terms", "raw", "text"),
    [
        (
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        (
            "ISO 2022 IR 13\\ISO 2022 IR 87",
            b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
            "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
        ),
        (
            "\\ISO 2022 IR 149",
            b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
            "Hong^Gildong=洪^吉洞=홍^길동",
        ),
        (
            "\\ISO 2022 IR 58",
            b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
            "Zhang^XiaoDong=张^小东=",
        ),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", b"M\xfcller^\x1b-L\xbb\xee", "Müller^Лю"),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", b"\x1b-L\xbb\xee^\xfc", "Лю^ü"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東=".encode(), "Wang^XiaoDong=王^小東="),
        ("GB18030", "Wang^XiaoDong=王^小东=".encode("gb18030"), "Wang^XiaoDong=王^小东="),
    ],
)
def test_names_of_the_standards_examples_are_read(terms: str, raw: bytes, text: str) -> None:
    assert decode(raw, character_set(terms.encode()), "PN") == text


@pytest.mark.parametrize(
    ("terms", "raw", "text"),
    [
        (b"Not Supplied", b"M\xfcller^A", "Müller^A"),
        (b"ISO 2022 IR 100", b"M\xfcller^A", "Müller^A"),
        (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"M\xfcller^A", "Müller^A"),
        (b"", b"M\xc3\xbcller^A ", "Müller^A"),
        (b"iso ir 100", b"M\xfcller^A", "Müller^A"),
        (b"ISO-IR 100", b"M\xfcller^A", "Müller^A"),
        (b"ISO_IR 999\\ISO_IR 100", b"M\xfcller^A", "Müller^A"),
    ],
)
@pytest.mark.bug_report(14)
def test_text_of_an_unknown_or_incomplete_character_set_is_read_at_best(
    terms: bytes, raw: bytes, text: str
) -> None:
    """Row 14."""
    data = dicom.splice(
        dicom.base(), element(0x00080005, "CS", terms), element(0x00100010, "PN", raw)
    )
    found = metadata_of(data)
    assert found["00100010"]["Value"] == [{"Alphabetic": text}]
    assert found["00100020"]["Value"] == ["T-001"]


@given(
    raw=st.binary(max_size=60),
    terms=st.lists(
        st.sampled_from([*TERMS, "", "ISO 2022 IR 87", "ISO 2022 IR 159", "ISO 2022 IR 149", "x"]),
        max_size=4,
    ),
    escapes=st.lists(st.sampled_from([b"\x1b$B", b"\x1b(J", b"\x1b$)C", b"\x1b-L", b"\x1b"])),
    vr=st.sampled_from(["PN", "LO", "UT"]),
)
def test_any_bytes_give_text_that_utf_8_can_hold(
    raw: bytes, terms: list[str], escapes: list[bytes], vr: str
) -> None:
    charset = character_set("\\".join(terms).encode())
    for escape in escapes:
        raw = raw[: len(raw) // 2] + escape + raw[len(raw) // 2 :]
    decode(raw, charset, vr).encode()


@given(st.binary(max_size=40))
def test_any_value_of_the_character_set_is_understood_somehow(value: bytes) -> None:
    decode(b"\xe4", character_set(value))


def test_an_item_has_its_own_character_set_and_the_data_set_keeps_its() -> None:
    german = element(0x00080005, "CS", b"ISO_IR 100")
    russian = element(0x00080005, "CS", b"ISO_IR 144")
    meaning = element(0x00080104, "LO", b"\xbb\xee")
    sequence = element(
        0x00081032, "SQ", element(0xFFFEE000, None, russian + meaning)
        + element(0xFFFEE000, None, meaning),
    )  # fmt: skip
    name = element(0x00100010, "PN", b"\xbb\xee")
    found = metadata_of(dicom.splice(dicom.base(), german, sequence, name))
    first, second = found["00081032"]["Value"]
    assert first["00080104"]["Value"] == ["Лю"]
    assert second["00080104"]["Value"] == ["»î"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "»î"}]


def test_a_backslash_byte_within_a_character_splits_nothing() -> None:
    text = "誠意"  # 0x5C is the second byte of one of its characters in GB 18030
    raw = text.encode("gb18030")
    assert b"\\" in raw
    data = dicom.splice(
        dicom.base(), element(0x00080005, "CS", b"GB18030"), element(0x00081030, "LO", raw)
    )
    assert metadata_of(data)["00081030"]["Value"] == [text]


def test_the_default_repertoire_is_ascii() -> None:
    assert character_set(b"") == character_set(b"ISO_IR 6 ") == DEFAULT == CharacterSet("ascii")

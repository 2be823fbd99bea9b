"""The reader: any chunking, any cut, any damage, every limit."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.filereader import data_element_generator

from shared.config import Limits
from shared.dicom.instance import InstanceFacts
from shared.errors import NotDicom, UnusablePixelData
from tests.support import dicom
from tests.support.dicom import element, file_with
from tests.unit.dicom.reading import (
    address,
    facts_of,
    frames_of,
    metadata_of,
    parsed,
    table_of,
    text_of,
)

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def _item(content: bytes, *, defined: bool = False) -> bytes:
    if defined:
        return element(ITEM, None, content)
    return element(ITEM, None, content, length=UNDEFINED) + element(ITEM_END, None, b"")


def _sequence(tag: int, *items: bytes, vr: str | None = "SQ", defined: bool = False) -> bytes:
    content = b"".join(items)
    if defined:
        return element(tag, vr, content)
    return element(tag, vr, content, length=UNDEFINED) + element(SEQUENCE_END, None, b"")


def _nested() -> bytes:
    inner = _item(element(0x00080104, "LO", b"meaning "))
    middle = _item(_sequence(0x00081140, inner), defined=True)
    return dicom.splice(dicom.base(), _sequence(0x00081115, middle, _item(b""), _item(b"")))


SMALL: dict[str, Callable[[], bytes]] = {
    "explicit": dicom.base,
    "implicit": lambda: dicom.part10(dicom.instance(), dicom.IMPLICIT_LE),
    "big endian": lambda: dicom.part10(dicom.instance(), dicom.EXPLICIT_BE),
    "deflated": lambda: dicom.part10(dicom.instance(), dicom.DEFLATED),
    "encapsulated": lambda: dicom.part10(
        dicom.encapsulated([b"\xff\xd8abcd\xff\xd9", b"\xff\xd8ef\xff\xd9"], fragments_per_frame=2),
        dicom.JPEG_BASELINE,
    ),
    "report": lambda: dicom.part10(dicom.structured_report(), dicom.IMPLICIT_LE),
    "nested": _nested,
    "extended offset table": lambda: dicom.part10(
        dicom.encapsulated([b"\xff\xd8\xff\xd9"] * 3, extended_offset_table=True),
        dicom.JPEG_BASELINE,
    ),
}
small = pytest.mark.parametrize("make", SMALL.values(), ids=SMALL.keys())


# Chunking ---------------------------------------------------------------------------------


@small
def test_a_file_byte_by_byte_gives_the_same_facts(make: Callable[[], bytes]) -> None:
    data = make()
    assert facts_of(bytes([byte]) for byte in data) == facts_of(data)


@pytest.mark.parametrize("size", [2, 3, 7, 15, 17, 1000])
@small
def test_a_file_in_pieces_of_any_size_gives_the_same_facts(
    make: Callable[[], bytes], size: int
) -> None:
    data = make()
    assert facts_of(data[at : at + size] for at in range(0, len(data), size)) == facts_of(data)


@pytest.mark.parametrize("name", ["MR_small_RLE.dcm", "693_J2KI.dcm", "image_dfl.dcm"])
@given(cuts=st.lists(st.integers(1, 10_000), max_size=20))
@settings(max_examples=30, deadline=None)
def test_real_files_cut_anywhere_give_the_same_facts(name: str, cuts: list[int]) -> None:
    data = _bundled(name)
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    assert facts_of(data[a:b] for a, b in pairwise(places)) == facts_of(data)


def _bundled(name: str) -> bytes:
    return Path(str(get_testdata_file(name))).read_bytes()


@pytest.mark.bug_report(22)
def test_a_frame_of_two_fragments_is_found_however_the_fragments_arrive() -> None:
    """Row 22: the first bytes of a fragment count as such, not the first of its last piece."""
    first = [b"\xff\xd8" + b"a" * 60, b"\xff\xd8" * 30 + b"\xff\xd9"]
    second = b"\xff\xd8" + b"b" * 60 + b"\xff\xd9"
    data = _encapsulated([*first, second])
    for size in (1, 5, 16, 20, len(data)):
        table = table_of(data[at : at + size] for at in range(0, len(data), size))
        assert list(table.starts or []) == [0, 2]
    assert frames_of(data) == [b"".join(first), second]


def _encapsulated(fragments: list[bytes], frames: int = 2) -> bytes:
    value = element(ITEM, None, b"") + b"".join(element(ITEM, None, part) for part in fragments)
    pixels = element(0x7FE00010, "OB", value, length=UNDEFINED) + element(SEQUENCE_END, None, b"")
    whole = dicom.splice(dicom.part10(dicom.multi_frame(frames)), pixels)
    return file_with(dicom.body_of(whole), transfer_syntax=dicom.JPEG_BASELINE)


# Cuts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SMALL if name != "deflated"])
@pytest.mark.bug_report(7)
def test_a_file_cut_anywhere_but_between_two_elements_is_refused(name: str) -> None:
    """Row 7. A cut between top-level elements leaves a shorter data set, which is complete in
    itself. One zero byte behind (the high byte of a big-endian group, the low byte of group 5400)
    is what padding looks like."""
    data = SMALL[name]()
    between = set(_between_elements(data))
    for end in range(len(data)):
        cut = data[:end]
        if end in between or (end - 1 in between and data[end - 1] == 0):
            assert isinstance(facts_of(cut), InstanceFacts)
            continue
        with pytest.raises(NotDicom):
            facts_of(cut)


def _between_elements(data: bytes) -> Iterator[int]:
    """Ends of top-level elements, by pydicom."""
    syntax = facts_of(data).transfer_syntax_uid
    start = dicom.body_offset(data)
    stream = io.BytesIO(data[start:])
    implicit, little = syntax == dicom.IMPLICIT_LE, syntax != dicom.EXPLICIT_BE
    for _ in data_element_generator(stream, implicit, little):
        yield start + stream.tell()


@pytest.mark.bug_report(7)
def test_a_deflated_file_cut_anywhere_is_refused() -> None:
    """Row 7: deflate tells its own end; a pad byte behind it is all that may be lacking."""
    data = dicom.part10(dicom.instance(), dicom.DEFLATED)
    inflater = zlib.decompressobj(-15)
    inflater.decompress(dicom.body_of(data))
    whole = len(data) - len(inflater.unused_data)
    for end in range(whole):
        with pytest.raises(NotDicom):
            facts_of(data[:end])
    assert facts_of(data[:whole]).identifiers == facts_of(data).identifiers


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_deflated_data_set_may_end_where_a_piece_of_its_inflation_does(size: int) -> None:
    body = dicom.body_of(dicom.base())
    filler = size * 1024 * 1024 - len(body) - 12
    body = dicom.body_of(dicom.splice(file_with(body), element(0x00420011, "OB", bytes(filler))))
    assert len(body) == size * 1024 * 1024
    compressor = zlib.compressobj(9, wbits=-15)
    data = compressor.compress(body) + compressor.flush()
    facts = facts_of(file_with(data, transfer_syntax=dicom.DEFLATED))
    assert facts.bulk["00420011"][1] == filler


# Damage -----------------------------------------------------------------------------------


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(sorted(SMALL)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4)), max_size=6),
)
def test_a_damaged_file_gives_facts_and_json_or_is_refused(
    name: str, changes: list[tuple[int, bytes]]
) -> None:
    data = bytearray(SMALL[name]())
    for at, new in changes:
        start = at % len(data)
        data[start : start + len(new)] = new
    _facts_or_refusal(bytes(data))


@settings(max_examples=300, deadline=None)
@given(seed=st.randoms(use_true_random=False), name=st.sampled_from(
    ["JPEG2000.dcm", "rtplan.dcm", "liver_1frame.dcm", "UN_sequence.dcm", "badVR.dcm"]
))  # fmt: skip
def test_a_damaged_real_file_gives_facts_and_json_or_is_refused(
    seed: random.Random, name: str
) -> None:
    data = bytearray(_bundled(name)[:20_000])
    for _ in range(seed.randint(1, 20)):
        data[seed.randrange(132, len(data))] = seed.choice([0, 1, 0x20, 0x5C, 0xFF, 0xFE, 0xE0])
    _facts_or_refusal(bytes(data))


def _facts_or_refusal(data: bytes) -> None:
    try:
        facts = facts_of(data)
    except NotDicom:
        return
    parsed(text_of(facts.metadata))
    if facts.frames is None:
        return
    table = table_of(data)
    for number in range(1, min(table.count, 5) + 1):
        try:
            place = table.frame(number)
            place.cut(data[place.covering.offset : place.covering.end])
        except UnusablePixelData:
            pass


@pytest.mark.parametrize(
    "body",
    [
        element(0x00100020, "LO", b"1 ") * 2,
        element(0x00100020, "LO", b"1 ") + element(0x00080060, "CS", b"CT"),
        element(0x00100020, "??", b"1 "),
        element(0x00100020, "LO", b"", length=9)[:8],
        element(0x00100020, "UT", b"", length=UNDEFINED),
        element(ITEM_END, None, b""),
        element(0x00081115, "SQ", element(0x00080060, "CS", b"CT")),
        _sequence(0x00081115, _item(element(0x00080060, "CS", b"CT") * 2)),
        element(0x00081115, "SQ", element(ITEM, None, b"", length=20)),
        element(0x00081115, "SQ", _item(element(0x00080060, "CS", b"CT"))[:-8]),
        _sequence(0x00081115, element(ITEM, None, element(0x00080060, "CS", b"CT")[:9])),
        element(0x7FE00010, "OB", element(0x00080060, "CS", b"CT"), length=UNDEFINED),
        element(0x00100020, "LO", b"1 ") + bytes(20) + b"1",
    ],
    ids=range(13),
)
def test_what_breaks_the_grammar_is_refused(body: bytes) -> None:
    with pytest.raises(NotDicom):
        facts_of(file_with(body))


def test_zeros_behind_the_data_set_are_padding() -> None:
    whole = dicom.base()
    for count in (1, 7, 8, 100_000):
        assert metadata_of(whole + bytes(count)) == metadata_of(whole)


def test_trailing_padding_and_group_lengths_are_no_part_of_the_metadata() -> None:
    group_length = element(0x00080000, "UL", struct.pack("<I", 4))
    for padding in (10, 100_000):
        data = dicom.splice(dicom.base(), group_length, element(0xFFFCFFFC, "OB", bytes(padding)))
        assert metadata_of(data) == metadata_of(dicom.base())


@pytest.mark.parametrize("count", [b"\xb2 ", b"9" * 5000, b"-1", b"1A", b"0 ", b""])
def test_a_number_of_frames_that_is_none_counts_as_one(count: bytes) -> None:
    assert table_of(dicom.splice(dicom.base(), element(0x00280008, "IS", count))).count == 1


# Limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [129, 2000])
@pytest.mark.parametrize("vr", ["SQ", None])
def test_sequences_2000_deep_are_refused(depth: int, vr: str | None) -> None:
    opened = element(0x0040A730, vr, b"", length=UNDEFINED) + element(
        ITEM, None, b"", length=UNDEFINED
    )
    closed = element(ITEM_END, None, b"") + element(SEQUENCE_END, None, b"")
    syntax = dicom.EXPLICIT_LE if vr else dicom.IMPLICIT_LE
    with pytest.raises(NotDicom, match="128 deep"):
        facts_of(file_with(opened * depth + closed * depth, transfer_syntax=syntax))
    found = metadata_of(file_with(opened * 128 + closed * 128, transfer_syntax=syntax))
    assert found["0040A730"]["vr"] == "SQ"


def test_more_elements_items_or_fragments_than_the_limit_are_refused() -> None:
    items = dicom.splice(dicom.base(), _sequence(0x00081115, *[_item(b"")] * 50))
    fragments = _encapsulated([b""] * 50)
    for data in (items, fragments):
        facts_of(data, limits=Limits(elements=130))
        with pytest.raises(NotDicom, match="40 elements"):
            facts_of(data, limits=Limits(elements=40))


def test_a_header_larger_than_the_limit_is_refused_and_pixels_do_not_count() -> None:
    limits = Limits(header_bytes=2000)
    facts_of(dicom.base(PixelData=bytes(100_000)), limits=limits)
    for piece in (element(0x00104000, "LT", b"x" * 2000), element(0x7FE00001, "OV", bytes(4000))):
        with pytest.raises(NotDicom, match="2000 bytes"):
            facts_of(dicom.splice(dicom.base(), piece), limits=limits)


def test_a_deflate_bomb_is_refused() -> None:
    bomb = dicom.splice(dicom.base(), element(0x00420011, "OB", bytes(3_000_000)))
    data = file_with(dicom.deflated(dicom.body_of(bomb)), transfer_syntax=dicom.DEFLATED)
    assert len(data) < 10_000
    facts_of(data)
    with pytest.raises(NotDicom, match="inflated"):
        facts_of(data, limits=Limits(instance_bytes=2_000_000))


# Known elements of VR UN (PS3.5 6.2.2 Note 3) -----------------------------------------------


def test_a_known_element_of_vr_un_is_read_by_the_dictionary() -> None:
    data = dicom.splice(
        dicom.base(),
        element(0x00080018, "UN", b"2.25.77\0"),
        element(0x00080060, "UN", b"MR"),
        element(0x00280010, "UN", struct.pack("<H", 4)),
        element(0x00420011, "UN", b"%PDF"),
        element(0x00091001, "UN", b"12"),
    )
    facts = facts_of(data)
    found = parsed(text_of(facts.metadata))
    assert facts.identifiers.sop_instance_uid == "2.25.77"
    assert facts.attributes["00080060"] == {"vr": "CS", "Value": ["MR"]}
    assert found["00280010"] == {"vr": "US", "Value": [4]}
    assert found["00420011"]["vr"] == "UN"
    assert found["00091001"]["vr"] == "UN"


def test_a_known_sequence_of_vr_un_has_items_of_implicit_vr() -> None:
    item = element(0x00400007, None, b"Step")
    items = struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
    found = metadata_of(dicom.splice(dicom.base(), element(0x00400275, "UN", items)))
    assert found["00400275"] == {
        "vr": "SQ",
        "Value": [{"00400007": {"vr": "LO", "Value": ["Step"]}}],
    }


def test_a_long_value_of_vr_un_stays_one() -> None:
    data = dicom.splice(dicom.base(), element(0x00204000, "UN", b"x" * 0xFFFF + b" "))
    assert metadata_of(data)["00204000"]["vr"] == "UN"


# Sequences of VR UN, bulk data ------------------------------------------------------------


@pytest.mark.bug_report(13)
def test_a_private_un_of_undefined_length_is_a_sequence_in_implicit_vr() -> None:
    """Row 13 (PS3.5 6.2.2)."""
    items = _item(element(0x00081150, None, b"1.2.3\0"))
    spliced = dicom.splice(
        dicom.base(), element(0x00090010, "LO", b"ACME"), _sequence(0x00091002, items, vr="UN")
    )
    found = metadata_of(spliced)
    assert found["00091002"] == {
        "vr": "SQ",
        "Value": [{"00081150": {"vr": "UI", "Value": ["1.2.3"]}}],
    }
    assert found["00100020"]["Value"] == ["T-001"]
    assert frames_of(spliced) == [bytes(range(32))]


@pytest.mark.bug_report(13)
def test_a_un_sequence_is_little_endian_in_a_big_endian_file() -> None:
    """Row 13 (PS3.5 6.2.2): only the header of the sequence itself is big-endian."""
    header = struct.pack(">HH2sHI", 0x0009, 0x1002, b"UN", 0, UNDEFINED)
    items = _item(element(0x00280010, None, b"\1\0")) + element(SEQUENCE_END, None, b"")
    after = struct.pack(">HH2sHH", 0x0028, 0x0010, b"US", 2, 4)
    found = metadata_of(file_with(header + items + after, transfer_syntax=dicom.EXPLICIT_BE))
    assert found["00091002"]["Value"] == [{"00280010": {"vr": "US", "Value": [1]}}]
    assert found["00280010"]["Value"] == [4]


@pytest.mark.bug_report(35)
def test_the_uids_are_in_the_address_of_bulk_data_that_comes_before_them() -> None:
    """Row 35: (0009,1010) stands before (0020,000D)."""
    value = bytes(range(256)) * 275
    early = [element(0x00090010, "LO", b"ACME"), element(0x00091010, "OB", value)]
    data = dicom.splice(dicom.base(), *early)
    facts = facts_of(data, wanted=frozenset({0x00091010}))
    assert facts.identifiers == facts_of(dicom.base()).identifiers
    uri = address(facts.identifiers, "00091010")
    assert uri == "/2.25.101/2.25.102/00091010"
    assert parsed(text_of(facts.metadata))["00091010"] == {"vr": "OB", "BulkDataURI": uri}
    assert facts.attributes["00091010"]["BulkDataURI"] == uri
    offset, length = facts.bulk["00091010"]
    assert data[offset : offset + length] == value

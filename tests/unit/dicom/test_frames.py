"""Where frames are: native and encapsulated, with tables right, wrong and absent."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dicom.frames import Fragments, FrameTable, PixelDescription
from shared.errors import CorruptData, FrameNotFound, UnusablePixelData
from shared.ports import ByteSpan
from tests.support import dicom
from tests.support.dicom import element, file_with
from tests.unit.dicom.reading import facts_of, frames_of, table_of

ITEM = 0xFFFEE000


def _encapsulated(
    fragments: list[bytes],
    *,
    frames: int,
    basic: bytes = b"",
    extended: list[int] | None = None,
    syntax: str = dicom.JPEG_BASELINE,
) -> bytes:
    """A file with exactly these fragments and tables."""
    value = element(ITEM, None, basic) + b"".join(element(ITEM, None, part) for part in fragments)
    pixels = element(0x7FE00010, "OB", value, length=0xFFFFFFFF)
    pieces = [pixels + element(0xFFFEE0DD, None, b"")]
    if extended is not None:
        pieces.append(element(0x7FE00001, "OV", struct.pack(f"<{len(extended)}Q", *extended)))
    data = dicom.splice(dicom.part10(dicom.multi_frame(frames)), *pieces)
    return file_with(dicom.body_of(data), transfer_syntax=syntax)


def _jpeg(letter: bytes, length: int = 20) -> bytes:
    return b"\xff\xd8" + letter * (length - 4) + b"\xff\xd9"


# Native -----------------------------------------------------------------------------------


def test_native_frames_are_slices_of_the_value() -> None:
    data = dicom.part10(dicom.multi_frame(5))
    assert frames_of(data) == [bytes([number]) * 16 for number in range(1, 6)]


def test_a_native_frame_is_one_range_of_the_file() -> None:
    table = table_of(dicom.part10(dicom.multi_frame(5)))
    place = table.frame(3)
    assert place.covering.length == 16
    assert place.parts == (place.covering,)


def test_frames_of_one_bit_begin_within_bytes() -> None:
    for frames in (1, 3, 8, 17):
        ds = dicom.segmentation(frames)
        bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
        expected = [
            np.packbits(bits[9 * at : 9 * at + 9], bitorder="little").tobytes()
            for at in range(frames)
        ]
        assert frames_of(dicom.part10(ds)) == expected


def test_frames_of_odd_length_leave_the_pad_byte() -> None:
    pixels = bytes(range(27))
    ds = dicom.multi_frame(3, Rows=3, Columns=3, PixelData=pixels + b"\0")
    assert frames_of(dicom.part10(ds)) == [pixels[:9], pixels[9:18], pixels[18:]]


def test_frames_with_half_the_chroma_are_two_bytes_a_pixel() -> None:
    ds = dicom.colour(
        PhotometricInterpretation="YBR_FULL_422", NumberOfFrames=2, PixelData=bytes(range(64))
    )
    assert frames_of(dicom.part10(ds)) == [bytes(range(32)), bytes(range(32, 64))]


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_frames_of_floating_point_numbers_are_found(keyword: str) -> None:
    """Row 20."""
    code = "f" if keyword == "FloatPixelData" else "d"
    values = [struct.pack(f"<4{code}", *[n + 0.5] * 4) for n in range(2)]
    ds = dicom.parametric_map(**({"FloatPixelData": None} | {keyword: b"".join(values)}))
    assert frames_of(dicom.part10(ds)) == values
    assert table_of(dicom.part10(ds)).pixels.bits_allocated == (32 if code == "f" else 64)


def test_frames_of_a_big_endian_file_come_in_little_endian() -> None:
    """Row 25."""
    ds = dicom.instance(NumberOfFrames=2, PixelData=bytes(range(64)))
    expected = [bytes(range(32)), bytes(range(32, 64))]
    assert frames_of(dicom.part10(ds, dicom.EXPLICIT_BE)) == expected


def _big_endian(ds: Any, tag: int, vr: bytes, value: bytes) -> bytes:
    """A big-endian file with pixel data that stand as they are given."""
    ds.pop("PixelData", None)
    head = dicom.body_of(dicom.part10(ds, dicom.EXPLICIT_BE))
    pixels = struct.pack(">HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, len(value)) + value
    return file_with(head + pixels, transfer_syntax=dicom.EXPLICIT_BE)


@pytest.mark.parametrize("vr", [b"OW", b"OB"])
def test_bytes_in_big_endian_words_are_turned_round_in_whole_words(vr: bytes) -> None:
    """Row 25: frames of 9 bytes, so that the second begins within a word."""
    pixels = bytes(range(27)) + b"\0"
    swapped = b"".join(pixels[at : at + 2][::-1] for at in range(0, 28, 2))
    ds = dicom.multi_frame(3, Rows=3, Columns=3)
    data = _big_endian(ds, 0x7FE00010, vr, swapped if vr == b"OW" else pixels)
    assert frames_of(data) == [pixels[:9], pixels[9:18], pixels[18:27]]


def test_bits_in_big_endian_words_are_turned_round_in_whole_words() -> None:
    """Row 25."""
    ds = dicom.segmentation(5)
    expected = frames_of(dicom.part10(ds))
    pixels = ds.PixelData
    swapped = b"".join(pixels[at : at + 2][::-1] for at in range(0, len(pixels), 2))
    assert frames_of(_big_endian(ds, 0x7FE00010, b"OW", swapped)) == expected


def test_big_endian_floats_are_turned_round() -> None:
    """Rows 20 and 25."""
    ds = dicom.parametric_map(FloatPixelData=None)
    data = _big_endian(ds, 0x7FE00008, b"OF", struct.pack(">8f", *range(8)))
    assert frames_of(data) == [struct.pack("<4f", *range(4)), struct.pack("<4f", *range(4, 8))]


def test_frames_of_a_deflated_file_are_places_in_the_inflated_data_set() -> None:
    data = dicom.part10(dicom.multi_frame(2), dicom.DEFLATED)
    table = table_of(data)
    assert table.is_inflated
    start = dicom.body_offset(data)
    body = zlib.decompressobj(-15).decompress(data[start:])
    places = [table.frame(number) for number in (1, 2)]
    frames = [place.cut(body[place.covering.offset : place.covering.end]) for place in places]
    assert frames == [b"\1" * 16, b"\2" * 16]


def test_pixels_that_are_shorter_than_their_description_are_corrupt() -> None:
    for ds in (
        dicom.multi_frame(3, NumberOfFrames=4),
        dicom.multi_frame(3, NumberOfFrames=2**31 - 1),
        dicom.multi_frame(3, Rows=None),
    ):
        with pytest.raises(UnusablePixelData):
            table_of(dicom.part10(ds)).frame(1)


def test_a_file_shorter_than_its_table_is_corrupt() -> None:
    place = table_of(dicom.part10(dicom.multi_frame(3))).frame(1)
    with pytest.raises(CorruptData):
        place.cut(bytes(15))


def test_frames_are_counted_from_one() -> None:
    table = table_of(dicom.part10(dicom.multi_frame(3)))
    for number in (0, -1, 4):
        with pytest.raises(FrameNotFound):
            table.frame(number)


def test_an_instance_without_pixels_has_no_table() -> None:
    for ds in (dicom.structured_report(), dicom.instance(PixelData=b"")):
        assert facts_of(dicom.part10(ds)).frames is None
    assert facts_of(_encapsulated([], frames=1)).frames is None


# Encapsulated -----------------------------------------------------------------------------


@pytest.mark.parametrize("fragments", [1, 2, 5])
@pytest.mark.parametrize("has_basic", [True, False])
def test_frames_of_any_number_of_fragments_are_found(fragments: int, has_basic: bool) -> None:
    frames = [_jpeg(letter, length) for letter, length in ((b"a", 20), (b"b", 40), (b"c", 60))]
    ds = dicom.encapsulated(frames, fragments_per_frame=fragments, basic_offset_table=has_basic)
    assert frames_of(dicom.part10(ds, dicom.JPEG_BASELINE)) == frames


def test_frames_are_found_by_the_extended_offset_table() -> None:
    """Row 23 (i): frames of odd length, padded."""
    frames = [bytes([n]) * 105 for n in range(3)]
    fragments = [piece for frame in frames for piece in (frame[:50], frame[50:] + b"\0")]
    starts = [0, 8 + 50 + 8 + 56, 2 * (8 + 50 + 8 + 56)]
    data = _encapsulated(fragments, frames=3, extended=starts, syntax=dicom.RLE)
    assert frames_of(data) == [frame + b"\0" for frame in frames]


def test_an_extended_offset_table_that_forgets_padding_is_not_believed() -> None:
    """Row 23 (ii)."""
    frames = [_jpeg(letter, 105) for letter in (b"a", b"b", b"c")]
    padded = [frame + b"\0" for frame in frames]
    for offsets in ([0, 114, 228], [0, 113, 226]):
        assert frames_of(_encapsulated(padded, frames=3, extended=offsets)) == padded
    split = [piece for frame in padded for piece in (frame[:50], frame[50:])]
    assert frames_of(_encapsulated(split, frames=3, extended=[0, 113, 226])) == padded


@pytest.mark.parametrize(
    "table",
    [
        struct.pack("<2I", 0, 27),
        struct.pack("<2I", 28, 56),
        struct.pack("<2I", 0, 0),
        struct.pack("<2I", 0, 2**32 - 1),
        struct.pack("<3I", 0, 28, 56),
        struct.pack("<I", 0) + b"\1\2\3",
    ],
    ids=range(6),
)
def test_a_wrong_basic_offset_table_is_not_believed(table: bytes) -> None:
    first, second = _jpeg(b"a", 40), _jpeg(b"b", 20)
    fragments = [first[:20], first[20:], second]
    assert frames_of(_encapsulated(fragments, frames=2, basic=table)) == [first, second]


def test_a_right_basic_offset_table_is_believed_where_nothing_else_tells() -> None:
    fragments = [b"a" * 10, b"b" * 12, b"c" * 14]
    table = struct.pack("<2I", 0, 18)
    data = _encapsulated(fragments, frames=2, basic=table, syntax=dicom.RLE)
    assert frames_of(data) == [b"a" * 10, b"b" * 12 + b"c" * 14]


def test_three_fragments_of_two_frames_are_told_apart_by_where_images_begin_and_end() -> None:
    """Row 22."""
    first, second = _jpeg(b"a", 40), _jpeg(b"b", 20)
    assert frames_of(_encapsulated([first[:20], first[20:], second], frames=2)) == [first, second]
    padded = [first[:20], first[20:] + b"\0\0", second]
    assert frames_of(_encapsulated(padded, frames=2)) == [first + b"\0\0", second]
    stream = b"\xff\x4f" + b"x" * 30 + b"\xff\xd9"
    parts = [stream[:10], stream[10:], stream]
    assert frames_of(_encapsulated(parts, frames=2, syntax=dicom.JPEG_2000)) == [stream] * 2


@pytest.mark.parametrize(
    "fragments",
    [
        [b"a" * 10, b"b" * 10, b"c" * 10],
        [_jpeg(b"a"), _jpeg(b"b"), _jpeg(b"c")],
        [_jpeg(b"a")[:-2], _jpeg(b"b")[:-2], b"c" * 10],
        [_jpeg(b"a") + b"\0" * 2, b"x" * 10, b"y" * 10],
        [b"", b"", _jpeg(b"a")],
        [_jpeg(b"a")],
    ],
    ids=range(6),
)
def test_where_boundaries_are_not_to_be_found_no_frame_is_given(fragments: list[bytes]) -> None:
    """Row 22: never wrong bytes."""
    table = table_of(_encapsulated(fragments, frames=2))
    assert table.count == 2
    for number in (1, 2):
        with pytest.raises(UnusablePixelData):
            table.frame(number)


def test_one_frame_has_all_fragments_and_empty_ones_are_no_part_of_it() -> None:
    data = _encapsulated([b"ab", b"", b"cd", b"e\0"], frames=1, basic=b"\1\0\0\0")
    assert frames_of(data) == [b"abcde\0"]
    with pytest.raises(UnusablePixelData):
        table_of(_encapsulated([b"", b""], frames=2)).frame(1)


def test_a_video_is_one_stream_whatever_the_number_of_frames() -> None:
    data = _encapsulated([b"ab", b"cd"], frames=250, syntax=dicom.HEVC)
    assert table_of(data).count == 1
    assert frames_of(data) == [b"abcd"]


def test_pixel_data_in_a_sequence_are_not_the_frames() -> None:
    icon = element(ITEM, None, b"") + element(ITEM, None, _jpeg(b"i"))
    icon = element(0x7FE00010, "OB", icon, length=0xFFFFFFFF) + element(0xFFFEE0DD, None, b"")
    sequence = element(0x00880200, "SQ", element(ITEM, None, icon))
    frames = [_jpeg(b"a"), _jpeg(b"b")]
    whole = dicom.splice(_encapsulated(frames, frames=2), sequence)
    assert frames_of(whole) == frames
    assert facts_of(dicom.splice(dicom.base(), sequence)).bulk.keys() == {"7FE00010"}
    without = dicom.part10(dicom.structured_report(IconImageSequence=[]))
    assert facts_of(dicom.splice(without, sequence)).frames is None


# The table as JSON ------------------------------------------------------------------------

_spans = st.lists(st.tuples(st.integers(0, 2**33), st.integers(0, 2**32)), min_size=1, max_size=30)


@given(spans=_spans, steps=st.lists(st.integers(0, 3), max_size=10))
def test_a_table_comes_back_from_its_json(spans: list[tuple[int, int]], steps: list[int]) -> None:
    fragments = Fragments()
    at = 0
    for gap, length in spans:
        fragments.add(at + gap, length, b"", b"")
        at += gap + length
    starts = [sum(steps[: n + 1]) for n in range(len(steps))] or None
    pixels = PixelDescription("1.2", 3, 4, vr="OB")
    table = FrameTable(5, pixels, None, (fragments.offsets, fragments.lengths), starts)
    back = FrameTable.from_json(table.to_json())
    assert (back.count, back.pixels, back.fragments) == (5, pixels, table.fragments)
    assert (None if back.starts is None else list(back.starts)) == starts
    native = FrameTable(1, pixels, ByteSpan(7, 9))
    assert FrameTable.from_json(native.to_json()) == native


def test_a_table_of_100000_frames_is_small_in_a_document() -> None:
    fragments = Fragments()
    at = 1000
    for number in range(100_000):
        length = 1000 + number * 7919 % 64
        fragments.add(at + 8, length, b"", b"")
        at += 8 + length
    pixels = PixelDescription("1.2")
    starts = fragments.starts(100_000)
    table = FrameTable(100_000, pixels, None, (fragments.offsets, fragments.lengths), starts)
    assert len(table.to_json()["fragments"]) < 200_000
    place = FrameTable.from_json(table.to_json()).frame(100_000)
    assert place.covering.end == at

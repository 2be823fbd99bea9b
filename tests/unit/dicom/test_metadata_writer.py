"""Metadata chunks: what is dropped is gone, memory is bounded, chunks stand one after another."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import Limits
from shared.dicom.instance import InstanceFacts
from shared.dicom.metadata_writer import MetadataWriter, place_of
from shared.dicom.reader import InstanceReader
from shared.index.metadata import crc32_combine, deflate_chunk
from tests.support import dicom
from tests.support.dicom import element
from tests.unit.dicom.reading import facts_of, metadata_of, parsed, text_of

_BIG = 300 * 1024  # characters: more than are held before they are compressed


class _Refusing:
    """A checker that says no to some elements."""

    def __init__(self, *tags: int) -> None:
        self.tags = tags
        self.seen: list[tuple[int, str, list[str] | None, int, int]] = []

    def element(self, tag: int, vr: str, values: list[str] | None, length: int, depth: int) -> bool:
        self.seen.append((tag, vr, values, length, depth))
        return tag not in self.tags


def _with_sequence(items: int) -> bytes:
    """BASE with a sequence, each of whose items has a text of 1 KiB and 2 KiB of bulk data."""
    content = element(0x00420010, "ST", b"x" * 1024) + element(0x00420011, "OB", bytes(2048))
    whole = element(0xFFFEE000, None, content) * items
    last = element(0xFFFEE000, None, element(0x00080104, "LO", b"last"))
    return dicom.splice(dicom.base(), element(0x00081140, "SQ", whole + last))


# The checker ------------------------------------------------------------------------------


def test_the_checker_sees_values_lengths_and_depths() -> None:
    checker = _Refusing()
    item = element(0xFFFEE000, None, element(0x00080104, "LO", b"a\\b "))
    data = dicom.splice(
        dicom.base(), element(0x00081140, "SQ", item), element(0x0040A160, "UT", b"x" * 70_000)
    )
    facts_of(data, checker=checker)
    assert (0x00080104, "LO", ["a", "b"], 4, 1) in checker.seen
    assert (0x0040A160, "UT", None, 70_000, 0) in checker.seen
    assert (0x00280010, "US", None, 2, 0) in checker.seen
    assert (0x7FE00010, "OW", None, 32, 0) in checker.seen
    assert [entry[0] for entry in checker.seen if not entry[4]] == sorted(
        entry[0] for entry in checker.seen if not entry[4]
    )


@pytest.mark.parametrize("tag", [0x00080016, 0x00080060, 0x00280010, 0x7FE00010, 0x00200013])
def test_what_the_checker_refuses_is_left_out_and_nothing_else(tag: int) -> None:
    data = dicom.splice(dicom.base(), element(0x00200013, "IS", b"7 "))
    expected = metadata_of(data)
    facts = facts_of(data, checker=_Refusing(tag), wanted=frozenset(int(t, 16) for t in expected))
    del expected[f"{tag:08X}"]
    assert parsed(text_of(facts.metadata)) == expected
    assert facts.attributes == expected
    assert facts.identifiers == facts_of(data).identifiers
    assert facts.frames == facts_of(data).frames
    assert facts.bulk.keys() == {"7FE00010"} & expected.keys()


@pytest.mark.parametrize("items", [1, 200, 1000])
@pytest.mark.parametrize("refused", [0x00080104, 0x00420010, 0x00420011])
def test_a_refused_element_in_a_sequence_drops_that_sequence(items: int, refused: int) -> None:
    """Also one that was compressed in part before its fault was seen."""
    data = _with_sequence(items)
    assert (facts_of(data).metadata.size > 256 * 1024) == (items > 200)
    facts = facts_of(data, checker=_Refusing(refused))
    expected = metadata_of(data)
    assert len(expected.pop("00081140")["Value"]) == items + 1
    assert parsed(text_of(facts.metadata)) == expected
    assert facts.bulk.keys() == {"7FE00010"}, "no bulk value that the metadata do not name"


def test_the_first_element_may_be_the_one_that_is_dropped() -> None:
    for items in (1, 1000):
        data = dicom.splice(_with_sequence(items))
        body = dicom.body_of(data)
        start = body.index(struct.pack("<HH", 0x0008, 0x1140))
        data = dicom.file_with(body[start:])
        assert next(iter(metadata_of(data))) == "00081140"
        found = metadata_of(data, checker=_Refusing(0x00080104))
        assert next(iter(found)) == "00100010"


# The writer alone -------------------------------------------------------------------------

_elements = st.lists(
    st.tuples(st.sampled_from([10, 1000, _BIG]), st.booleans(), st.booleans(), st.booleans()),
    max_size=8,
)


@given(plan=_elements, known_from=st.integers(0, 8))
def test_any_order_of_elements_kept_dropped_and_long_gives_the_kept_ones(
    plan: list[tuple[int, bool, bool, bool]], known_from: int
) -> None:
    writer = MetadataWriter()
    expected: dict[str, Any] = {}
    for at, (length, keep, whole, has_place) in enumerate(plan):
        if at == known_from:
            writer.members = _members
        value = ("ä" + str(at)) * (length // 2)
        place = place_of(str(at)) if has_place else ""
        text = f'"{at}":{{"a":"{value}"{place}}}'
        if whole:
            writer.element(text)
        else:
            third = len(text) // 3
            for piece in (text[:third], text[third : 2 * third], text[2 * third :]):
                writer.add(piece)
            assert writer.end(keep=keep) == (text if keep and length < _BIG else None)
        if whole or keep:
            expected[str(at)] = {"a": value} | ({"uri": f"u/{at}"} if has_place else {})
    writer.members = _members
    assert parsed(text_of(writer.finish())) == expected


def _members(path: str) -> str:
    return f',"uri":"u/{path}"'


def test_addresses_are_filled_in_though_the_uids_come_after_megabytes() -> None:
    """Row 35: a private sequence of 1,000 bulk values before the UIDs."""
    item = element(0xFFFEE000, None, element(0x00091002, "OB", bytes(2048)))
    text = element(0xFFFEE000, None, element(0x00091003, "UT", "ä\\".encode() * 9000))
    data = dicom.splice(
        dicom.base(),
        element(0x00080005, "CS", b"ISO_IR 192"),
        element(0x00090010, "LO", b"ACME"),
        element(0x00091001, "SQ", (item * 20 + text) * 50),
    )
    facts = facts_of(data)
    assert facts.metadata.size > 1024 * 1024
    items = parsed(text_of(facts.metadata))["00091001"]["Value"]
    for number, found in enumerate(items, 1):
        if "00091002" in found:
            uri = f"/2.25.101/2.25.102/00091001.{number}.00091002"
            assert found["00091002"]["BulkDataURI"] == uri
        else:
            assert found["00091003"]["Value"] == ["ä\\" * 9000]
    assert len(facts.bulk) == 1001


# Chunks -----------------------------------------------------------------------------------


def test_chunks_with_brackets_and_commas_between_them_are_one_gzip_member() -> None:
    files = [dicom.base(), dicom.part10(dicom.waveform(10)), _with_sequence(1000)]
    chunks = [facts_of(data).metadata for data in files]
    body, crc, size = b"", 0, 0
    pieces = [(deflate_chunk(b"["), b"[")]
    for at, chunk in enumerate(chunks):
        if at:
            pieces.append((deflate_chunk(b","), b","))
        pieces.append((chunk.deflated, text_of(chunk)))
    for deflated, text in pieces:
        body += deflated
        crc = crc32_combine(crc, zlib.crc32(text), len(text))
        size += len(text)
    end = zlib.compressobj(6, zlib.DEFLATED, -15)
    body += end.compress(b"]") + end.flush()
    crc, size = zlib.crc32(b"]", crc), size + 1
    member = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + struct.pack("<II", crc, size)
    inflater = zlib.decompressobj(wbits=31)
    text = inflater.decompress(member)
    assert inflater.eof
    assert not inflater.unused_data
    assert gzip.decompress(member) == text
    assert parsed(text) == [metadata_of(data) for data in files]


# Memory -----------------------------------------------------------------------------------


def _enhanced(frames: int) -> Iterator[bytes]:
    """An enhanced image: functional groups for each frame, in pieces of about 64 KiB."""
    head = dicom.body_of(dicom.base(PixelData=None, NumberOfFrames=frames))
    yield dicom.file_with(head)
    yield element(0x52009230, "SQ", b"", length=0xFFFFFFFF)

    def nested(tag: int, *parts: bytes) -> bytes:
        return element(tag, "SQ", element(0xFFFEE000, None, b"".join(parts)))

    for start in range(0, frames, 100):
        items = []
        for number in range(start, min(start + 100, frames)):
            content = nested(
                0x00209111,
                element(0x00189074, "DT", b"20240102101112.123456 "),
                element(0x00209057, "UL", struct.pack("<I", number)),
                element(0x00209157, "UL", struct.pack("<3I", 1, 2, number)),
            )
            content += nested(0x00209113, element(0x00200032, "DS", b"-1.5\\2.25\\%08d " % number))
            items.append(element(0xFFFEE000, None, content))
        yield b"".join(items)
    yield element(0xFFFEE0DD, None, b"")
    yield element(0x7FE00010, "OW", bytes(frames * 32))


def test_the_header_of_20000_frames_is_read_in_less_than_64_mib() -> None:
    pieces = list(_enhanced(20_000))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        facts: InstanceFacts = facts_of(pieces)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024 * 1024
    found = parsed(text_of(facts.metadata))["52009230"]["Value"]
    assert len(found) == 20_000
    assert found[-1]["00209111"]["Value"][0]["00209057"]["Value"] == [19_999]


def test_the_uids_are_known_before_the_file_is_complete() -> None:
    reader = InstanceReader(limits=Limits(), wanted=frozenset(), checker=None, bulk_data_uri=None)
    data = dicom.base(PixelData=bytes(1_000_000))
    reader.feed(data[:300])
    assert reader.identifiers is None
    reader.feed(data[300:1000])
    assert reader.identifiers == facts_of(data).identifiers

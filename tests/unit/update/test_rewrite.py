"""A file with other values: the rest of it is what it was, byte by byte."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
import warnings
import zlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from shared.dicom.frames import FrameTable
from shared.dicom.instance import InstanceFacts
from shared.dicom.text import UnfitText, character_set, decode, encode
from shared.errors import CorruptData, DicomServiceError, UnusablePixelData
from shared.ports import SameBytes
from shared.update.changes import Change
from shared.update.rewrite import rewritten
from tests.support import dicom
from tests.unit.dicom.reading import bundled, facts_of

_CHANGES = {
    0x00080050: Change("SH", ("ACC-1",)),
    0x00081030: Change("LO", ("Odd",)),
    0x00100010: Change("PN", ("New^Name",)),
    0x00100030: Change("DA", ()),
    0x00101000: Change("LO", ("A", "B", "C")),
    0x00403001: Change("LO", ("none",)),
}
_CHARACTER_SETS = [
    b"", b"ISO_IR 100", b"ISO_IR 13", b"ISO_IR 166", b"GBK", b"\\ISO 2022 IR 58", b"ISO_IR 192",
    rb"ISO 2022 IR 13\ISO 2022 IR 87", rb"\ISO 2022 IR 149", rb"ISO_IR 100\ISO 2022 IR 144",
]  # fmt: skip


async def _run(
    data: bytes,
    changes: Mapping[int, Change],
    *,
    piece: int = 1 << 20,
    to_utf_8: bool = False,
    same: SameBytes | None = None,
) -> bytes:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(data), piece):
            yield data[at : at + piece]

    return b"".join(
        [part async for part in rewritten(pieces(), changes, to_utf_8=to_utf_8, same=same)]
    )


def _read(data: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(io.BytesIO(data), defer_size=None)


def _others(ds: Dataset) -> str:
    """All elements that do not change, as text; of long values a digest."""
    lines = []
    for tag in sorted(ds.keys()):
        if int(tag) in _CHANGES or not int(tag) & 0xFFFF:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ds[tag].value
        text = value if isinstance(value, bytes) else repr(value).encode()
        lines.append(f"{tag} {ds[tag].VR} {len(text)} {hashlib.sha256(text).hexdigest()[:12]}")
    return "\n".join(lines)


def _data_set(data: bytes, facts: InstanceFacts) -> bytes:
    """What byte ranges refer to: the file, or the inflated data set."""
    if facts.transfer_syntax_uid != dicom.DEFLATED:
        return data
    start = 144 + int.from_bytes(data[140:144], "little")
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:])


def _frames(data: bytes, facts: InstanceFacts) -> list[bytes]:
    """All frames, as a retrieval finds them; none where the file does not tell them apart."""
    if facts.frames is None:
        return []
    content, table = _data_set(data, facts), FrameTable.from_json(facts.frames)
    frames = []
    for number in range(1, table.count + 1):
        try:
            frame = table.frame(number)
        except UnusablePixelData:
            return []
        frames.append(frame.cut(content[frame.covering.offset : frame.covering.end]))
    return frames


def _bulk(data: bytes, facts: InstanceFacts) -> dict[str, bytes]:
    content = _data_set(data, facts)
    return {path: content[at : at + size] for path, (at, size) in facts.bulk.items()}


def _storable() -> list[Path]:
    found = []
    for path in bundled():
        try:
            facts_of(path.read_bytes())
        except DicomServiceError:
            continue
        found.append(path)
    return found


@pytest.mark.parametrize("path", _storable(), ids=lambda path: path.name)
async def test_every_bundled_file_has_the_new_values_and_is_else_the_same(path: Path) -> None:
    data, same = path.read_bytes(), SameBytes("old")
    after = await _run(data, _CHANGES, same=same)
    before_ds, after_ds = _read(data), _read(after)
    assert before_ds.file_meta.TransferSyntaxUID == after_ds.file_meta.TransferSyntaxUID
    assert after_ds.AccessionNumber == "ACC-1"
    assert after_ds.StudyDescription == "Odd"
    assert after_ds.PatientName == "New^Name"
    assert after_ds.PatientBirthDate == ""
    assert list(after_ds.OtherPatientIDs) == ["A", "B", "C"]
    assert after_ds.ConfidentialityConstraintOnPatientDataDescription == "none"
    assert _others(after_ds) == _others(before_ds)
    facts_before, facts_after = facts_of(data), facts_of(after)
    assert facts_after.transfer_syntax_uid == facts_before.transfer_syntax_uid
    assert set(facts_after.bulk) == set(facts_before.bulk)
    assert _frames(after, facts_after) == _frames(data, facts_before)
    assert _bulk(after, facts_after) == _bulk(data, facts_before)
    assert (same.start is None) == (facts_after.transfer_syntax_uid == dicom.DEFLATED)
    if same.start is not None:
        assert after[same.start :] == data[same.source :]
        assert b"\xe0\x7f\x10\0" not in after[: same.start], "no pixel data before it"
    tags = [int(tag) for tag in after_ds.keys()]  # noqa: SIM118 — in the order of the file
    assert tags == sorted(tags)


@pytest.mark.parametrize(
    "syntax", [dicom.IMPLICIT_LE, dicom.EXPLICIT_LE, dicom.EXPLICIT_BE, dicom.DEFLATED]
)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
async def test_each_encoding_in_pieces_of_any_size(syntax: str, piece: int) -> None:
    ds = dicom.ct()
    ds.add_new(0x00090010, "LO", "Someone")
    ds.add_new(0x00091001, "UN", b"\1\2\3\4")
    ds.RequestAttributesSequence = [dicom.item(ScheduledProcedureStepID="S1")]
    data = dicom.part10(ds, syntax)
    after = _read(await _run(data, _CHANGES, piece=piece))
    assert after.PatientName == "New^Name"
    assert _others(after) == _others(_read(data))


async def test_group_lengths_that_would_be_wrong_are_left_out() -> None:
    data = dicom.splice(
        dicom.part10(dicom.ct()),
        dicom.element(0x00080000, "UL", b"\x10\0\0\0"),
        dicom.element(0x00100000, "UL", b"\x10\0\0\0"),
    )
    changes = {0x00100010: Change("PN", ("A",))}
    after = _read(await _run(data, changes))
    assert 0x00080000 in after
    assert 0x00100000 not in after


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Ünïcode^Ämne=山田^太郎"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 144", "Иванов^Иван"),
        ("GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
async def test_values_are_written_in_the_character_set_of_the_file(
    charset: str | list[str], name: str
) -> None:
    ds = dicom.ct(SpecificCharacterSet=charset)
    after = _read(await _run(dicom.part10(ds), {0x00100010: Change("PN", (name,))}))
    assert str(after.PatientName) == name


async def test_letters_that_the_file_cannot_have() -> None:
    changes = {0x00100010: Change("PN", ("Müller",))}
    for charset in ("", "ISO_IR 144"):
        data = dicom.part10(dicom.ct(SpecificCharacterSet=charset))
        with pytest.raises(UnfitText):
            await _run(data, changes)
    for ds in (dicom.ct(SpecificCharacterSet=""), dicom.ct()):
        after = _read(await _run(dicom.part10(ds), changes, to_utf_8=True))
        assert after.SpecificCharacterSet == "ISO_IR 192"
        assert str(after.PatientName) == "Müller"


async def test_a_file_that_ends_within_an_element_is_corrupt() -> None:
    data = dicom.part10(dicom.ct())
    start = data.index(b"\x10\x00\x10\x00")
    with pytest.raises(CorruptData):
        await _run(data[: start + 6], _CHANGES)


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30),
    st.sampled_from(_CHARACTER_SETS),
)
def test_what_is_encoded_is_decoded_again_or_refused(text: str, charset: bytes) -> None:
    found = character_set(charset)
    try:
        raw = encode(text, found)
    except UnfitText:
        return
    assert decode(raw, found) == text


async def test_a_large_file_is_never_in_memory() -> None:
    head = dicom.part10(dicom.ct())
    head = head[: head.rindex(b"\xe0\x7f\x10\x00")]
    mebibyte, count = bytes(1024 * 1024), 64

    async def pieces() -> AsyncIterator[bytes]:
        yield head + b"\xe0\x7f\x10\x00OW\0\0" + (count * len(mebibyte)).to_bytes(4, "little")
        for _ in range(count):
            yield mebibyte[:-1] + b"\1"  # memory of its own

    tracemalloc.start()
    try:
        size = 0
        async for piece in rewritten(pieces(), _CHANGES):
            size += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > count * len(mebibyte)
    assert peak < 8 * 1024 * 1024, peak

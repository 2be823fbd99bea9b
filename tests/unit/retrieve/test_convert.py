"""Conversion: the same pixels and the same elements, whatever the file and the target."""

from __future__ import annotations

import io
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from shared.dicom import transfer_syntax
from shared.dicom.frames import FrameTable, PixelDescription
from shared.dicom.part10 import IMPLEMENTATION_CLASS_UID
from shared.dicom.pixels import (
    can_encode,
    decode_frame,
    encode_frame,
    encoded_description,
)
from shared.errors import CorruptData, NotDicom, UnusablePixelData
from shared.retrieve.convert import converted, convertible
from tests.support import dicom
from tests.unit.dicom.reading import bundled, facts_of

_PIXELS = {"PixelData", "FloatPixelData", "DoubleFloatPixelData"}
_DESCRIBED_ANEW = {
    "PhotometricInterpretation", "PlanarConfiguration", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
}  # fmt: skip
_LOSSY = transfer_syntax.JPEG_BASELINE
# The codestream is cut short, or no decoder here takes it.
_UNDECODABLE = {"JPEG-lossy.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}
_NO_FRAME_COUNT = {"badVR.dcm"}  # "1A": pydicom gives no pixels, the service takes it for one


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


async def _pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _convert(data: bytes, table: FrameTable | None, target: str, size: int = 50_000) -> bytes:
    return b"".join([piece async for piece in converted(_pieces(data, size), table, target)])


def _table(data: bytes) -> tuple[str, FrameTable | None]:
    facts = facts_of(data)
    return facts.transfer_syntax_uid, (
        None if facts.frames is None else FrameTable.from_json(facts.frames)
    )


def _read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def _same_elements(before: Dataset, after: Dataset) -> None:
    """All elements but those that describe pixels, by value, at every depth."""

    def listed(ds: Dataset) -> dict[Any, Any]:
        return {
            (tuple(path), element.tag): element.value
            for path, element in _walk(ds, [])
            if element.VR != "SQ"
        }

    expected, found = listed(before), listed(after)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == value or (found[key] != found[key] and value != value), key


def _walk(ds: Dataset, path: list[Any]) -> Iterator[tuple[list[Any], Any]]:
    for element in ds:
        if element.tag.element == 0 or element.keyword in _PIXELS | _DESCRIBED_ANEW:
            continue
        yield path, element
        if element.VR == "SQ":
            for number, item in enumerate(element.value):
                yield from _walk(item, [*path, element.tag, number])


def _files() -> list[Path]:
    found = []
    for path in bundled():
        try:
            facts_of(path.read_bytes())
        except NotDicom:
            continue
        found.append(path)
    return found


@pytest.mark.spec("dicomweb", 71, 72, 73, 88, 89, 90)
@pytest.mark.parametrize("path", _files(), ids=lambda path: path.name)
async def test_every_bundled_file_into_everything_that_it_can_become(path: Path) -> None:
    data = path.read_bytes()
    stored, table = _table(data)
    before = _read(data)
    targets = sorted(convertible(stored, table))
    assert targets or table is not None
    for target in targets:
        if path.name in _UNDECODABLE:
            with pytest.raises(UnusablePixelData):
                await _convert(data, table, target)
            continue
        after = _read(await _convert(data, table, target))
        assert after.file_meta.TransferSyntaxUID == target
        assert after.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
        assert after.file_meta.get("MediaStorageSOPInstanceUID") == (
            before.file_meta.get("MediaStorageSOPInstanceUID")
        )
        _same_elements(before, after)
        if table is None or not table.pixels.rows or path.name in _NO_FRAME_COUNT:
            continue
        expected, found = before.pixel_array, after.pixel_array
        if target == _LOSSY:
            assert np.abs(expected.astype(int) - found.astype(int)).mean() < 8, target
        else:
            np.testing.assert_array_equal(found, expected, target)
        if not table.is_encapsulated and target == transfer_syntax.EXPLICIT_LE:
            assert len(after.PixelData if "PixelData" in after else b"") % 2 == 0


def test_what_can_become_what() -> None:
    native = {transfer_syntax.EXPLICIT_LE, transfer_syntax.DEFLATED}
    lossless = native | {
        transfer_syntax.RLE, transfer_syntax.JPEG_LS_LOSSLESS, transfer_syntax.JPEG_2000_LOSSLESS,
    }  # fmt: skip

    def targets(ds: Dataset, syntax: str = dicom.EXPLICIT_LE) -> frozenset[str]:
        return convertible(*_table(dicom.part10(ds, syntax)))

    large = {"Rows": 64, "Columns": 64, "PixelData": bytes(64 * 64 * 2)}
    assert targets(dicom.ct(**large)) == lossless
    assert targets(dicom.ct(**large), dicom.IMPLICIT_LE) == lossless
    assert transfer_syntax.JPEG_2000_LOSSLESS not in targets(dicom.ct()), "too small for OpenJPEG"
    assert targets(dicom.segmentation()) == native, "one bit"
    assert targets(dicom.parametric_map()) == native, "floats"
    assert targets(dicom.structured_report()) == native, "no pixels"
    assert targets(dicom.encapsulated([bytes(100)]), dicom.HEVC) == frozenset()


@pytest.mark.parametrize("target", sorted(transfer_syntax.ENCODABLE - {_LOSSY}))
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("side", [32, 33, 200])
def test_noise_can_be_encoded_too_at_the_least_sizes(
    target: str, bits: int, samples: int, side: int
) -> None:
    side = max(side, 16 if target == transfer_syntax.JPEG_LS_LOSSLESS else 1)
    pixels = PixelDescription(
        dicom.EXPLICIT_LE, side, side, samples, bits, bits, 0, 0,
        "RGB" if samples == 3 else "MONOCHROME2",
    )  # fmt: skip
    assert can_encode(pixels, target)
    noise = np.random.default_rng(1).bytes(pixels.frame_bits() // 8)
    encoded = encode_frame(noise, pixels, target)
    decoded = decode_frame(encoded, encoded_description(pixels, target))
    again = np.frombuffer(decoded.data, np.uint8)
    if target == transfer_syntax.RLE and samples == 3:  # by plane
        again = again.reshape(3, side, side, bits // 8).transpose(1, 2, 0, 3).ravel()
    assert again.tobytes() == noise


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_pieces_of_any_size(size: int) -> None:
    data = dicom.part10(dicom.multi_frame(), dicom.EXPLICIT_BE)
    _, table = _table(data)
    whole = await _convert(data, table, transfer_syntax.RLE)
    assert await _convert(data, table, transfer_syntax.RLE, size) == whole


@pytest.mark.bug_report(13)
async def test_un_of_undefined_length_stays_as_it_is() -> None:
    inner = dicom.element(0x00081150, None, b"1.2\0")
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\x0d\xe0" + bytes(4)
    value = item + b"\xfe\xff\xdd\xe0" + bytes(4)
    unknown = dicom.element(0x00091002, "UN", value, length=0xFFFFFFFF)
    data = dicom.splice(dicom.base(), dicom.element(0x00090010, "LO", b"TEST"), unknown)
    _, table = _table(data)
    after = await _convert(data, table, transfer_syntax.RLE)
    assert unknown in after
    _same_elements(_read(data), _read(after))


async def test_what_follows_the_pixels_comes_along() -> None:
    ds = dicom.ct()
    ds.add_new(0xFFFCFFFC, "OB", bytes(3_000_000))
    for syntax in (dicom.EXPLICIT_LE, dicom.IMPLICIT_LE, dicom.EXPLICIT_BE):
        data = dicom.part10(ds, syntax)
        _, table = _table(data)
        after = _read(await _convert(data, table, transfer_syntax.RLE))
        assert len(after[0xFFFCFFFC].value) == 3_000_000


async def test_a_large_value_without_pixels_passes_in_pieces() -> None:
    ds = dicom.structured_report()
    ds.add_new(0x00420011, "OB", bytes(range(256)) * 20_000)
    data = dicom.part10(ds, dicom.IMPLICIT_LE)
    pieces = [
        piece async for piece in converted(_pieces(data, 65_536), None, transfer_syntax.EXPLICIT_LE)
    ]
    assert max(map(len, pieces)) <= 1024 * 1024
    _same_elements(_read(data), _read(b"".join(pieces)))


async def test_bits_that_are_not_stored_are_not_thrown_away() -> None:
    pixels = (np.arange(64 * 64, dtype="<u2") | 0x8000).tobytes()
    ds = dicom.ct(
        Rows=64, Columns=64, BitsStored=12, HighBit=11, PixelRepresentation=0, PixelData=pixels
    )
    data = dicom.part10(ds)
    _, table = _table(data)
    with pytest.raises(UnusablePixelData):
        await _convert(data, table, transfer_syntax.JPEG_2000_LOSSLESS)


async def test_a_corrupt_frame_is_an_error_and_its_first_one_comes_before_any_byte() -> None:
    good = dicom.jpeg(16, 16)
    for frames, before in (([b"\xff\xd8junk", good], 0), ([good, b"\xff\xd8junk"], 1)):
        ds = dicom.encapsulated(
            frames, Rows=16, Columns=16, BitsAllocated=8, BitsStored=8, HighBit=7
        )
        data = dicom.part10(ds, dicom.JPEG_BASELINE)
        _, table = _table(data)
        given: list[bytes] = []
        with pytest.raises(UnusablePixelData):
            await _gather(converted(_pieces(data, 1000), table, dicom.EXPLICIT_LE), given)
        assert bool(given) == bool(before)


async def _gather(pieces: AsyncIterator[bytes], given: list[bytes]) -> None:
    async for piece in pieces:
        given.append(piece)


async def test_a_file_that_is_shorter_than_its_index_says() -> None:
    data = dicom.part10(dicom.multi_frame())
    _, table = _table(data)
    for target in (transfer_syntax.DEFLATED, transfer_syntax.RLE):
        with pytest.raises(CorruptData):
            await _convert(data[:-10], table, target)

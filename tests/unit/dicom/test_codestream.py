"""What compressed frames claim to be, and that a false claim is refused before it is decoded."""

from __future__ import annotations

import struct

import pytest

from shared.dicom.codestream import declared_size, require_declared_size
from shared.dicom.frames import PixelDescription
from shared.dicom.pixels import decode_frame, encode_frame, frame_array
from shared.errors import UnusablePixelData
from tests.support import dicom
from tests.unit.dicom.reading import bundled, facts_of, frames_of, table_of


def _described(syntax: str, rows: int, columns: int) -> PixelDescription:
    return PixelDescription(syntax, rows, columns, 1, 8, 8, 0, 0, "MONOCHROME2")


def test_each_kind_tells_its_size() -> None:
    assert declared_size(dicom.jpeg(24, 40)) == (24, 40)
    assert declared_size(dicom.jpeg_2000(48, 64)) == (48, 64)
    native = PixelDescription(dicom.EXPLICIT_LE, 20, 33, 1, 8, 8, 0, 0, "MONOCHROME2")
    assert declared_size(encode_frame(bytes(20 * 33), native, dicom.JPEG_LS)) == (20, 33)
    for frame in (b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xda\0\0", bytes(100)):
        assert declared_size(frame) is None


def test_those_of_bundled_files_agree_with_their_data_sets() -> None:
    seen = 0
    for path in bundled():
        if path.name == "JPEG2000-embedded-sequence-delimiter.dcm":
            continue  # its codestream is damaged
        data = path.read_bytes()
        try:
            facts = facts_of(data)
        except Exception:
            continue
        if facts.frames is None or not table_of(data).is_encapsulated:
            continue
        table = table_of(data)
        for frame in frames_of(data):
            claimed = declared_size(frame)
            seen += claimed is not None
            assert claimed in (None, (table.pixels.rows, table.pixels.columns)), path.name
    assert seen > 30


def _bomb_jpeg() -> bytes:
    good = dicom.jpeg(16, 16)
    at = good.index(b"\xff\xc0")
    return good[: at + 5] + struct.pack(">HH", 65_000, 65_000) + good[at + 9 :]


def _bomb_jpeg_2000() -> bytes:
    good = dicom.jpeg_2000(64, 64)
    at = good.index(b"\xff\x4f\xff\x51") + 8
    return good[:at] + struct.pack(">II", 100_000, 100_000) + good[at + 8 :]


@pytest.mark.parametrize(
    ("frame", "syntax", "side"),
    [(_bomb_jpeg(), dicom.JPEG_BASELINE, 16), (_bomb_jpeg_2000(), dicom.JPEG_2000, 64)],
)
def test_few_bytes_that_claim_many_pixels_are_refused(frame: bytes, syntax: str, side: int) -> None:
    pixels = _described(syntax, side, side)
    for decode in (
        lambda: require_declared_size(frame, pixels),
        lambda: decode_frame(frame, pixels),
        lambda: frame_array(frame, pixels, is_encapsulated=True),
    ):
        with pytest.raises(UnusablePixelData, match="claims"):
            decode()

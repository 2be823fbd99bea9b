"""Decoding one compressed frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.pixels import iter_pixels

from shared.dicom.frames import PixelDescription
from shared.dicom.pixels import can_decode, decode_frame
from shared.errors import UnusablePixelData
from tests.support import dicom
from tests.unit.dicom.reading import frames_of, table_of


def _described(syntax: str, rows: int = 16, columns: int = 16, **more: Any) -> PixelDescription:
    values = {"bits_allocated": 8, "bits_stored": 8, "photometric_interpretation": "MONOCHROME2"}
    return PixelDescription(syntax, rows, columns, **(values | more))


def test_a_jpeg_is_decoded_to_its_pixels() -> None:
    native = decode_frame(dicom.jpeg(value=77), _described(dicom.JPEG_BASELINE)).data
    assert native == bytes([77]) * 256


def test_a_jpeg_2000_is_decoded_to_its_pixels() -> None:
    native = decode_frame(dicom.jpeg_2000(value=5), _described(dicom.JPEG_2000, 64, 64)).data
    assert native == bytes([5]) * 4096


@pytest.mark.parametrize("name", ["SC_rgb_rle.dcm", "SC_rgb_rle_16bit_2frame.dcm"])
@pytest.mark.parametrize("planes", [0, 1])
def test_colours_are_by_pixel_or_by_plane_as_the_data_set_says(name: str, planes: int) -> None:
    """RLE has planes inside, whatever the planar configuration."""
    ds = pydicom.dcmread(str(get_testdata_file(name)))
    ds.PlanarConfiguration = planes
    data = dicom.part10(ds, dicom.RLE)
    pixels = table_of(data).pixels
    for frame, expected in zip(frames_of(data), iter_pixels(ds, raw=True), strict=True):
        by_plane = np.moveaxis(expected, -1, 0)
        assert decode_frame(frame, pixels).data == (by_plane if planes else expected).tobytes()


def test_signs_that_the_codestream_lacks_are_put_right() -> None:
    ds = pydicom.dcmread(str(get_testdata_file("J2K_pixelrep_mismatch.dcm")))
    data = dicom.part10(ds, ds.file_meta.TransferSyntaxUID)
    (frame,) = frames_of(data)
    native = np.frombuffer(decode_frame(frame, table_of(data).pixels).data, "<i2")
    assert native.min() == -2000


def test_a_frame_that_is_not_what_its_description_says_is_corrupt() -> None:
    with pytest.raises(UnusablePixelData):
        decode_frame(dicom.jpeg(8, 8), _described(dicom.JPEG_2000))
    with pytest.raises(UnusablePixelData):
        decode_frame(dicom.jpeg_2000(), _described(dicom.JPEG_2000, 99, 99))


def test_a_frame_that_would_be_larger_than_a_gibibyte_is_not_decoded() -> None:
    with pytest.raises(UnusablePixelData, match="too large"):
        decode_frame(dicom.jpeg(), _described(dicom.JPEG_BASELINE, 65535, 65535))


@pytest.mark.parametrize("syntax", [dicom.RLE, dicom.JPEG_BASELINE, dicom.JPEG_LS])
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=200), bits=st.sampled_from([0, 1, 8, 12, 16]))
def test_any_bytes_are_decoded_or_corrupt(syntax: str, data: bytes, bits: int) -> None:
    for start in (b"", b"\xff\xd8\xff", b"\1\0\0\0\x40\0\0\0"):
        try:
            native = decode_frame(start + data, _described(syntax, 2, 2, bits_allocated=bits)).data
        except UnusablePixelData:
            continue
        assert len(native) == 4 * bits // 8


def test_what_can_be_decoded_is_told_by_the_transfer_syntax() -> None:
    for syntax in (dicom.RLE, dicom.JPEG_BASELINE, dicom.JPEG_2000, dicom.JPEG_LS):
        assert can_decode(_described(syntax))
    for syntax in (dicom.HEVC, "1.2.3", ""):
        assert not can_decode(_described(syntax))

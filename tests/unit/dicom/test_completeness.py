"""A frame that lacks pixels is refused: decoders make them up."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shared.dicom.completeness import whole_frame
from shared.dicom.frames import PixelDescription
from shared.dicom.pixels import can_decode, decode_frame, frame_array
from shared.errors import DicomServiceError, UnusablePixelData
from tests.support import dicom, lossless_jpeg
from tests.unit.dicom.reading import bundled, facts_of, frames_of, table_of

_EOI = b"\xff\xd9"
_LOSSLESS = "1.2.840.10008.1.2.4.70"
_CUT_TO = (0.3, 0.6, 0.9)


def _compressed() -> Iterator[tuple[str, PixelDescription, bytes]]:
    """The first frame of each bundled file that we decode."""
    for path in bundled():
        try:
            if facts_of(data := path.read_bytes()).frames is None:
                continue
            table = table_of(data)
            if not table.is_encapsulated or not can_decode(table.pixels):
                continue
            (frame, *_) = frames_of(data)
            decode_frame(frame, table.pixels)
        except DicomServiceError:
            continue
        yield path.name, table.pixels, frame


_FRAMES = list(_compressed())


def test_there_are_frames_of_each_kind() -> None:
    seen = {
        pixels.transfer_syntax_uid.removeprefix("1.2.840.10008.1.2.") for _, pixels, _ in _FRAMES
    }
    assert seen == {"4.50", "4.51", "4.70", "4.80", "4.81", "4.90", "4.91", "5"}
    assert len(_FRAMES) > 30


@pytest.mark.parametrize(
    ("pixels", "frame"), [each[1:] for each in _FRAMES], ids=[each[0] for each in _FRAMES]
)
@pytest.mark.parametrize("end", [b"", _EOI], ids=["cut", "cut and ended"])
def test_a_frame_that_is_cut_short_is_refused(
    pixels: PixelDescription, frame: bytes, end: bytes
) -> None:
    whole_frame(frame, pixels)
    for part in _CUT_TO:
        cut = frame[: int(len(frame) * part)] + end
        with pytest.raises(UnusablePixelData):
            decode_frame(cut, pixels)
        with pytest.raises(UnusablePixelData):
            frame_array(cut, pixels, is_encapsulated=True)


@pytest.mark.parametrize(
    ("pixels", "frame"),
    [each[1:] for each in _FRAMES if each[1].transfer_syntax_uid[-4:-1] in (".5", "4.5", "4.8")],
    ids=[each[0] for each in _FRAMES if each[1].transfer_syntax_uid[-4:-1] in (".5", "4.5", "4.8")],
)
def test_what_is_lost_is_not_made_up_when_zeros_come_instead(
    pixels: PixelDescription, frame: bytes
) -> None:
    """A transfer that broke off, its file filled up to the length that it was to have."""
    kept = int(len(frame) * 0.6)
    with pytest.raises(UnusablePixelData):
        decode_frame(frame[:kept] + bytes(len(frame) - kept), pixels)


def test_a_whole_picture_may_lack_its_end_marker() -> None:
    for name, pixels, frame in _FRAMES:
        if name in ("SC_rgb_jpeg_gdcm.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_dcmtk.dcm"):
            without = frame[: frame.rindex(_EOI)]
            assert decode_frame(without, pixels) == decode_frame(frame, pixels)


def _described(pixels: np.ndarray, bits: int) -> PixelDescription:
    rows, columns, samples = pixels.shape
    allocated = 8 if bits <= 8 else 16
    photometric = "RGB" if samples == 3 else "MONOCHROME2"
    return PixelDescription(
        _LOSSLESS, rows, columns, samples, allocated, bits, 0, 0, photometric, "OB"
    )


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([(8, 1), (8, 3), (12, 1), (16, 1), (16, 3)]),
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_lossless_frames_of_all_sizes(
    kind: tuple[int, int], size: tuple[int, int], interval: int, random: object
) -> None:
    bits, samples = kind
    seed = random.randrange(1 << 30)  # type: ignore[attr-defined]
    shape = (*size, samples)
    pixels = np.random.default_rng(seed).integers(0, 1 << bits, shape, dtype=np.uint16)
    described = _described(pixels, bits)
    frame = lossless_jpeg.encode(pixels, bits=bits, lines_per_interval=interval)
    native = decode_frame(frame, described).data
    assert native == pixels.astype("<u2" if bits > 8 else "u1").tobytes()
    scan = frame.index(b"\xff\xda")
    for at in range(scan, len(frame) - 4):
        with pytest.raises(UnusablePixelData):
            whole_frame(frame[:at] + _EOI, described)


def test_a_restart_marker_that_is_missing() -> None:
    pixels = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16, 1)
    frame = lossless_jpeg.encode(pixels, bits=12, lines_per_interval=4)
    whole_frame(frame, _described(pixels, 12))
    with pytest.raises(UnusablePixelData):
        whole_frame(frame.replace(b"\xff\xd1", b""), _described(pixels, 12))


def test_a_lost_interval_of_a_baseline_frame() -> None:
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8))
    written = io.BytesIO()
    picture.save(written, "JPEG", restart_marker_blocks=8)
    frame = written.getvalue()
    pixels = PixelDescription(dicom.JPEG_BASELINE, 64, 64, 1, 8, 8, 0, 0, "MONOCHROME2", "OB")
    whole_frame(frame, pixels)
    lost = frame[: frame.index(b"\xff\xd1")] + frame[frame.index(b"\xff\xd2") :]
    with pytest.raises(UnusablePixelData):
        whole_frame(lost, pixels)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(_FRAMES), st.integers(0, 4000), st.binary(min_size=1, max_size=40))
def test_whatever_happens_to_a_frame_it_is_taken_or_refused(
    whole: tuple[str, PixelDescription, bytes], at: int, damage: bytes
) -> None:
    _, pixels, frame = whole
    at %= len(frame)
    try:
        whole_frame(frame[:at] + damage + frame[at + len(damage) :], pixels)
    except UnusablePixelData as error:
        assert "cannot be decoded" in str(error)  # noqa: PT017

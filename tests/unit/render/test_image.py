"""Pictures against values calculated by hand, for each kind of pixel data."""

from __future__ import annotations

import io
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from shared.dicom import transfer_syntax
from shared.dicom.frames import FrameTable, PixelDescription
from shared.errors import NotDicom, UnusablePixelData
from shared.render.grey import grey_levels
from shared.render.image import GIF, JPEG, PNG, Source, render, render_all
from shared.render.parameters import Rendering, Viewport, Window
from tests.support import dicom
from tests.unit.dicom.reading import bundled, facts_of

_REFUSED = {
    "JPEG-lossy.dcm", "JPEG2000-embedded-sequence-delimiter.dcm", "nested_priv_SQ.dcm",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _source(data: bytes) -> tuple[Source, FrameTable, bytes] | None:
    facts = facts_of(data)
    if facts.frames is None:
        return None
    table = FrameTable.from_json(facts.frames)
    is_data_set = transfer_syntax.is_deflated(facts.transfer_syntax_uid)
    if is_data_set:
        start = 144 + int.from_bytes(data[140:144], "little")
        data = zlib.decompressobj(-15).decompress(data[start:])
    end = table.native.offset if table.native else table.fragments[0][0]  # type: ignore[index]
    source = Source(data[:end], is_data_set, table.pixels, table.is_encapsulated)
    return source, table, data


def _frame(table: FrameTable, data: bytes, number: int) -> bytes:
    place = table.frame(number)
    return place.cut(data[place.covering.offset : place.covering.end])


def _picture(
    ds: Dataset,
    number: int = 1,
    how: Rendering | None = None,
    syntax: str = dicom.EXPLICIT_LE,
) -> np.ndarray:
    """A frame of a data set as the 8-bit pixels of a PNG."""
    found = _source(dicom.part10(ds, syntax))
    assert found is not None
    source, table, data = found
    png = render(source, _frame(table, data, number), number, how or Rendering(), PNG)
    return np.asarray(Image.open(io.BytesIO(png)))


def _grey(values: Any, **attributes: Any) -> Dataset:
    array = np.asarray(values, dtype="<u2")
    if array.ndim == 1:
        array = array[np.newaxis]
    usual = {
        "Rows": array.shape[0], "Columns": array.shape[1], "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 0, "PixelData": array.tobytes(),
        "RescaleSlope": None, "RescaleIntercept": None, "WindowCenter": None, "WindowWidth": None,
    }  # fmt: skip
    ds = dicom.ct(**(usual | attributes))
    for keyword in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
        if ds.get(keyword) is None and keyword in ds:
            del ds[keyword]
    return ds


def _linear(values: Any, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, as it is written there."""
    out = []
    for x in np.asarray(values, dtype=float).ravel():
        if x <= center - 0.5 - (width - 1) / 2:
            y = 0.0
        elif x > center - 0.5 + (width - 1) / 2:
            y = 255.0
        else:
            y = ((x - (center - 0.5)) / (width - 1) + 0.5) * 255
        out.append(y)
    return np.array(out)


def _near(found: np.ndarray, expected: Any, by: float = 1.0) -> None:
    assert np.abs(found.ravel().astype(float) - np.asarray(expected, float).ravel()).max() <= by, (
        found.ravel(),
        expected,
    )


_VALUES = [0, 10, 100, 500, 1000, 1024, 1100, 2000, 4000, 65535]


def test_a_window_of_the_file_after_rescaling() -> None:
    ds = _grey(
        _VALUES, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=[40, 7], WindowWidth=[400, 1]
    )
    _near(_picture(ds), _linear(np.array(_VALUES) * 2 - 1000, 40, 400))


@pytest.mark.parametrize("function", ["linear", "linear-exact", "sigmoid"])
def test_a_window_of_the_request(function: str) -> None:
    ds = _grey(_VALUES, WindowCenter=1, WindowWidth=1)
    found = _picture(ds, how=Rendering(window=Window(1000, 800, function)))
    x = np.array(_VALUES, dtype=float)
    expected = {
        "linear": _linear(x, 1000, 800),
        "linear-exact": np.clip((x - 1000) / 800 + 0.5, 0, 1) * 255,
        "sigmoid": 255 / (1 + np.exp(-4 * (x - 1000) / 800)),
    }[function]
    _near(found, expected)


def test_without_a_window_the_whole_range_but_not_the_padding() -> None:
    ds = _grey([100, 200, 300, 60000], PixelPaddingValue=60000)
    _near(_picture(ds), [0, 127.5, 255, 0])
    ds.PixelPaddingRangeLimit = 50000
    _near(_picture(ds), [0, 127.5, 255, 0])
    _near(_picture(_grey([7, 7, 7])), [127.5] * 3, by=128)


def test_monochrome_1_and_the_presentation_shape_are_turned_round() -> None:
    assert _picture(_grey([0, 100], PhotometricInterpretation="MONOCHROME1")).tolist() == [[255, 0]]
    assert _picture(_grey([0, 100], PresentationLUTShape="INVERSE")).tolist() == [[255, 0]]
    both = _grey([0, 100], PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert _picture(both).tolist() == [[255, 0]]


def test_signed_values_and_bits_that_are_not_stored() -> None:
    values = np.array([-2048, -1000, 0, 2047], dtype="<i2")
    ds = _grey(
        values.astype("<u2") & 0x0FFF | 0xA000, BitsStored=12, HighBit=11, PixelRepresentation=1
    )
    _near(_picture(ds), (values + 2048.0) / 4095 * 255)


def test_look_up_tables() -> None:
    lut = Dataset()
    lut.LUTDescriptor = [4, 10, 16]
    lut["LUTDescriptor"].VR = "US"
    lut.add_new("LUTData", "US", [0, 1000, 2000, 3000])
    lut.ModalityLUTType = "HU"
    ds = _grey([0, 10, 11, 12, 13, 99], ModalityLUTSequence=Sequence([lut]))
    _near(_picture(ds), np.array([0, 0, 1000, 2000, 3000, 3000]) / 3000 * 255)
    voi = Dataset()
    voi.LUTDescriptor = [3, 5, 8]
    voi["LUTDescriptor"].VR = "US"
    voi.add_new("LUTData", "US", [10, 250, 30])
    ds = _grey([0, 5, 6, 7, 100], VOILUTSequence=Sequence([voi]), WindowCenter=1, WindowWidth=2)
    _near(_picture(ds), [10, 10, 250, 30, 30])


def test_functional_groups_of_the_frame() -> None:
    ds = dicom.multi_frame(
        2, Rows=1, Columns=2, BitsAllocated=16, BitsStored=16, HighBit=15, PixelRepresentation=0,
        PixelData=np.array([0, 100, 0, 100], "<u2").tobytes(),
    )  # fmt: skip
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        if keyword in ds:
            del ds[keyword]
    shared_group = dicom.item(
        PixelValueTransformationSequence=[dicom.item(RescaleSlope=3, RescaleIntercept=5)]
    )
    frames = [
        dicom.item(FrameVOILUTSequence=[dicom.item(WindowCenter=center, WindowWidth=400)])
        for center in (100, 300)
    ]
    ds.SharedFunctionalGroupsSequence = [shared_group]
    ds.PerFrameFunctionalGroupsSequence = frames
    for number, center in ((1, 100), (2, 300)):
        _near(_picture(ds, number), _linear([5, 305], center, 400))


def test_one_bit_and_floats() -> None:
    ds = dicom.segmentation(3)
    for number in (1, 2, 3):
        found = _source(dicom.part10(ds))
        assert found is not None
        _, table, data = found
        bits = np.unpackbits(
            np.frombuffer(_frame(table, data, number), np.uint8), bitorder="little"
        )
        size = ds.Rows * ds.Columns
        assert _picture(ds, number).ravel().tolist() == (bits[:size] * 255).tolist()
    floats = dicom.parametric_map(2)
    pixels = np.linspace(-1, 3, 2 * floats.Rows * floats.Columns, dtype="<f4")
    floats.FloatPixelData = pixels.tobytes()
    values = np.frombuffer(floats.FloatPixelData, "<f4").reshape(2, floats.Rows, floats.Columns)[1]
    least, most = values.min(), values.max()
    _near(_picture(floats, 2), (values - least) / (most - least) * 255)


def test_palettes_planes_and_sixteen_bits_of_colour() -> None:
    ds = _grey([0, 1, 2, 3], PhotometricInterpretation="PALETTE COLOR")
    for colour, table in (
        ("Red", [0, 255, 0, 9]),
        ("Green", [0, 0, 255, 8]),
        ("Blue", [1, 2, 3, 7]),
    ):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [4, 0, 16])
        values = np.array(table, "<u2") * 257
        ds.add_new(f"{colour}PaletteColorLookupTableData", "OW", values.tobytes())
    assert _picture(ds).tolist() == [[[0, 0, 1], [255, 0, 2], [0, 255, 3], [9, 8, 7]]]
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    for planar in (0, 1):
        written = pixels if planar == 0 else pixels.transpose(2, 0, 1)
        ds = dicom.colour(
            Rows=2, Columns=2, PlanarConfiguration=planar, PixelData=written.tobytes()
        )
        assert _picture(ds).tolist() == pixels.tolist()
    deep = (pixels.astype("<u2") << 8).tobytes()
    ds = dicom.colour(
        Rows=2, Columns=2, BitsAllocated=16, BitsStored=16, HighBit=15, PixelData=deep
    )
    assert _picture(ds).tolist() == pixels.tolist()


def test_a_segmented_palette() -> None:
    """PS3.3 C.7.9.2: a discrete segment of two values, then a line to the last."""
    ds = _grey([0, 1, 2, 5], PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        ds.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [6, 0, 16])
        segments = np.array([0, 2, 0, 10 * 257, 1, 4, 50 * 257], "<u2")
        ds.add_new(f"Segmented{colour}PaletteColorLookupTableData", "OW", segments.tobytes())
    assert _picture(ds)[..., 0].tolist() == [[0, 10, 20, 50]]


def test_native_ybr_becomes_rgb() -> None:
    rgb = np.array([[[200, 30, 60], [200, 30, 60]], [[10, 250, 90], [10, 250, 90]]], np.uint8)
    ybr = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    size = {"Rows": 2, "Columns": 2}
    full = dicom.colour(**size, PhotometricInterpretation="YBR_FULL", PixelData=ybr.tobytes())
    assert np.abs(_picture(full).astype(int) - rgb).max() <= 2
    halved = b"".join(bytes([left[0], right[0], left[1], left[2]]) for left, right in ybr.tolist())
    subsampled = dicom.colour(**size, PhotometricInterpretation="YBR_FULL_422", PixelData=halved)
    assert np.abs(_picture(subsampled).astype(int) - rgb).max() <= 2


def test_the_memory_for_a_large_frame_is_that_of_its_pixels() -> None:
    stored = np.arange(4096, dtype="<u2").repeat(4096).reshape(4096, 4096)
    ds = _grey([0], RescaleSlope="1.5", RescaleIntercept="-7", PixelPaddingValue=0)
    pixels = PixelDescription(dicom.EXPLICIT_LE, 4096, 4096, 1, 16, 16, 0, 0, "MONOCHROME2")
    tracemalloc.start()
    shown = grey_levels(stored, ds, pixels, 1, None)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert shown[0].max() == 0
    assert shown[1, 0] == 0
    assert shown[-1, 0] == 255
    assert most < shown.nbytes + 64 * 1024 * 1024


@pytest.mark.bug_report(26)
def test_jpeg_with_subsampled_colours_becomes_rgb() -> None:
    image = Image.new("RGB", (16, 16), (200, 30, 60))
    written = io.BytesIO()
    image.save(written, "JPEG", quality=95, subsampling="4:2:2")
    ds = dicom.encapsulated(
        [written.getvalue()], Rows=16, Columns=16, SamplesPerPixel=3, PlanarConfiguration=0,
        PhotometricInterpretation="YBR_FULL_422", BitsAllocated=8, BitsStored=8, HighBit=7,
        PixelRepresentation=0,
    )  # fmt: skip
    found = _picture(ds, syntax=dicom.JPEG_BASELINE)
    assert found.shape == (16, 16, 3)
    assert np.abs(found.astype(int) - [200, 30, 60]).max() < 6


def test_overlays() -> None:
    plane = np.zeros((4, 4), np.uint8)
    plane[1, 2] = 1
    ds = _grey(np.zeros((4, 4)))
    ds.add_new(0x60000010, "US", 4)
    ds.add_new(0x60000011, "US", 4)
    ds.add_new(0x60000050, "SS", [2, 1])
    ds.add_new(0x60000100, "US", 1)
    ds.add_new(0x60000102, "US", 0)
    ds.add_new(0x60003000, "OW", np.packbits(plane, bitorder="little").tobytes())
    how = Rendering(window=Window(100, 100))
    expected = np.zeros((4, 4), int)
    expected[2, 2] = 255
    assert _picture(ds, how=how).tolist() == expected.tolist()
    assert not _picture(ds, how=Rendering(window=Window(100, 100), with_overlays=False)).any()
    # in an unused bit of the pixels
    pixels = np.zeros((4, 4), "<u2")
    pixels[3, 0] = 1 << 12
    old = _grey(pixels, BitsStored=12, HighBit=11)
    for element, value in ((0x10, 4), (0x11, 4), (0x100, 16), (0x102, 12)):
        old.add_new(0x60000000 | element, "US", value)
    found = _picture(old, how=how)
    assert found[3, 0] == 255
    assert found.astype(int).sum() == 255


def test_viewports() -> None:
    pixels = np.arange(8 * 4, dtype=np.uint8).reshape(4, 8)
    ds = _grey(pixels, WindowCenter=16, WindowWidth=32)
    whole = _picture(ds)

    def shown(*numbers: float) -> np.ndarray:
        return _picture(ds, how=Rendering(viewport=Viewport(*numbers)))  # type: ignore[arg-type]

    assert shown(16, 16).shape == (8, 16), "the aspect ratio stays"
    assert shown(4, 100).shape == (2, 4)
    assert shown(2, 2, 3, 1, 2, 2).tolist() == whole[1:3, 3:5].tolist()
    assert shown(2, 2, 3, 1, -2, 2).tolist() == whole[1:3, 3:5][:, ::-1].tolist()
    assert shown(2, 2, 3, 1, 2, -2).tolist() == whole[1:3, 3:5][::-1].tolist()
    assert shown(8, 4, 0, 0, 1000, 1000).tolist() == whole.tolist()
    assert shown(5, 5, 500, 500).shape[0] >= 1


def test_annotations_quality_profiles_and_animation() -> None:
    ds = dicom.colour(Rows=200, Columns=200, PixelData=bytes(200 * 200 * 3))
    ds.PatientName = "Doe^Jane"
    plain, named = _picture(ds), _picture(ds, how=Rendering(annotations=("patient",)))
    assert not plain.any()
    assert named[:60].any()
    assert not named[100:].any()
    found = _source(dicom.part10(ds))
    assert found is not None
    source, table, data = found
    frame = _frame(table, data, 1)
    noise = Source(source.header, source.is_data_set, source.pixels, source.is_encapsulated)
    noisy = np.random.default_rng(1).bytes(len(frame))
    good, poor = (render(noise, noisy, 1, Rendering(quality=q), JPEG) for q in (95, 5))
    assert len(poor) < len(good) / 3
    for profile, has in (("no", False), ("yes", True), ("srgb", True)):
        png = render(source, frame, 1, Rendering(icc_profile=profile), PNG)
        assert ("icc_profile" in Image.open(io.BytesIO(png)).info) == has
    gif = Image.open(io.BytesIO(render_all(source, [frame, noisy, frame], Rendering())))
    assert gif.format == "GIF"
    assert gif.n_frames == 3  # type: ignore[attr-defined]


def _images() -> list[Path]:
    found = []
    for path in bundled():
        try:
            facts = facts_of(path.read_bytes())
        except NotDicom:
            continue
        if facts.frames is not None:
            found.append(path)
    return found


@pytest.mark.parametrize("path", _images(), ids=lambda path: path.name)
def test_every_bundled_image_is_rendered_or_refused_for_a_known_reason(path: Path) -> None:
    found = _source(path.read_bytes())
    assert found is not None
    source, table, data = found
    if path.name in _REFUSED:
        with pytest.raises(UnusablePixelData):
            render(source, _frame(table, data, 1), 1, Rendering(), PNG)
        return
    for number in {1, table.count}:
        frame = _frame(table, data, number)
        for media_type, name in ((PNG, "PNG"), (JPEG, "JPEG"), (GIF, "GIF")):
            picture = Image.open(io.BytesIO(render(source, frame, number, Rendering(), media_type)))
            assert picture.format == name
            assert picture.size == (table.pixels.columns, table.pixels.rows)
    ds = pydicom.dcmread(path)
    if ds.PhotometricInterpretation == "RGB" and ds.BitsStored == 8 and table.count == 1:
        png = render(source, _frame(table, data, 1), 1, Rendering(with_overlays=False), PNG)
        assert np.asarray(Image.open(io.BytesIO(png))).tolist() == ds.pixel_array.tolist()

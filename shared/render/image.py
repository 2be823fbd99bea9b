"""One frame as a picture: decode, map, draw, crop and scale, encode. Runs on a thread.

References
----------
PS3.18 8.3.5; PS3.3 C.7.6.3 (pixels), C.7.9 (palette), C.9.2 (overlays), C.11 (look-up tables).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.dicom.frames import PixelDescription
from shared.dicom.pixels import frame_array
from shared.errors import UnusablePixelData
from shared.render.grey import grey_levels
from shared.render.header import read_header, text
from shared.render.parameters import Rendering, Viewport

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image
    from pydicom.dataset import Dataset

JPEG: Final = "image/jpeg"
PNG: Final = "image/png"
GIF: Final = "image/gif"
MEDIA_TYPES: Final = (JPEG, PNG, GIF)
"""What pictures can be, the default first."""

_COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT", "YBR_PARTIAL_420"})
_PATIENT = (("PatientName", ""), ("PatientID", ""), ("PatientBirthDate", ""), ("PatientSex", ""))
_TECHNIQUE = (
    ("Modality", ""), ("StudyDate", ""), ("SeriesDescription", ""), ("KVP", " kV"),
    ("ExposureTime", " ms"), ("XRayTubeCurrent", " mA"), ("SliceThickness", " mm"),
    ("RepetitionTime", " ms TR"), ("EchoTime", " ms TE"),
)  # fmt: skip
_FASTEST_MS = 20
_USUAL_MS = 100


@dataclass(frozen=True, slots=True)
class Source:
    """What a frame is rendered from.

    Parameters
    ----------
    header : bytes
        The elements before the pixel data.
    is_data_set : bool
        Whether ``header`` has no file meta information.
    pixels : PixelDescription
        How frames are encoded.
    is_encapsulated : bool
        Whether frames are compressed.
    """

    header: bytes
    is_data_set: bool
    pixels: PixelDescription
    is_encapsulated: bool


def render(source: Source, frame: bytes, number: int, how: Rendering, media_type: str) -> bytes:
    """Frame ``number``, counted from 1, as a picture.

    Raises
    ------
    UnusablePixelData
        It is no picture, or cannot be decoded.
    """
    ds = read_header(source.header, is_data_set=source.is_data_set)
    return _encoded([_picture(source, ds, frame, number, how)], ds, how, media_type)


def render_all(source: Source, frames: Sequence[bytes], how: Rendering) -> bytes:
    """All frames as one animated GIF.

    Raises
    ------
    UnusablePixelData
        They are no pictures, or cannot be decoded.
    """
    ds = read_header(source.header, is_data_set=source.is_data_set)
    pictures = [
        _picture(source, ds, frame, number, how) for number, frame in enumerate(frames, start=1)
    ]
    return _encoded(pictures, ds, how, GIF)


def _picture(source: Source, ds: Dataset, frame: bytes, number: int, how: Rendering) -> Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _drawn(source, ds, frame, number, how)
    except UnusablePixelData:
        raise
    except Exception as error:  # malformed tables and attributes fail in many ways
        raise UnusablePixelData("The image cannot be rendered.") from error


def _drawn(source: Source, ds: Dataset, frame: bytes, number: int, how: Rendering) -> Image:
    from PIL import Image

    array, photometric = frame_array(frame, source.pixels, is_encapsulated=source.is_encapsulated)
    if photometric == "PALETTE COLOR":
        shown = _palette(array, ds)
    elif photometric in _COLOURS:
        shown = _eight_bits(array, source.pixels.bits_stored)
    elif photometric.startswith("MONOCHROME") or array.ndim == 2:
        shown = grey_levels(array, ds, source.pixels, number, how.window)
    else:
        raise UnusablePixelData(f"Images of {photometric[:16]} cannot be rendered.")
    if how.with_overlays:
        shown = _with_overlays(shown, array, ds, number)
    picture = Image.fromarray(shown)
    if how.viewport is not None:
        picture = _in_viewport(picture, how.viewport)
    if how.annotations:
        picture = _annotated(picture, ds, how.annotations)
    return picture


def _palette(array: NDArray[Any], ds: Dataset) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut

    coloured = apply_color_lut(array, ds)
    bits = 16 if coloured.dtype.itemsize == 2 else 8
    return _eight_bits(coloured[..., :3], bits)


def _eight_bits(array: NDArray[Any], bits: int) -> NDArray[Any]:
    import numpy as np

    if bits > 8:
        array = array >> (bits - 8)
    return np.ascontiguousarray(array.astype(np.uint8, copy=False))


# Overlays ---------------------------------------------------------------------------------


def _with_overlays(
    shown: NDArray[Any], stored: NDArray[Any], ds: Dataset, number: int
) -> NDArray[Any]:
    """Overlays drawn in white (PS3.3 C.9.2, C.9.3)."""
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0010) not in ds:
            continue
        found = _overlay(ds, group, number, stored)
        if found is not None:
            plane, row, column = found
            height, width = shown.shape[:2]
            top, left = max(row, 0), max(column, 0)
            plane = plane[top - row : height - row, left - column : width - column]
            area = shown[top : top + plane.shape[0], left : left + plane.shape[1]]
            area[plane[: area.shape[0], : area.shape[1]] > 0] = 255
    return shown


def _overlay(
    ds: Dataset, group: int, number: int, stored: NDArray[Any]
) -> tuple[NDArray[Any], int, int] | None:
    """One overlay plane of a frame, and where its first pixel is, from 0."""
    import numpy as np

    rows, columns = int(ds[group, 0x0010].value), int(ds[group, 0x0011].value)
    origin = ds[group, 0x0050].value if (group, 0x0050) in ds else (1, 1)
    row, column = int(origin[0]) - 1, int(origin[1]) - 1
    if (group, 0x3000) not in ds:  # in bits of the pixels (retired)
        position = int(ds[group, 0x0102].value) if (group, 0x0102) in ds else 0
        if not position or stored.ndim != 2 or stored.dtype.kind == "f":
            return None
        return (stored >> position & 1).astype(np.uint8), row, column
    first = int(ds[group, 0x0051].value) if (group, 0x0051) in ds else 1
    planes = int(ds[group, 0x0015].value) if (group, 0x0015) in ds else 1
    at = number - first
    if not 0 <= at < planes:
        return None
    bits = np.frombuffer(bytes(ds[group, 0x3000].value), np.uint8)
    plane = np.unpackbits(bits, bitorder="little")[at * rows * columns : (at + 1) * rows * columns]
    return (plane.reshape(rows, columns), row, column) if plane.size == rows * columns else None


# Viewport and annotations ---------------------------------------------------------------------


def _in_viewport(picture: Image, viewport: Viewport) -> Image:
    """The part that is asked for, as large as the viewport allows (PS3.18 8.3.5.1.3)."""
    from PIL import Image, ImageOps

    across = picture.width - viewport.x if viewport.across is None else viewport.across
    down = picture.height - viewport.y if viewport.down is None else viewport.down
    box = (
        round(min(viewport.x, picture.width - 1)),
        round(min(viewport.y, picture.height - 1)),
        round(min(viewport.x + abs(across), picture.width)),
        round(min(viewport.y + abs(down), picture.height)),
    )
    box = (box[0], box[1], max(box[2], box[0] + 1), max(box[3], box[1] + 1))
    picture = picture.crop(box)
    if across < 0:
        picture = ImageOps.mirror(picture)
    if down < 0:
        picture = ImageOps.flip(picture)
    scale = min(viewport.width / picture.width, viewport.height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    smoothly = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return picture if size == picture.size else picture.resize(size, smoothly)


def _annotated(picture: Image, ds: Dataset, kinds: Sequence[str]) -> Image:
    """Text in the upper left for the patient, in the lower left for the technique."""
    from PIL import ImageDraw, ImageFont

    size = max(10, picture.height // 40)
    font = ImageFont.load_default(size)
    pen = ImageDraw.Draw(picture)
    white = 255 if picture.mode == "L" else (255, 255, 255)
    for kind, attributes in (("patient", _PATIENT), ("technique", _TECHNIQUE)):
        lines = [text(ds, keyword) + unit for keyword, unit in attributes if text(ds, keyword)]
        if kind not in kinds or not lines:
            continue
        top = 2 if kind == "patient" else picture.height - 2 - round(size * 1.25) * len(lines)
        pen.multiline_text((4, top), "\n".join(lines), fill=white, font=font, spacing=size // 4)
    return picture


# Encoding ---------------------------------------------------------------------------------


def _encoded(pictures: list[Image], ds: Dataset, how: Rendering, media_type: str) -> bytes:
    options: dict[str, Any] = {}
    if how.icc_profile != "no":
        pictures = [_in_colour_space(picture, ds, how.icc_profile) for picture in pictures]
        options["icc_profile"] = pictures[0].info.get("icc_profile")
    written = io.BytesIO()
    if media_type == PNG:
        pictures[0].save(written, "PNG", compress_level=3, **options)
    elif media_type == GIF:
        pictures[0].save(
            written, "GIF", save_all=True, append_images=pictures[1:], loop=0,
            duration=_duration_ms(ds),
        )  # fmt: skip
    else:
        pictures[0].save(written, "JPEG", quality=how.quality, **options)
    return written.getvalue()


def _in_colour_space(picture: Image, ds: Dataset, wanted: str) -> Image:
    """The picture with the profile that it has, or in sRGB (PS3.18 8.3.5.1.5)."""
    from PIL import ImageCms

    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    own = ds.get("ICCProfile")
    if picture.mode != "RGB":
        return picture
    if own and wanted == "yes":
        picture.info["icc_profile"] = bytes(own)
        return picture
    if own:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(bytes(own)))
        converted = ImageCms.profileToProfile(picture, profile, standard, outputMode="RGB")
        picture = converted if converted is not None else picture
    picture.info["icc_profile"] = standard.tobytes()
    return picture


def _duration_ms(ds: Dataset) -> int:
    """How long a frame is shown (PS3.3 C.7.6.5)."""
    for keyword, rate in (("RecommendedDisplayFrameRate", 1000.0), ("CineRate", 1000.0)):
        value = ds.get(keyword)
        if value:
            return max(_FASTEST_MS, round(rate / float(value)))
    value = ds.get("FrameTime")
    return max(_FASTEST_MS, round(float(value))) if value else _USUAL_MS

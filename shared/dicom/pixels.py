"""Decode and encode frames, through pydicom's codecs and Pillow (imported on first use).

References
----------
PS3.5 8.2 and Annex A.4; PS3.3 C.7.6.3.
"""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Lock
from typing import Any, Final

from shared.dicom import transfer_syntax
from shared.dicom.codestream import require_declared_size
from shared.dicom.completeness import whole_frame
from shared.dicom.frames import PixelDescription
from shared.errors import UnusablePixelData

_MOST_PIXEL_BYTES: Final = 1024 * 1024 * 1024
_LEAST: Final = {transfer_syntax.JPEG_2000_LOSSLESS: 32, transfer_syntax.JPEG_LS_LOSSLESS: 16}
"""Least rows and columns that the encoders take: OpenJPEG with its usual number of resolutions,
CharLS with the room that it gives the result."""

_ONE_AT_A_TIME: Final = Lock()
"""OpenJPEG's encoder, as it is wrapped, ends the process if two threads are in it (measured)."""

_JPEG_QUALITY: Final = 90
_SUBSAMPLED: Final = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420"})
_JPEG_LS: Final = frozenset(
    {transfer_syntax.JPEG_LS_LOSSLESS, transfer_syntax.JPEG_LS_NEAR_LOSSLESS}
)
_FLOATS: Final = frozenset({"OF", "OD"})


@dataclass(frozen=True, slots=True)
class NativeFrame:
    """A native frame.

    Parameters
    ----------
    data : bytes
        Pixels in little-endian order, by pixel or by plane as the planar configuration says.
    photometric_interpretation : str
        Of ``data``: decoding may have changed it.
    """

    data: bytes
    photometric_interpretation: str


@lru_cache(maxsize=64)
def _has_decoder(transfer_syntax_uid: str) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return bool(get_decoder(transfer_syntax_uid).is_available)
    except NotImplementedError:  # so pydicom says that it does not know the transfer syntax
        return False


def can_decode(pixels: PixelDescription) -> bool:
    """Whether frames of this transfer syntax can be decoded here."""
    return _has_decoder(pixels.transfer_syntax_uid)


def decode_frame(data: bytes, pixels: PixelDescription) -> NativeFrame:
    """A compressed frame as native pixels, colour as it was compressed (PS3.5 8.2).

    Samples are by pixel or by plane as the planar configuration says (PS3.3 C.7.6.3.1.3).

    Raises
    ------
    UnusablePixelData
        It cannot be decoded, or not into what its description says.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    if pixels.frame_bits() // 8 > _MOST_PIXEL_BYTES:
        raise UnusablePixelData("The frame is too large to be decoded.")
    require_declared_size(data, pixels)
    data = whole_frame(data, pixels)
    decoder = get_decoder(pixels.transfer_syntax_uid)
    try:
        source = encapsulate([data], has_bot=False)
        # an array: only then are signs put right that JPEG-LS lacks and JPEG 2000 may lack, and
        # colours by pixel whatever the decoder gives
        options = {**_options(pixels), "number_of_frames": 1, "pixel_keyword": "PixelData"}
        array, described = decoder.as_array(
            source, index=0, raw=True, decoding_plugin=_plugin(pixels), **options
        )
        if pixels.samples > 1 and pixels.planar_configuration == 1:
            array = array.transpose(2, 0, 1)
        native = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    except Exception as error:  # decoders of many origins raise whatever they like
        raise UnusablePixelData("The frame cannot be decoded.") from error
    photometric = str(described["photometric_interpretation"])
    # decoders give a sample of each colour for each pixel
    return NativeFrame(native, "YBR_FULL" if photometric in _SUBSAMPLED else photometric)


def frame_array(data: bytes, pixels: PixelDescription, *, is_encapsulated: bool) -> tuple[Any, str]:
    """A frame as an array of rows, columns and samples, colours as RGB.

    Parameters
    ----------
    data : bytes
        A compressed frame, or a native one in little-endian order.
    pixels : PixelDescription
        How it is encoded.
    is_encapsulated : bool
        Whether it is compressed.

    Returns
    -------
    tuple
        The array, and its photometric interpretation.

    Raises
    ------
    UnusablePixelData
        It cannot be decoded, or not into what its description says.
    """
    import numpy as np
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    if pixels.frame_bits() // 8 > _MOST_PIXEL_BYTES:
        raise UnusablePixelData("The frame is too large to be decoded.")
    if pixels.vr in _FLOATS:
        floats = np.frombuffer(data, f"<f{pixels.bits_allocated // 8}")
        return floats.reshape(pixels.rows, pixels.columns), "MONOCHROME2"
    options = {**_options(pixels), "number_of_frames": 1, "pixel_keyword": "PixelData"}
    options["correct_unused_bits"] = False  # there may be overlays in them
    syntax = pixels.transfer_syntax_uid if is_encapsulated else transfer_syntax.EXPLICIT_LE
    if is_encapsulated:
        require_declared_size(data, pixels)
        data = whole_frame(data, pixels)
    try:
        source = encapsulate([data], has_bot=False) if is_encapsulated else data
        array, described = get_decoder(syntax).as_array(
            source, index=0, decoding_plugin=_plugin(pixels), **options
        )
    except Exception as error:  # decoders of many origins raise whatever they like
        raise UnusablePixelData("The frame cannot be decoded.") from error
    return array, str(described["photometric_interpretation"])


def decoded_description(pixels: PixelDescription) -> PixelDescription:
    """How frames are described once they are decoded, as far as that is known before."""
    photometric = pixels.photometric_interpretation
    if photometric in ("YBR_RCT", "YBR_ICT"):
        photometric = "RGB"
    elif photometric.startswith("YBR_"):
        photometric = "YBR_FULL"
    return replace(
        pixels,
        transfer_syntax_uid=transfer_syntax.EXPLICIT_LE,
        photometric_interpretation=photometric,
    )


def _plugin(pixels: PixelDescription) -> str:
    """CharLS for JPEG-LS: the other decoder of it makes up what a frame lacks."""
    return "pyjpegls" if pixels.transfer_syntax_uid in _JPEG_LS else ""


def _options(pixels: PixelDescription) -> dict[str, Any]:
    return {
        "rows": pixels.rows,
        "columns": pixels.columns,
        "samples_per_pixel": pixels.samples,
        "bits_allocated": pixels.bits_allocated,
        "bits_stored": pixels.bits_stored,
        "pixel_representation": pixels.pixel_representation,
        "planar_configuration": pixels.planar_configuration,
        "photometric_interpretation": pixels.photometric_interpretation,
    }


# Encoding ---------------------------------------------------------------------------------


def can_encode(native: PixelDescription, target: str) -> bool:
    """Whether native frames of this description can be compressed into a transfer syntax."""
    from pydicom.pixels.encoders.base import ENCODING_PROFILES
    from pydicom.uid import UID

    if target not in transfer_syntax.ENCODABLE or native.vr in _FLOATS:
        return False
    if min(native.rows, native.columns) < _LEAST.get(target, 1):
        return False
    if native.bits_allocated not in (8, 16) or native.photometric_interpretation in _SUBSAMPLED:
        return False
    return any(
        native.photometric_interpretation == photometric
        and native.samples == samples
        and native.pixel_representation in signs
        and native.bits_allocated in allocated
        and native.bits_stored in stored
        for photometric, samples, signs, allocated, stored in ENCODING_PROFILES[UID(target)]
    )


def encode_frame(frame: bytes, native: PixelDescription, target: str) -> bytes:
    """A native frame, compressed. Lossless unless the target is a lossy transfer syntax.

    Parameters
    ----------
    frame : bytes
        In little-endian order.
    native : PixelDescription
        Of ``frame``.
    target : str
        Transfer syntax UID, for which ``can_encode`` holds.

    Raises
    ------
    UnusablePixelData
        The frame is not what its description says.
    """
    import numpy as np
    from pydicom.pixels.encoders.base import get_encoder

    if len(frame) * 8 != native.frame_bits():
        raise UnusablePixelData("A frame is not as long as its description says.")
    try:
        pixels = np.frombuffer(frame, dtype=_dtype(native))
        _require_bits(pixels, native)
        if native.samples > 1 and native.planar_configuration == 1:
            planes = pixels.reshape(native.samples, native.rows, native.columns)
            pixels = np.ascontiguousarray(planes.transpose(1, 2, 0))
        if target == transfer_syntax.JPEG_BASELINE:
            return _jpeg(pixels.tobytes(), native)
        options = {**_options(native), "planar_configuration": 0, "number_of_frames": 1}
        lock = _ONE_AT_A_TIME if target == transfer_syntax.JPEG_2000_LOSSLESS else nullcontext()
        with lock:
            encoded = get_encoder(target).encode(pixels.tobytes(), **options)
    except UnusablePixelData:
        raise
    except Exception as error:  # encoders of many origins raise whatever they like
        raise UnusablePixelData("A frame cannot be compressed.") from error
    return bytes(encoded)


def encoded_description(native: PixelDescription, target: str) -> PixelDescription:
    """How frames are described once they are compressed."""
    photometric = native.photometric_interpretation
    if target == transfer_syntax.JPEG_BASELINE and photometric == "RGB":
        photometric = "YBR_FULL_422"
    planar = 1 if target == transfer_syntax.RLE else 0
    return replace(
        native,
        transfer_syntax_uid=target,
        photometric_interpretation=photometric,
        planar_configuration=planar if native.samples > 1 else 0,
        vr="OB",
    )


def _dtype(native: PixelDescription) -> str:
    return f"<{'i' if native.pixel_representation else 'u'}{native.bits_allocated // 8}"


def _require_bits(pixels: Any, native: PixelDescription) -> None:
    """Refuse pixels that use more bits than are stored, overlays among them: they would be lost."""
    signed = native.pixel_representation == 1
    least = -(1 << native.bits_stored - 1) if signed else 0
    most = (1 << native.bits_stored - signed) - 1
    if pixels.size and not (least <= int(pixels.min()) and int(pixels.max()) <= most):
        raise UnusablePixelData("A frame uses bits that its description says are not stored.")


def _jpeg(pixels: bytes, native: PixelDescription) -> bytes:
    from PIL import Image

    mode = "L" if native.samples == 1 else "RGB"
    image = Image.frombytes(mode, (native.columns, native.rows), pixels)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=_JPEG_QUALITY, subsampling="4:2:2")
    return written.getvalue()

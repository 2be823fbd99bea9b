"""Decode one compressed frame, through pydicom's decoders (imported on first use)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from shared.dicom.frames import PixelDescription
from shared.errors import CorruptData

_MOST_PIXEL_BYTES: Final = 1024 * 1024 * 1024


@lru_cache(maxsize=64)
def _has_decoder(transfer_syntax_uid: str) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return bool(get_decoder(transfer_syntax_uid).is_available)
    except NotImplementedError:
        return False


def can_decode(pixels: PixelDescription) -> bool:
    """Whether frames of this transfer syntax can be decoded here."""
    return _has_decoder(pixels.transfer_syntax_uid)


def decode_frame(data: bytes, pixels: PixelDescription) -> bytes:
    """A frame as native pixels, little-endian, colour as it was compressed (PS3.5 8.2).

    Samples are by pixel or by plane as the planar configuration says (PS3.3 C.7.6.3.1.3).

    Raises
    ------
    CorruptData
        It cannot be decoded, or not into what its description says.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    if pixels.frame_bits() // 8 > _MOST_PIXEL_BYTES:
        raise CorruptData("The frame is too large to be decoded.")
    decoder = get_decoder(pixels.transfer_syntax_uid)
    options: dict[str, Any] = {
        "rows": pixels.rows,
        "columns": pixels.columns,
        "samples_per_pixel": pixels.samples,
        "bits_allocated": pixels.bits_allocated,
        "bits_stored": pixels.bits_stored,
        "pixel_representation": pixels.pixel_representation,
        "planar_configuration": pixels.planar_configuration,
        "photometric_interpretation": pixels.photometric_interpretation,
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    try:
        source = encapsulate([data], has_bot=False)
        # an array: only then are signs put right that JPEG-LS lacks and JPEG 2000 may lack, and
        # colours by pixel whatever the decoder gives
        array, _ = decoder.as_array(source, index=0, raw=True, **options)
        if pixels.samples > 1 and pixels.planar_configuration == 1:
            array = array.transpose(2, 0, 1)
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    except Exception as error:  # decoders of many origins raise whatever they like
        raise CorruptData("The frame cannot be decoded.") from error

"""From stored grey values to brightness: modality LUT, VOI LUT, presentation (PS3.3 C.11, C.7.6.3).

Tables and rescaling are pydicom's. Windows are calculated here, straight into the range 0 to 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from shared.dicom.frames import PixelDescription
from shared.render.header import functional
from shared.render.parameters import Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    Values: TypeAlias = NDArray[np.floating[Any]]


def brightness(
    stored: NDArray[Any], ds: Dataset, pixels: PixelDescription, number: int, window: Window | None
) -> Values:
    """Brightness from 0 to 1 of a frame of grey values.

    Parameters
    ----------
    stored : array (rows, columns)
        As in the file, bits that are not stored included.
    ds : Dataset
        The data set without its pixel data.
    pixels : PixelDescription
        How the frame is encoded.
    number : int
        Of the frame, from 1.
    window : Window or None
        Instead of what the data set says.

    References
    ----------
    PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2, C.7.5.1.1.2 (pixel padding).
    """
    import numpy as np

    values = _stored_bits(stored, ds, pixels)
    padding = _padding(values, ds)
    grey = _modality(values, ds, number)
    lut = None if window is not None else _voi_lut(grey, ds)
    if lut is not None:
        shown = lut
    else:
        chosen = window or _window_of(ds, number) or _whole_range(grey, padding, pixels)
        shown = _windowed(np.asarray(grey, dtype=np.float32), chosen)
    if _is_inverse(ds, pixels):
        shown = 1 - shown
    if padding is not None:
        shown = np.where(padding, np.float32(0), shown)
    return shown


def _stored_bits(values: NDArray[Any], ds: Dataset, pixels: PixelDescription) -> NDArray[Any]:
    """Integers without the bits that are not theirs: overlays may lie in them."""
    if values.dtype.kind == "f" or not 0 < pixels.bits_stored < pixels.bits_allocated:
        return values
    unused = pixels.bits_allocated - pixels.bits_stored
    high = ds.get("HighBit")
    left = pixels.bits_allocated - 1 - high if isinstance(high, int) else unused
    if not 0 <= left <= unused:
        left = unused
    return (values << left) >> unused


def _padding(values: NDArray[Any], ds: Dataset) -> NDArray[Any] | None:
    value = ds.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = ds.get("PixelPaddingRangeLimit")
    ends = sorted((value, limit if isinstance(limit, int) else value))
    found = (values >= ends[0]) & (values <= ends[1])
    return found if found.any() and not found.all() else None


def _modality(values: NDArray[Any], ds: Dataset, number: int) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_modality_lut

    own = functional(ds, number, "PixelValueTransformationSequence")
    return apply_modality_lut(values, own if own is not None else ds)


def _voi_lut(grey: NDArray[Any], ds: Dataset) -> Values | None:
    import numpy as np
    from pydicom.pixels.processing import apply_voi

    if not ds.get("VOILUTSequence") or (grey.dtype.kind == "f" and (grey % 1).any()):
        return None
    item = ds.VOILUTSequence[0]
    bits = item.LUTDescriptor[2]
    most = (1 << (bits if 8 <= bits <= 16 else 16)) - 1
    mapped = apply_voi(grey.astype(np.int64), ds)
    return np.clip(mapped.astype(np.float32) / most, 0, 1)


def _window_of(ds: Dataset, number: int) -> Window | None:
    """The first window that holds for the frame."""
    item = functional(ds, number, "FrameVOILUTSequence")
    source = item if item is not None else ds
    center, width = _first(source.get("WindowCenter")), _first(source.get("WindowWidth"))
    if center is None or width is None:
        return None
    function = str(source.get("VOILUTFunction") or "LINEAR").lower().replace("_", "-")
    if function not in ("linear-exact", "sigmoid"):
        function = "linear"
    return Window(center, width, function) if width >= (function == "linear") and width else None


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        return float(value[0] if hasattr(value, "__getitem__") else value)
    except (TypeError, ValueError, IndexError):
        return None


def _whole_range(
    grey: NDArray[Any], padding: NDArray[Any] | None, pixels: PixelDescription
) -> Window:
    """From the least to the largest value, those of padding apart."""
    import numpy as np

    if pixels.bits_allocated == 1:
        return Window(0.5, 1, "linear-exact")
    seen = grey if padding is None else grey[~padding]
    if seen.dtype.kind == "f":
        seen = seen[np.isfinite(seen)]
    least, most = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
    return Window((least + most) / 2, max(most - least, 1e-9), "linear-exact")


def _windowed(grey: Values, window: Window) -> Values:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, for an output range of 0 to 1."""
    import numpy as np

    center, width = window.center, window.width
    grey = np.nan_to_num(grey)
    if window.function == "sigmoid":
        power = np.clip(-4 * (grey - center) / width, -80, 80)
        curve: Values = 1 / (1 + np.exp(power))
        return curve
    if window.function == "linear":
        if width <= 1:
            return (grey > center - 0.5).astype(np.float32)
        center, width = center - 0.5, width - 1
    ramp: Values = np.clip((grey - center) / width + 0.5, 0, 1)
    return ramp


def _is_inverse(ds: Dataset, pixels: PixelDescription) -> bool:
    shape = ds.get("PresentationLUTShape")
    return pixels.photometric_interpretation == "MONOCHROME1" or shape == "INVERSE"

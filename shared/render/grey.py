"""From stored grey values to brightness: modality LUT, VOI LUT, presentation (PS3.3 C.11, C.7.6.3).

Tables and rescaling are pydicom's. Windows are calculated here, straight into the range 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from shared.dicom.frames import PixelDescription
from shared.render.header import functional
from shared.render.parameters import Window

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    Values: TypeAlias = NDArray[np.floating[Any]]

_STRIP_PIXELS: Final = 1 << 20


def grey_levels(
    stored: NDArray[Any], ds: Dataset, pixels: PixelDescription, number: int, window: Window | None
) -> NDArray[np.uint8]:
    """Brightness from 0 to 255 of a frame of grey values.

    Worked out in strips of rows: what is needed beside stored values and result does not grow
    with the frame.

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

    strips = _strips(stored)
    grey = _Grey(ds, pixels, number)
    grey.has_padding = grey.is_padded([stored[strip] for strip in strips])
    chosen = window
    if chosen is None and not grey.has_voi_lut(stored[strips[0]]):
        chosen = _window_of(ds, number) or grey.whole_range([stored[strip] for strip in strips])
    shown = np.empty(stored.shape, np.uint8)
    for strip in strips:
        shown[strip] = np.round(grey.brightness(stored[strip], chosen) * 255)
    return shown


def _strips(stored: NDArray[Any]) -> list[slice]:
    rows = max(1, _STRIP_PIXELS // max(1, stored.shape[1]))
    return [slice(at, at + rows) for at in range(0, stored.shape[0], rows)]


@dataclass(slots=True)
class _Grey:
    """What turns stored values of one frame into brightness."""

    ds: Dataset
    pixels: PixelDescription
    number: int
    has_padding: bool = False

    def values(self, stored: NDArray[Any]) -> NDArray[Any]:
        return _stored_bits(stored, self.ds, self.pixels)

    def is_padded(self, strips: list[NDArray[Any]]) -> bool:
        """Whether a part of the frame is padding, and not all of it."""
        ends = _padding_ends(self.ds)
        if ends is None:
            return False
        found = [_is_between(self.values(strip), ends) for strip in strips]
        return any(each.any() for each in found) and not all(each.all() for each in found)

    def padding(self, values: NDArray[Any]) -> NDArray[Any] | None:
        ends = _padding_ends(self.ds)
        return _is_between(values, ends) if self.has_padding and ends is not None else None

    def has_voi_lut(self, stored: NDArray[Any]) -> bool:
        """Whether its look-up table holds, which maps integers only."""
        if not self.ds.get("VOILUTSequence"):
            return False
        grey = _modality(self.values(stored), self.ds, self.number)
        return not (grey.dtype.kind == "f" and (grey % 1).any())

    def whole_range(self, strips: list[NDArray[Any]]) -> Window:
        """From the least to the largest value, those of padding apart."""
        import numpy as np

        if self.pixels.bits_allocated == 1:
            return Window(0.5, 1, "linear-exact")
        ends: list[float] = []
        for strip in strips:
            values = self.values(strip)
            grey, padding = _modality(values, self.ds, self.number), self.padding(values)
            seen = grey if padding is None else grey[~padding]
            if seen.dtype.kind == "f":
                seen = seen[np.isfinite(seen)]
            if seen.size:
                ends += [float(seen.min()), float(seen.max())]
        least, most = (min(ends), max(ends)) if ends else (0.0, 0.0)
        return Window((least + most) / 2, max(most - least, 1e-9), "linear-exact")

    def brightness(self, stored: NDArray[Any], window: Window | None) -> Values:
        """Brightness from 0 to 1; without a window by the look-up table."""
        import numpy as np

        values = self.values(stored)
        padding = self.padding(values)
        grey = _modality(values, self.ds, self.number)
        if window is None:
            shown = _through_voi_lut(grey, self.ds)
        else:
            shown = _windowed(np.asarray(grey, dtype=np.float32), window)
        if _is_inverse(self.ds, self.pixels):
            shown = 1 - shown
        return shown if padding is None else np.where(padding, np.float32(0), shown)


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


def _padding_ends(ds: Dataset) -> tuple[int, int] | None:
    value = ds.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = ds.get("PixelPaddingRangeLimit")
    other = limit if isinstance(limit, int) else value
    return min(value, other), max(value, other)


def _is_between(values: NDArray[Any], ends: tuple[int, int]) -> NDArray[Any]:
    found: NDArray[Any] = (values >= ends[0]) & (values <= ends[1])
    return found


def _modality(values: NDArray[Any], ds: Dataset, number: int) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_modality_lut

    own = functional(ds, number, "PixelValueTransformationSequence")
    return apply_modality_lut(values, own if own is not None else ds)


def _through_voi_lut(grey: NDArray[Any], ds: Dataset) -> Values:
    import numpy as np
    from pydicom.pixels.processing import apply_voi

    bits = ds.VOILUTSequence[0].LUTDescriptor[2]
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

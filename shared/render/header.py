"""What rendering has to know of a data set: read by pydicom, on a thread."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from shared.errors import UnusablePixelData

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def read_header(data: bytes, *, is_data_set: bool) -> Dataset:
    """The elements before the pixel data.

    Parameters
    ----------
    data : bytes
        A file, or a data set in explicit VR little endian, up to its pixel data.
    is_data_set : bool
        Whether ``data`` has no file meta information.
    """
    from pydicom import dcmread
    from pydicom.filereader import read_dataset

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if is_data_set:
                return read_dataset(
                    io.BytesIO(data), is_implicit_VR=False, is_little_endian=True,
                    stop_when=lambda tag, _vr, _length: tag >= 0x7FE00008,
                )  # fmt: skip
            return dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
    except Exception as error:  # pydicom raises whatever a malformed element makes it
        raise UnusablePixelData("The attributes of the image cannot be read.") from error


def functional(ds: Dataset, number: int, macro: str) -> Dataset | None:
    """The item of a functional group macro that holds for a frame (PS3.3 C.7.6.16)."""
    for groups, at in (
        (ds.get("PerFrameFunctionalGroupsSequence"), number - 1),
        (ds.get("SharedFunctionalGroupsSequence"), 0),
    ):
        if groups and at < len(groups):
            items = groups[at].get(macro)
            if items:
                item: Dataset = items[0]
                return item
    return None


def text(ds: Dataset, keyword: str) -> str:
    """A value for people; empty where there is none."""
    value: Any = ds.get(keyword)
    return "" if value is None else str(value)

"""Parameters of WADO-URI (PS3.18 9.1, 9.4)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.dicom import uid
from shared.errors import InvalidUid, MalformedQuery

DICOM: Final = "application/dicom"
_REQUIRED: Final = ("studyUID", "seriesUID", "objectUID")
_KNOWN: Final = frozenset(
    {
        "requesttype", "studyuid", "seriesuid", "objectuid", "contenttype", "charset", "anonymize",
        "annotation", "rows", "columns", "region", "windowcenter", "windowwidth", "framenumber",
        "imagequality", "presentationuid", "presentationseriesuid", "transfersyntax",
    }
)  # fmt: skip
_NOT_SUPPORTED: Final = ("anonymize", "presentationUID", "presentationSeriesUID")
_MOST_PIXELS: Final = 8192


@dataclass(frozen=True, slots=True)
class WadoUri:
    """A WADO-URI request.

    Parameters
    ----------
    study, series, instance : str
        Normalised UIDs.
    content_types : str or None
        In the form of ``Accept``.
    transfer_syntax : str or None
        For ``application/dicom``.
    frame : int
        From 1.
    rows, columns : int or None
        Most pixels of the picture.
    region : tuple of float or None
        Left, top, right and bottom of what is shown, from 0 to 1.
    window : tuple of float or None
        Center and width.
    quality : int or None
        1 to 100.
    annotations : str
        Comma list.
    """

    study: str
    series: str
    instance: str
    content_types: str | None = None
    transfer_syntax: str | None = None
    frame: int = 1
    rows: int | None = None
    columns: int | None = None
    region: tuple[float, float, float, float] | None = None
    window: tuple[float, float] | None = None
    quality: int | None = None
    annotations: str = ""


def parse_wado_uri(items: Iterable[tuple[str, str]]) -> WadoUri:
    """Read the query string of a WADO-URI request. Names are compared without case.

    Raises
    ------
    MalformedQuery, InvalidUid
        A parameter is missing, malformed, unknown or given twice; the message names it.

    References
    ----------
    PS3.18 9.1.2 (parameters), 9.4 (retrieve instance).
    """
    values: dict[str, str] = {}
    for name, value in items:
        lower = name.lower()
        if not lower:
            continue
        if lower not in _KNOWN:
            raise MalformedQuery(f"The parameter '{name[:50]}' is not known here.")
        if lower in values:
            raise MalformedQuery(f"The parameter {name[:50]} is given more than once.")
        values[lower] = value
    if values.get("requesttype", "").upper() != "WADO":
        raise MalformedQuery("requestType must be WADO.")
    for name in _NOT_SUPPORTED:
        if name.lower() in values and values[name.lower()].strip().lower() != "no":
            raise MalformedQuery(f"{name} is not supported.")
    study, series, instance = (_uid(name, values) for name in _REQUIRED)
    return WadoUri(
        study,
        series,
        instance,
        content_types=values.get("contenttype") or None,
        transfer_syntax=_syntax(values.get("transfersyntax")),
        frame=_whole("frameNumber", values, 2**31 - 1) or 1,
        rows=_whole("rows", values, _MOST_PIXELS),
        columns=_whole("columns", values, _MOST_PIXELS),
        region=_region(values.get("region")),
        window=_window(values),
        quality=_whole("imageQuality", values, 100),
        annotations=values.get("annotation", ""),
    )


def _uid(name: str, values: dict[str, str]) -> str:
    text = values.get(name.lower(), "")
    if not text:
        raise MalformedQuery(f"{name} is missing.")
    if not uid.is_valid(text):
        raise InvalidUid(f"{name} is not a valid UID.")
    return uid.normalised(text)


def _syntax(text: str | None) -> str | None:
    if text and text != "*" and not uid.is_valid(text):
        raise InvalidUid("transferSyntax is not a valid UID.")
    return text or None


def _whole(name: str, values: dict[str, str], most: int) -> int | None:
    text = values.get(name.lower())
    if text is None:
        return None
    word = text.strip()
    if not word.isascii() or not word.isdigit() or not 1 <= int(word[:12]) <= most:
        raise MalformedQuery(f"{name} must be a whole number from 1 to {most}.")
    return int(word)


def _numbers(name: str, text: str) -> list[float]:
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        raise MalformedQuery(f"{name} has something that is no number.") from None
    if not all(math.isfinite(number) and abs(number) < 1e12 for number in numbers):
        raise MalformedQuery(f"{name} has a number that is too large.")
    return numbers


def _region(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    numbers = _numbers("region", text)
    if len(numbers) != 4:
        raise MalformedQuery("region must be xmin,ymin,xmax,ymax.")
    left, top, right, bottom = numbers
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise MalformedQuery("region must lie within 0 and 1.")
    return left, top, right, bottom


def _window(values: dict[str, str]) -> tuple[float, float] | None:
    names = [name for name in ("windowcenter", "windowwidth") if name in values]
    if not names:
        return None
    if len(names) == 1:
        raise MalformedQuery("windowCenter and windowWidth must be given together.")
    [center], [width] = (
        _numbers(name, values[key])[:1] if "," not in values[key] else [math.nan]
        for name, key in (("windowCenter", "windowcenter"), ("windowWidth", "windowwidth"))
    )
    if math.isnan(center) or math.isnan(width) or width < 1:
        raise MalformedQuery("windowCenter and windowWidth must be one number each, width from 1.")
    return center, width

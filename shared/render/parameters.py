"""Rendering parameters of a query string (PS3.18 8.3.5)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.errors import MalformedQuery

MOST_VIEWPORT: Final = 8192
"""Largest width and height of a viewport, in pixels."""

THUMBNAIL: Final = (128, 128)
"""Viewport of a thumbnail if none is asked for, in pixels."""

FUNCTIONS: Final = ("linear", "linear-exact", "sigmoid")
ANNOTATIONS: Final = ("patient", "technique")
ICC_PROFILES: Final = ("no", "yes", "srgb")
_KNOWN: Final = frozenset(
    {"accept", "charset", "annotation", "quality", "viewport", "window", "iccprofile"}
)


@dataclass(frozen=True, slots=True)
class Window:
    """How grey values become brightness (PS3.3 C.11.2.1.2): ``function`` is one of FUNCTIONS."""

    center: float
    width: float
    function: str = "linear"


@dataclass(frozen=True, slots=True)
class Viewport:
    """What is shown, in pixels (PS3.18 8.3.5.1.3).

    ``width`` and ``height`` of the picture; ``x``, ``y``, ``across`` and ``down`` of the part of
    the image, where ``None`` is all of it and a negative size turns it round.
    """

    width: int
    height: int
    x: float = 0
    y: float = 0
    across: float | None = None
    down: float | None = None


@dataclass(frozen=True, slots=True)
class Rendering:
    """How an image is to be rendered.

    Parameters
    ----------
    quality : int
        Of a JPEG, 1 to 100.
    viewport : Viewport or None
        What is shown; all of it, pixel by pixel, if absent.
    window : Window or None
        Instead of what the file says.
    icc_profile : str
        One of ``ICC_PROFILES``.
    annotations : tuple of str
        Of ``ANNOTATIONS``.
    with_overlays : bool
        Whether overlays of the file are drawn.
    """

    quality: int = 100
    viewport: Viewport | None = None
    window: Window | None = None
    icc_profile: str = "no"
    annotations: tuple[str, ...] = ()
    with_overlays: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query string asks for; ``unsupported`` are annotations that are passed over."""

    rendering: Rendering
    accept: str | None = None
    unsupported: tuple[str, ...] = ()


def parse_rendering(items: Iterable[tuple[str, str]], *, thumbnail: bool = False) -> Asked:
    """Read the query string of a rendered resource, or of a thumbnail.

    Raises
    ------
    MalformedQuery
        A parameter is malformed, unknown or given twice; the message names it.

    References
    ----------
    PS3.18 8.3.5.1 (rendered), 8.3.5.2 (thumbnail: viewport of two numbers only).
    """
    values: dict[str, str] = {}
    for name, value in items:
        lower = name.lower()
        if not lower:
            continue
        if lower not in _KNOWN or (thumbnail and lower not in ("accept", "charset", "viewport")):
            raise MalformedQuery(f"The parameter '{name[:50]}' is not known here.")
        if lower in values:
            raise MalformedQuery(f"The parameter {lower} is given more than once.")
        values[lower] = value
    viewport = _viewport(values.get("viewport"))
    if thumbnail:
        if viewport is not None and viewport.across is not None:
            raise MalformedQuery("viewport of a thumbnail has a width and a height only.")
        rendering = Rendering(
            quality=80, viewport=viewport or Viewport(*THUMBNAIL), with_overlays=False
        )
        return Asked(rendering, values.get("accept"))
    annotations, unsupported = annotations_of(values.get("annotation", ""))
    rendering = Rendering(
        quality=_quality(values.get("quality")),
        viewport=viewport,
        window=_window(values.get("window")),
        icc_profile=_icc_profile(values.get("iccprofile")),
        annotations=annotations,
    )
    return Asked(rendering, values.get("accept"), unsupported)


def annotations_of(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The annotations of a comma list: those of ``ANNOTATIONS``, and the others."""
    words = [word.strip().lower() for word in text.split(",") if word.strip()]
    return (
        tuple(word for word in ANNOTATIONS if word in words),
        tuple(word[:30] for word in words if word not in ANNOTATIONS),
    )


def _quality(text: str | None) -> int:
    if text is None:
        return 100
    digits = text.strip()
    if (
        not digits.isascii()
        or not digits.isdigit()
        or len(digits) > 3
        or not 1 <= int(digits) <= 100
    ):
        raise MalformedQuery("quality must be a whole number from 1 to 100.")
    return int(digits)


def _icc_profile(text: str | None) -> str:
    if text is None:
        return "no"
    if text.strip().lower() not in ICC_PROFILES:
        raise MalformedQuery(f"iccprofile must be one of {', '.join(ICC_PROFILES)}.")
    return text.strip().lower()


def _window(text: str | None) -> Window | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if len(words) != 3:
        raise MalformedQuery("window must have a center, a width and a function.")
    center, width = (_number("window", word) for word in words[:2])
    function = words[2].lower().replace("_", "-")
    if function not in FUNCTIONS:
        raise MalformedQuery(f"The function of window must be one of {', '.join(FUNCTIONS)}.")
    if width < 1 if function == "linear" else width <= 0:
        raise MalformedQuery("The width of window is too small.")
    return Window(center, width, function)


def _viewport(text: str | None) -> Viewport | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if len(words) not in (2, 6):
        raise MalformedQuery("viewport must be vw,vh or vw,vh,sx,sy,sw,sh.")
    width, height = (_size(word) for word in words[:2])
    if len(words) == 2:
        return Viewport(width, height)
    x, y = (_number("viewport", word) if word else 0 for word in words[2:4])
    across, down = (_number("viewport", word) if word else None for word in words[4:])
    if x < 0 or y < 0 or across == 0 or down == 0:
        raise MalformedQuery("viewport must show a part of the image.")
    return Viewport(width, height, x, y, across, down)


def _size(word: str) -> int:
    number = _number("viewport", word)
    if not 1 <= number <= MOST_VIEWPORT or number != int(number):
        raise MalformedQuery(f"Width and height of viewport must be from 1 to {MOST_VIEWPORT}.")
    return int(number)


def _number(parameter: str, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise MalformedQuery(f"{parameter} has something that is no number.") from None
    if not math.isfinite(number) or abs(number) > 1e12:
        raise MalformedQuery(f"{parameter} has a number that is too large.")
    return number

"""``Range`` requests on bulk data (RFC 9110 14; PS3.18 8.4.4, 10.4.3)."""

from __future__ import annotations

import re

from shared.errors import RangeNotSatisfiable
from shared.ports import ByteSpan

_ONE = re.compile(r"[ \t]*+([0-9]*+)[ \t]*+-[ \t]*+([0-9]*+)[ \t]*+")
_MAX_DIGITS = 19  # more than any content has bytes


def requested_span(header: str | None, size: int) -> ByteSpan | None:
    """The bytes that a ``Range`` header asks for.

    Parameters
    ----------
    header : str or None
        The header. One range of bytes is honoured; several, another unit, and what breaks the
        syntax are ignored, which RFC 9110 14.2 allows.
    size : int
        Length of the whole content, in bytes.

    Returns
    -------
    ByteSpan or None
        ``None``: answer 200 with everything. Otherwise 206 with ``content_range``.

    Raises
    ------
    RangeNotSatisfiable
        The range begins after the end, or is a suffix of no bytes.

    References
    ----------
    RFC 9110 14.1.2, 14.2.
    """
    numbers = _numbers(header)
    if numbers is None:
        return None
    first, last = numbers
    if first is None:
        length = min(last or 0, size)
        if length == 0:
            raise RangeNotSatisfiable(size)
        return ByteSpan(size - length, length)
    if first >= size:
        raise RangeNotSatisfiable(size)
    end = size if last is None else min(last + 1, size)
    return ByteSpan(first, end - first)


def _numbers(header: str | None) -> tuple[int | None, int | None] | None:
    """First and last position of the one range; ``None`` for a header to be ignored."""
    if header is None:
        return None
    unit, equals, text = header.partition("=")
    match = _ONE.fullmatch(text)
    if unit.strip().lower() != "bytes" or not equals or match is None:
        return None
    if len(match[1]) > _MAX_DIGITS or len(match[2]) > _MAX_DIGITS or not (match[1] or match[2]):
        return None
    first = int(match[1]) if match[1] else None
    last = int(match[2]) if match[2] else None
    if first is not None and last is not None and last < first:
        return None
    return first, last


def range_applies(if_range: str | None, etag: str | None) -> bool:
    """Whether ``Range`` may be honoured: no ``If-Range``, or one that names this very version.

    Parameters
    ----------
    if_range : str or None
        The header. A date never matches: there is no ``Last-Modified`` to compare with.
    etag : str or None
        Of the current version, quoted.

    References
    ----------
    RFC 9110 13.1.5.
    """
    return if_range is None or (etag is not None and if_range.strip() == etag)


def content_range(span: ByteSpan, size: int) -> str:
    """The ``Content-Range`` header of a 206 (RFC 9110 14.4)."""
    return f"bytes {span.offset}-{span.end - 1}/{size}"

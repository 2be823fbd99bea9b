"""Parameters of query strings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from shared.errors import MalformedQuery

_WHOLE: Final = re.compile(r"[+-]?\d{1,40}", re.ASCII)


def whole_number(
    parameters: Mapping[str, str], name: str, usual: int, *, least: int, most: int
) -> int:
    """A whole number; ``usual`` if it is not given.

    Raises
    ------
    MalformedQuery
        It is none, or not from ``least`` to ``most``.
    """
    text = parameters.get(name)
    if text is None:
        return usual
    if not _WHOLE.fullmatch(text.strip()) or not least <= int(text) <= most:
        raise MalformedQuery(f"{name} must be a whole number from {least} to {most}.")
    return int(text)

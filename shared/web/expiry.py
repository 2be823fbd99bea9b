"""The headers by which a store says when its studies expire (spec dicomweb.md §2.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

from shared.errors import MalformedRequest

TIME = "msdicom-expiry-time-milliseconds"
OPTION = "msdicom-expiry-option"
LEVEL = "msdicom-expiry-level"

_LONGEST_MS = 1000 * 365 * 24 * 3600 * 1000
_ONLY = {OPTION: "RelativeToNow", LEVEL: "Study"}


def expires_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long after the store its studies expire; ``None``: they do not.

    Parameters
    ----------
    headers : Mapping[str, str]
        Of the request, found by their lower-case names.

    Raises
    ------
    MalformedRequest
        A header has a value that it may not have, or the time is missing; the header is named.
    """
    for name, value in _ONLY.items():
        given = headers.get(name)
        if given is not None and given.strip().lower() != value.lower():
            raise MalformedRequest(f"The only value of {name} is {value}.")
    time = headers.get(TIME)
    if time is None:
        given_names = [name for name in _ONLY if headers.get(name) is not None]
        if given_names:
            raise MalformedRequest(f"{given_names[0]} needs {TIME} beside it.")
        return None
    if re.fullmatch(r"[0-9]{1,18}", time.strip()) is None or not 0 < int(time) <= _LONGEST_MS:
        raise MalformedRequest(
            f"{TIME} must be a whole number of milliseconds from 1 to {_LONGEST_MS}."
        )
    return timedelta(milliseconds=int(time))

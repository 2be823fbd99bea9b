"""The one table from an error to its HTTP response.

References
----------
RFC 9110 15, PS3.18 8.5; spec dicomweb.md §1.2, §6.2, §6.3.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from shared import errors

TEXT: Final = "text/plain"
JSON: Final = "application/json"

STATUS: Final = MappingProxyType(
    {
        errors.BadRequest: 400,
        errors.InstanceRefused: 400,  # outside a store, whose answer lists instances one by one
        errors.NotAuthenticated: 401,
        errors.AccessDenied: 403,
        errors.NotFound: 404,
        errors.NotAcceptable: 406,
        errors.RequestTooSlow: 408,
        errors.StateConflict: 409,
        errors.Purged: 410,
        errors.PreconditionFailed: 412,
        errors.PayloadTooLarge: 413,
        errors.UnsupportedMediaType: 415,
        errors.RangeNotSatisfiable: 416,
        errors.CorruptData: 500,
        errors.Throttled: 503,
        errors.Unavailable: 503,
        errors.ServiceTrouble: 503,
    }
)
"""Status of each error; a class that is not here has that of its nearest base."""

_GENERIC = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """An error response.

    Parameters
    ----------
    status : int
        HTTP status.
    body : str
        May be empty.
    media_type : str or None
        Of the body, without ``charset``; ``None`` if the body is empty.
    headers : dict[str, str]
        Further headers.
    """

    status: int
    body: str = ""
    media_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


def status_of(error: Exception) -> int:
    """The HTTP status of an error: of the nearest class of its ``__mro__`` in ``STATUS``."""
    for cause in type(error).__mro__:
        if cause in STATUS:
            return STATUS[cause]
    return _GENERIC


def problem(error: Exception, correlation_id: str) -> Problem:
    """The response for an error.

    Parameters
    ----------
    error : Exception
        What was raised. Only errors raised on purpose are told to the client; of any other it
        learns the correlation id.
    correlation_id : str
        By which the log can be searched.
    """
    status = status_of(error)
    if status == _GENERIC:
        text = f"The service failed. Give this id when you report it: {correlation_id}"
        return Problem(status, text, TEXT)
    if isinstance(error, errors.UnsupportedApiVersion):
        return Problem(status, _unsupported_version(error), JSON)
    text = "" if isinstance(error, errors.RouteNotFound) else str(error)
    return Problem(status, text, TEXT if text else None, _headers(error))


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, errors.Throttled | errors.Unavailable):
        return {"Retry-After": str(_whole_seconds(error.retry_after_s))}
    if isinstance(error, errors.ServiceTrouble):
        return {"Retry-After": "5"}
    if isinstance(error, errors.NotAuthenticated):
        return {"WWW-Authenticate": error.challenge}
    if isinstance(error, errors.RangeNotSatisfiable):
        return {"Content-Range": f"bytes */{error.size}"}
    return {}


def _whole_seconds(seconds: float) -> int:
    """At least one, and at most a day, so that no upstream fault sends clients away for ever."""
    return max(1, math.ceil(min(seconds, 86_400)))


def _unsupported_version(error: errors.UnsupportedApiVersion) -> str:
    return json.dumps(
        {"error": {"code": "UnsupportedApiVersion", "message": str(error)}}, separators=(",", ":")
    )

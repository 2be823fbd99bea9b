"""What the SDKs raise, as the causes of ``shared.errors``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from shared.errors import Throttled, Unavailable

if TYPE_CHECKING:
    from azure.core.exceptions import HttpResponseError

_SLOW_DOWN = {429, 503}
_SERVER_ERROR = 500
_REQUEST_TIMEOUT = 408


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise ``Throttled`` or ``Unavailable`` for a store that does not answer as it should.

    Neither says that a write was not done: an answer may be lost, and what is told may be that of
    the SDK's second try.

    An answer that says no for a reason passes through: what it means depends on the call.
    """
    from azure.core.exceptions import AzureError, HttpResponseError

    try:
        yield
    except HttpResponseError as error:
        status = error.status_code
        if status in _SLOW_DOWN:
            raise Throttled(retry_after(headers_of(error))) from error
        if status is None or status == _REQUEST_TIMEOUT or status >= _SERVER_ERROR:
            raise Unavailable from error
        raise
    except AzureError as error:
        raise Unavailable from error


def headers_of(error: HttpResponseError) -> Mapping[str, str]:
    """Headers of the answer that an error stands for; none if there was no answer."""
    # errors of Cosmos DB carry the headers themselves
    own: Mapping[str, str] | None = getattr(error, "headers", None)
    return own or getattr(error.response, "headers", None) or {}


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait as a store's answer says it; 1 if it does not."""
    for name, unit in (("x-ms-retry-after-ms", 0.001), ("Retry-After", 1.0)):
        text = headers.get(name, "")
        try:
            return max(0.1, float(text) * unit)
        except ValueError:
            continue
    return 1.0

"""A small client of Azure's REST interfaces (Graph, Resource Manager): JSON, a token, retries.

No SDK has all that the hooks ask for, and each would be a package that they have to install.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from infra.hooks.azd import HookStopped

GRAPH = "https://graph.microsoft.com"
MANAGEMENT = "https://management.azure.com"
_RETRIES = 4
_LONGEST_PAUSE_S = 30.0
_TIMEOUT_S = 60.0
_BUSY = frozenset({429, 500, 502, 503, 504})


class Refused(Exception):
    """An interface answered with an error.

    Parameters
    ----------
    status : int
        Status code.
    code : str
        The code in its body, as ``Authorization_RequestDenied``.
    what : str
        Method and path.
    """

    def __init__(self, status: int, code: str, what: str) -> None:
        super().__init__(f"{what}: {status} {code}".rstrip())
        self.status = status
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Whether what was asked for is not there."""
        return self.status == httpx.codes.NOT_FOUND

    @property
    def lacks_rights(self) -> bool:
        """Whether the caller may not do it."""
        return self.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


class Rest:
    """One interface, as one caller sees it.

    Parameters
    ----------
    address : str
        Where it is, without a slash at the end.
    token : Callable
        Gives a token for it.
    pause : Callable
        Waits so many seconds.
    """

    def __init__(
        self,
        address: str,
        token: Callable[[], str],
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._token = token
        self.pause = pause
        self._http = httpx.Client(base_url=address, timeout=_TIMEOUT_S)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of an answer; ``None`` where it has none.

        Calls are repeated while the interface is busy, so they must be such as may be repeated.

        Raises
        ------
        Refused
            It answered with an error.
        HookStopped
            It did not answer.
        """
        what = f"{method} {path.partition('?')[0]}"
        sent = {"Authorization": f"Bearer {self._token()}", **(headers or {})}
        for attempt in range(_RETRIES + 1):
            try:
                answer = self._http.request(method, path, json=body, headers=sent)
            except httpx.TransportError as error:
                if attempt == _RETRIES:
                    raise HookStopped(
                        f"{self._http.base_url.host} does not answer ({type(error).__name__})."
                    ) from None
                self.pause(2.0**attempt)
                continue
            if answer.status_code in _BUSY and attempt < _RETRIES:
                self.pause(_asked_for(answer, 2.0**attempt))
                continue
            if answer.is_error:
                raise Refused(answer.status_code, _code(answer), what)
            return answer.json() if answer.content else None
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def find(self, path: str) -> Any:
        """What a path has, or ``None`` if there is nothing.

        Raises
        ------
        Refused
            It answered with another error.
        """
        try:
            return self.call("GET", path)
        except Refused as refused:
            if refused.is_missing:
                return None
            raise


def _asked_for(answer: httpx.Response, otherwise: float) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text) if text.isdigit() else otherwise, _LONGEST_PAUSE_S)


def _code(answer: httpx.Response) -> str:
    """The error's code; its message may repeat what was sent, so it is left alone."""
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""

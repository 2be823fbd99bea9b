"""The ``Fhir`` protocol over HTTP."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urljoin

from shared.cast.failures import Away, CastTrouble, Conflict, Refused
from shared.ports import JsonObject

if TYPE_CHECKING:
    import aiohttp

_JSON = "application/fhir+json"
_TIMEOUT_S = 60.0
_CONNECTIONS = 32
_MOST_ANSWER = 256 * 1024 * 1024
_PIECE = 1024 * 1024
_MOST_ISSUES = 5
_CONFLICTS = {409, 412}
_GONE = {404, 410}
_NOT_IMPLEMENTED = 501
_NOT_LET_IN = {401, 403}
_LATER = {408, 425, 429}
_SERVER_ERROR = 500
_OK = 300


class Token(Protocol):
    """Gives what to put into ``Authorization``; "" for nothing."""

    async def __call__(self) -> str:
        """The header.

        Raises
        ------
        Away
            There is no token to be had now.
        """
        ...


class FhirClient:
    """One FHIR server.

    Parameters
    ----------
    url : str
        Its base, without trailing slash.
    token : Token
        Signs in.
    """

    def __init__(self, url: str, token: Token) -> None:
        self._url = url
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def capabilities(self) -> JsonObject:
        """The CapabilityStatement."""
        found: JsonObject = await self._send("GET", f"{self._url}/metadata")
        return found

    async def search(
        self, kind: str, query: Sequence[tuple[str, str]], *, most: int
    ) -> list[JsonObject]:
        """See ``Fhir.search``."""
        found: list[JsonObject] = []
        page, after = await self.page(kind, query)
        while True:
            found += page
            if after is None or len(found) >= most:
                return found[:most]
            page, after = await self.page(kind, after=after)

    async def page(
        self, kind: str, query: Sequence[tuple[str, str]] = (), *, after: str | None = None
    ) -> tuple[list[JsonObject], str | None]:
        """A page of resources, and what gives the next one."""
        url = after or f"{self._url}/{kind}"
        bundle = await self._send("GET", url, params=list(query))
        if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
            raise Refused(f"The FHIR server's answer to a search of {kind} is no bundle")
        entries = [entry.get("resource", {}) for entry in bundle.get("entry") or []]
        links = {link.get("relation"): link.get("url") for link in bundle.get("link") or []}
        found = [one for one in entries if one.get("resourceType") == kind]
        following = links.get("next")
        if following is None:
            return found, None
        following = urljoin(f"{self._url}/", following)
        if not following.startswith(self._url):
            # the token must not be sent elsewhere
            raise Refused("The FHIR server's link to the next page leads to another server")
        return found, following

    async def transaction(self, bundle: JsonObject) -> Any:
        """See ``Fhir.transaction``."""
        return await self._send("POST", self._url, body=bundle)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(
        self,
        method: str,
        url: str,
        *,
        params: list[tuple[str, str]] | None = None,
        body: JsonObject | None = None,
    ) -> Any:
        import aiohttp
        from yarl import URL

        headers = {"Accept": _JSON}
        token = await self._token()
        if token:
            headers["Authorization"] = token
        data = None
        if body is not None:
            headers["Content-Type"] = _JSON
            written = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            data = io.BytesIO(written)  # in one piece, a large one would keep the loop
        text = bytearray()
        try:
            async with self._open().request(
                method,
                URL(url) if params else URL(url, encoded=True),
                params=params or None,
                data=data,
                headers=headers,
                allow_redirects=False,  # the token is for this server alone
            ) as answer:
                async for piece in answer.content.iter_chunked(_PIECE):
                    text += piece
                    if len(text) > _MOST_ANSWER:
                        raise Refused("The FHIR server's answer is too long")
                status, retry_after = answer.status, answer.headers.get("Retry-After")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # not "from error": its text may repeat what the server sent
            raise Away(f"The FHIR server does not answer: {type(error).__name__}") from None
        if status < _OK:
            return _parsed(text)
        raise _trouble(method, status, retry_after, _parsed(text, strict=False))

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
            )
        return self._session


def _parsed(text: bytes | bytearray, *, strict: bool = True) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        if strict:
            raise Refused("The FHIR server's answer is not JSON") from None
        return None


def _trouble(method: str, status: int, retry_after: str | None, outcome: Any) -> CastTrouble:
    """What an answer that is no success means (spec dicomcast.md §9)."""
    said = f"The FHIR server answers {method} with {status}{_issues(outcome)}"
    if status in _CONFLICTS or (status in _GONE and method == "POST"):
        return Conflict(said)
    if status == _NOT_IMPLEMENTED:
        return Refused(said)
    # of a search, "not found" means that the address is wrong
    if status in _NOT_LET_IN | _LATER | _GONE or status >= _SERVER_ERROR:
        seconds = retry_after.strip() if retry_after else ""
        return Away(said, float(seconds) if seconds.isdigit() else None)
    return Refused(said)


def _issues(outcome: Any) -> str:
    """Codes and places of an OperationOutcome. Its texts may repeat values, so they are left."""
    issues = outcome.get("issue") if isinstance(outcome, dict) else None
    if not isinstance(issues, list):
        return ""
    named = []
    for issue in issues[:_MOST_ISSUES]:
        if isinstance(issue, dict):
            places = issue.get("expression") or []
            named.append(" ".join([str(issue.get("code", "")), *map(str, places)]).strip())
    return f" ({'; '.join(named)})" if named else ""

"""Which pages of other origins may use the service from a browser (Fetch 3.2; spec §6.4).

No origin is let in unless a setting names it. Credentials of the browser's own (cookies) are
never asked for: callers sign in with ``Authorization``, which a page sets itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

EXPOSED = (
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "Warning",
    "WWW-Authenticate",
    "api-supported-versions",
    "erroneous-dicom-attributes",
    "x-correlation-id",
)
"""Headers of answers that a page may read, beside those that every page may."""

_ANY = "*"
_TOKENS = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z, \t-]{1,4096}")


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """The origins that are let in.

    Parameters
    ----------
    origins : frozenset of str
        As browsers send them, in lower case: ``https://viewer.example``. ``*`` lets in all.
    max_age_s : int
        Seconds for which a browser may keep the answer to a preflight.
    """

    origins: frozenset[str] = frozenset()
    max_age_s: int = 600

    @property
    def varies(self) -> bool:
        """Whether answers differ by the header ``Origin``, so that caches must know."""
        return bool(self.origins) and _ANY not in self.origins

    def allows(self, origin: str | None) -> bool:
        """Whether a page of this origin may read answers."""
        return origin is not None and (_ANY in self.origins or origin.lower() in self.origins)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Headers of every answer to a page; none for an origin that is not let in."""
        if origin is None or not self.allows(origin):
            return {}
        return {
            "Access-Control-Allow-Origin": _ANY if _ANY in self.origins else origin,
            "Access-Control-Expose-Headers": ", ".join(EXPOSED),
        }

    def preflight(
        self,
        origin: str | None,
        methods: Iterable[str],
        *,
        asked_headers: str | None,
        private_network: bool,
    ) -> dict[str, str]:
        """Further headers of the answer to a preflight.

        Parameters
        ----------
        origin : str or None
            The page's.
        methods : iterable of str
            What the resource has.
        asked_headers : str or None
            ``Access-Control-Request-Headers``; repeated, since ``*`` would not cover
            ``Authorization``.
        private_network : bool
            Whether a public page asks to reach a private network.
        """
        if not self.allows(origin):
            return {}
        found = {
            "Access-Control-Allow-Methods": ", ".join(methods),
            "Access-Control-Max-Age": str(self.max_age_s),
        }
        if asked_headers and _TOKENS.fullmatch(asked_headers):
            found["Access-Control-Allow-Headers"] = asked_headers
        if private_network:
            found["Access-Control-Allow-Private-Network"] = "true"
        return found

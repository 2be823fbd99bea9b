"""The keys that an issuer publishes, kept for a while (OpenID Connect Discovery 1.0, RFC 7517).

Keys are read when a token of the issuer is first seen. After an hour they are read anew beside
the requests that use them. A token that names an unknown key has them read at once, since the
issuer may have changed its key; but not more often than each half minute, so that nobody can
make us call the issuer at will. While the issuer is away, keys are used up to a day.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from shared.auth.issuers import Issuer, is_fetchable
from shared.auth.ports import Published
from shared.errors import Unavailable
from shared.ports import JsonObject

if TYPE_CHECKING:
    from jwt import PyJWK

_log = logging.getLogger("dicom.auth")

REFRESH_S = 3_600.0
STALE_S = 86_400.0
BETWEEN_S = 30.0
_AFTER_FAILURE_S = 5.0
_MOST_KEYS = 100
_LEAST_RSA_BITS = 2_048

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS: Mapping[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
}
"""The signatures that count, by type and curve of the key (RFC 7518 3.1). No ``none``, no HMAC."""


class IssuerKeys:
    """The keys of one issuer.

    Parameters
    ----------
    issuer : Issuer
        Whose.
    published : Published
        Reads them.
    now : Callable
        Seconds of a clock that only runs forward.
    """

    def __init__(
        self, issuer: Issuer, published: Published, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._published = published
        self._now = now
        self._keys: dict[str | None, dict[str, PyJWK]] | None = None
        self._read_at = 0.0
        self._next_read = 0.0
        self._next_forced = 0.0
        self._lock = asyncio.Lock()
        self._refreshing: asyncio.Task[bool] | None = None

    async def find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """The key of a signature, or ``None`` if the issuer has no such key.

        Raises
        ------
        Unavailable
            There are no keys that are fresh enough, and the issuer does not answer.
        """
        before = self._read_at
        age = self._now() - before
        if self._keys is None or age > STALE_S:
            if not await self._read(before) and self._too_old():
                raise Unavailable
        elif age > REFRESH_S and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.create_task(self._read(before))
        found = self.known(kid, algorithm)
        if found is not None or self._read_at > before:
            return found
        if self._now() >= self._next_forced:
            self._next_forced = self._now() + BETWEEN_S
            await self._read(before)
        elif self._lock.locked():
            async with self._lock:
                pass  # they are being read for another token
        return self.known(kid, algorithm)

    def known(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """The key, as far as is known. A token without ``kid`` means the only key there is."""
        keys = self._keys or {}
        if kid is None and len(keys) == 1:
            [kid] = keys
        return keys.get(kid, {}).get(algorithm)

    def _too_old(self) -> bool:
        return self._keys is None or self._now() - self._read_at > STALE_S

    async def _read(self, seen: float) -> bool:
        """Read the keys anew, unless another has since ``seen``. Whether they are there."""
        async with self._lock:
            if self._read_at > seen:
                return True
            if self._now() < self._next_read:
                return False
            try:
                keys = await self._fetch()
            except Unavailable:
                keys = {}
            if not keys:
                self._next_read = self._now() + _AFTER_FAILURE_S
                _log.warning("keys not read", extra={"issuer": self._issuer.authority})
                return False
            self._keys, self._read_at = keys, self._now()
            return True

    async def _fetch(self) -> dict[str | None, dict[str, PyJWK]]:
        metadata = await self._published.get(self._issuer.metadata_url)
        address = str(metadata.get("jwks_uri"))
        if metadata.get("issuer") not in self._issuer.names or not is_fetchable(address):
            return {}  # the metadata are another's (Discovery 4.3)
        found = (await self._published.get(address)).get("keys")
        return _usable(found if isinstance(found, list) else [])


def _usable(found: list[Any]) -> dict[str | None, dict[str, PyJWK]]:
    """The keys that can sign tokens, by id, then by algorithm."""
    keys: dict[str | None, dict[str, PyJWK]] = {}
    for jwk in found[:_MOST_KEYS]:
        if isinstance(jwk, dict) and jwk.get("use", "sig") == "sig" and "d" not in jwk:
            bound = _bound(jwk)
            if bound:
                kid = jwk.get("kid")
                keys[kid if isinstance(kid, str) else None] = bound
    return keys


def _bound(jwk: JsonObject) -> dict[str, PyJWK]:
    """A key bound to each algorithm that it may be used with."""
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    kind = str(jwk.get("kty"))
    curve = str(jwk.get("crv")) if kind == "EC" else None
    algorithms = ALGORITHMS.get((kind, curve), ())
    if "alg" in jwk:
        algorithms = tuple(one for one in algorithms if one == jwk["alg"])
    try:
        bound = {one: PyJWK(jwk, one) for one in algorithms}
    except (PyJWTError, ValueError, TypeError):
        return {}
    if kind == "RSA" and any(key.key.key_size < _LEAST_RSA_BITS for key in bound.values()):
        return {}
    return bound

"""Bearer tokens: whether one is valid, and whose it is (RFC 7519, RFC 8725, RFC 9068).

Signatures and times are checked by PyJWT, which azure-identity brings along and which is kept
up; finding and keeping keys is ours (``keys.py``), for its own client blocks.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.auth.issuers import Issuer
from shared.auth.keys import ALGORITHMS, IssuerKeys
from shared.auth.ports import Published
from shared.errors import NotAuthenticated
from shared.ports import JsonObject

if TYPE_CHECKING:
    from jwt import PyJWK

LEEWAY_S = 60
"""Seconds that clocks may differ."""

MOST_KEPT = 2_000
"""Tokens that are remembered; each takes some kilobytes."""
_MOST_CHARACTERS = 16_384
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_ALLOWED = frozenset(one for some in ALGORITHMS.values() for one in some)
_NOT_VALID = "The token is not valid."


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """What a valid token says. Whether it is for this tenant is for the caller to see.

    Parameters
    ----------
    issuer : Issuer
        Who issued it.
    claims : JsonObject
        Its claims.
    """

    issuer: Issuer
    claims: JsonObject

    @property
    def audiences(self) -> frozenset[str]:
        """For whom it is, without trailing slashes."""
        found = self.claims.get("aud")
        texts = found if isinstance(found, list) else [found]
        return frozenset(text.rstrip("/") for text in texts if isinstance(text, str))


@dataclass(frozen=True, slots=True)
class _Kept:
    token: VerifiedToken
    kid: str | None
    algorithm: str
    key: PyJWK
    expires: float


class Tokens:
    """Validates tokens. One that was valid is not verified again while its key is published.

    Parameters
    ----------
    published : Published
        Reads the keys of issuers.
    now : Callable
        Seconds of a clock that only runs forward, for the age of keys.
    """

    def __init__(self, published: Published, now: Callable[[], float] = time.monotonic) -> None:
        self._published = published
        self._now = now
        self._keys: dict[Issuer, IssuerKeys] = {}
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()

    async def verified(self, token: str, issuers: Mapping[str, Issuer]) -> VerifiedToken:
        """Check signature, issuer and times of a token.

        Parameters
        ----------
        token : str
            As in the header ``Authorization``.
        issuers : Mapping
            Those who are trusted, by what tokens say in ``iss``.

        Raises
        ------
        NotAuthenticated
            It is not valid; the message says why, as far as that helps an honest client.
        Unavailable
            The issuer's keys are not known, and it does not answer.
        """
        if len(token) > _MOST_CHARACTERS or _SHAPE.fullmatch(token) is None:
            raise NotAuthenticated(_NOT_VALID)
        digest = hashlib.sha256(token.encode("ascii")).digest()
        kept = self._kept.get(digest)
        if kept is not None and self._still_good(kept, issuers):
            return kept.token
        self._kept.pop(digest, None)
        kept = await self._verify(token, issuers)
        self._kept[digest] = kept
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return kept.token

    def _still_good(self, kept: _Kept, issuers: Mapping[str, Issuer]) -> bool:
        issuer = kept.token.issuer
        return (
            time.time() < kept.expires
            and issuers.get(kept.token.claims["iss"]) == issuer
            and self._keys[issuer].known(kept.kid, kept.algorithm) is kept.key
        )

    async def _verify(self, token: str, issuers: Mapping[str, Issuer]) -> _Kept:
        algorithm, kid = _header(token)
        issuer = issuers.get(_unverified_issuer(token))
        if issuer is None:
            raise NotAuthenticated("The token's issuer is not trusted.")
        keys = self._keys.setdefault(issuer, IssuerKeys(issuer, self._published, self._now))
        key = await keys.find(kid, algorithm)
        if key is None:
            raise NotAuthenticated(_NOT_VALID)
        claims = _claims(token, key, algorithm)
        _check_directory(claims, issuer)
        expires = float(claims["exp"]) + LEEWAY_S
        return _Kept(VerifiedToken(issuer, claims), kid, algorithm, key, expires)


def _header(token: str) -> tuple[str, str | None]:
    """Algorithm and key id; keys that the header itself brings or points to are not looked at."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise NotAuthenticated(_NOT_VALID) from None
    algorithm, kind = header.get("alg"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in _ALLOWED or "crit" in header:
        raise NotAuthenticated("The token's signature is of a kind that is not allowed.")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise NotAuthenticated("The token is no access token.")
    return algorithm, header.get("kid")


def _unverified_issuer(token: str) -> str:
    import jwt

    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError, OverflowError):
        raise NotAuthenticated(_NOT_VALID) from None
    return str(claims.get("iss"))


def _claims(token: str, key: PyJWK, algorithm: str) -> JsonObject:
    import jwt

    try:
        return dict(
            jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud"], "verify_aud": False},
            )
        )
    except jwt.ExpiredSignatureError:
        raise NotAuthenticated("The token has expired.") from None
    except jwt.ImmatureSignatureError:
        raise NotAuthenticated("The token is not valid yet.") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError, OverflowError):
        raise NotAuthenticated(_NOT_VALID) from None


def _check_directory(claims: JsonObject, issuer: Issuer) -> None:
    """What Entra ID's access tokens have, and its identity tokens lack."""
    if issuer.directory is None:
        return
    if str(claims.get("tid")).lower() != issuer.directory:
        raise NotAuthenticated(_NOT_VALID)
    if not (claims.get("azp") or claims.get("appid")):
        raise NotAuthenticated("The token is no access token.")

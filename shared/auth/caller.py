"""From a request's token to its tenant and caller (spec partitions-and-security.md §2, §3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.auth.access import OF_A_TENANT, Right
from shared.auth.directory import ACTIVE, DELETING, Directory
from shared.auth.ports import TenantRow
from shared.auth.roles import ANYBODY, Principal, Roles, grants_of, limited
from shared.auth.settings import TENANT, SignIn
from shared.auth.tokens import Tokens, VerifiedToken
from shared.errors import NotAllowed, NotAuthenticated, TenantNotFound
from shared.ports import JsonObject

_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_CLAIMS = ("iss", "tid", "sub", "oid", "appid", "azp", "client_id", "roles", "scp")
"""What the audit log says of a caller: no claim that names a person."""

_SCOPES: Mapping[str, frozenset[Right]] = {
    "Dicom.ReadWrite": OF_A_TENANT | {Right.TENANTS},
    "Dicom.Read": frozenset({Right.READ}),
}
"""What a user may let an app do on the user's behalf (``scp``)."""

_MOST_CLAIM = 256
_QUOTABLE = re.compile(r"[a-z0-9-]{1,63}")


class Door:
    """Decides who comes in.

    Parameters
    ----------
    sign_in : SignIn
        The settings.
    directory : Directory
        The tenants.
    tokens : Tokens
        Validates tokens.
    """

    def __init__(self, sign_in: SignIn, directory: Directory, tokens: Tokens) -> None:
        self._sign_in = sign_in
        self._directory = directory
        self._tokens = tokens

    async def to_tenant(
        self, tenant: str, authorization: str | None
    ) -> tuple[TenantRow, Principal]:
        """Let a caller in to a tenant. What the caller may do there is in the principal.

        Parameters
        ----------
        tenant : str
            As the address names it.
        authorization : str or None
            The header.

        Raises
        ------
        NotAuthenticated
            No valid token, or one that is for nobody here.
        TenantNotFound
            No such tenant, or the token is for another: they look the same.
        NotAllowed
            The tenant is suspended.
        """
        row = await self._directory.row(tenant)
        if row is not None and row.state == DELETING:
            row = None
        principal = ANYBODY
        if self._sign_in.required:
            token = await self._verified(tenant, authorization)
            trust = None if row is None else await self._directory.trust(tenant)
            if trust is None or not trust.accepts(token):
                if not await self._directory.knows(token):
                    raise self._refused("The token is not for this service.", tenant)
                row = None
            principal = _principal(token, self._sign_in, self._sign_in.roles)
        if row is None:
            raise TenantNotFound("There is no such service.")
        if row.state != ACTIVE:
            raise NotAllowed("The service is suspended.")
        return row, principal

    async def to_service(self, authorization: str | None) -> Principal:
        """Let an administrator in to the service as a whole.

        Raises
        ------
        NotAuthenticated
            No valid token of the service's own issuers and audience.
        """
        if not self._sign_in.required:
            return ANYBODY
        token = await self._verified(None, authorization)
        audiences = {one.rstrip("/") for one in self._sign_in.admin_audiences}
        if token.issuer not in self._sign_in.issuers or not audiences & token.audiences:
            raise self._refused("The token is not for this service.", None)
        return _principal(token, self._sign_in, self._sign_in.admin_roles)

    async def _verified(self, tenant: str | None, authorization: str | None) -> VerifiedToken:
        found = _BEARER.fullmatch(authorization or "")
        if found is None:
            raise NotAuthenticated("A bearer token is needed.", self._challenge(tenant))
        try:
            return await self._tokens.verified(found[1], await self._directory.issuers())
        except NotAuthenticated as error:
            raise self._refused(str(error), tenant) from None

    def _refused(self, message: str, tenant: str | None) -> NotAuthenticated:
        challenge = f'{self._challenge(tenant)}, error="invalid_token"'
        return NotAuthenticated(message, challenge)

    def _challenge(self, tenant: str | None) -> str:
        """``WWW-Authenticate``; made of settings and the address alone, so it tells no tenant."""
        authority = self._sign_in.issuers[0].authority if self._sign_in.issuers else ""
        audience = next(iter(self._sign_in.admin_audiences), "")
        if tenant is not None and _QUOTABLE.fullmatch(tenant) and self._sign_in.audiences:
            audience = self._sign_in.audiences[0].replace(TENANT, tenant)
        return (
            f'Bearer authorization_uri="{authority}", resource_id="{audience}", realm="{audience}"'
        )


def _principal(token: VerifiedToken, sign_in: SignIn, roles: Roles) -> Principal:
    """The caller. A token that a user lent to an app allows what both may."""
    claims = token.claims
    grants = grants_of(_texts(claims.get(sign_in.roles_claim)), roles)
    if "scp" in claims:
        scopes = [_SCOPES.get(scope.rpartition("/")[2]) for scope in _scopes(claims)]
        allowed: frozenset[Right] = frozenset().union(*(one for one in scopes if one))
        grants = limited(grants, allowed)
    return Principal(_shown(claims), grants)


def _scopes(claims: JsonObject) -> list[str]:
    return [scope for text in _texts(claims["scp"]) for scope in text.split()]


def _texts(value: Any) -> list[str]:
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, str)]


def _shown(claims: JsonObject) -> dict[str, str]:
    return {
        name: " ".join(_texts(claims[name]))[:_MOST_CLAIM]
        for name in _CLAIMS
        if _texts(claims.get(name))
    }

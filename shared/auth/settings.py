"""The settings of sign-in, read by ``shared.config``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.auth.access import OF_A_TENANT, Right
from shared.auth.issuers import Issuer, parse_issuer
from shared.auth.roles import Grant, Roles, RolesInvalid, parse_roles

TENANT = "{tenant}"
"""In an audience: the tenant's name."""

_OWNERS = ("DICOM Data Owner", "Dicom.DataOwner")  # app roles of Entra ID have no spaces
_READERS = ("DICOM Data Reader", "Dicom.DataReader")
_ADMINISTRATORS = ("Dicom.ServiceAdministrator",)


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who may issue tokens, for whom, and what the roles in them allow.

    Parameters
    ----------
    required : bool
        Whether callers must sign in.
    issuers : tuple of Issuer
        Of the service, and of each tenant to which the registry gives none of its own.
    audiences : tuple of str
        Of each tenant to which the registry gives none, with ``{tenant}`` for its name.
    admin_audiences : tuple of str
        Of tokens that may administer the service.
    roles : Mapping
        What each role name allows in a tenant.
    admin_roles : Mapping
        What each role name allows in the service as a whole.
    roles_claim : str
        The claim that names the caller's roles.
    """

    required: bool = True
    issuers: tuple[Issuer, ...] = ()
    audiences: tuple[str, ...] = ()
    admin_audiences: tuple[str, ...] = ()
    roles: Roles = field(default_factory=dict)
    admin_roles: Roles = field(default_factory=dict)
    roles_claim: str = "roles"

    def audiences_of(self, tenant: str) -> frozenset[str]:
        """The audiences of a tenant that has none of its own, without trailing slashes."""
        return frozenset(one.replace(TENANT, tenant).rstrip("/") for one in self.audiences)


def load_sign_in(
    environment: Mapping[str, str], public_base_url: str, tenants: tuple[str, ...]
) -> SignIn:
    """Read the settings.

    Raises
    ------
    ValueError
        One is absent or malformed; the message names it.
    """
    mode = environment.get("DICOM_SIGN_IN") or "required"
    if mode not in ("required", "off"):
        raise ValueError("DICOM_SIGN_IN must be required or off")
    issuers = tuple(_issuer(text) for text in _list(environment, "DICOM_ISSUERS"))
    if mode == "required" and not issuers:
        raise ValueError(
            "DICOM_ISSUERS is missing: whose tokens are trusted, as "
            "https://login.microsoftonline.com/<directory>. Only on a machine that nobody else "
            "reaches may DICOM_SIGN_IN=off take its place"
        )
    audiences = _list(environment, "DICOM_AUDIENCE") or (f"{public_base_url}/{TENANT}",)
    if len(tenants) > 1 and not all(TENANT in one for one in audiences):
        raise ValueError(
            f"DICOM_AUDIENCE must contain {TENANT} if there are several tenants: a token of one "
            "would open all"
        )
    return SignIn(
        required=mode == "required",
        issuers=issuers,
        audiences=audiences,
        admin_audiences=_list(environment, "DICOM_ADMIN_AUDIENCE") or (public_base_url,),
        roles=_roles(environment),
        admin_roles=_named(
            environment, "DICOM_ADMIN_ROLES", _ADMINISTRATORS, frozenset({Right.TENANTS})
        ),
        roles_claim=environment.get("DICOM_ROLES_CLAIM") or "roles",
    )


def _roles(environment: Mapping[str, str]) -> Roles:
    roles = _named(environment, "DICOM_READER_ROLES", _READERS, frozenset({Right.READ}))
    roles |= _named(environment, "DICOM_OWNER_ROLES", _OWNERS, OF_A_TENANT)
    file = environment.get("DICOM_ROLES_FILE")
    if not file:
        return roles
    try:
        return roles | parse_roles(Path(file).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, RolesInvalid) as error:
        raise ValueError(f"DICOM_ROLES_FILE cannot be used: {error}") from None


def _named(
    environment: Mapping[str, str], name: str, default: tuple[str, ...], rights: frozenset[Right]
) -> dict[str, tuple[Grant, ...]]:
    names = _list(environment, name, separators=",") or default
    return {one: (Grant(rights),) for one in names}


def _issuer(text: str) -> Issuer:
    try:
        return parse_issuer(text)
    except ValueError as error:
        raise ValueError(f"DICOM_ISSUERS: {error}") from None


def _list(environment: Mapping[str, str], name: str, separators: str = ", ") -> tuple[str, ...]:
    text = environment.get(name, "")
    if " " in separators:
        text = text.replace(" ", ",")
    return tuple(word.strip() for word in text.split(",") if word.strip())

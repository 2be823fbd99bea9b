"""Roles: what a caller's role names allow (spec partitions-and-security.md §3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.auth.access import OF_A_TENANT, Access, Right

_NAME = re.compile(r"[a-zA-Z_-]+")
_SCOPE = re.compile(r"/(?:partitions/(?P<partition>[A-Za-z0-9._-]{1,64}))?")
_MEMBERS = {"name", "dataActions", "notDataActions", "scopes"}
_EVERY = "*"
_RIGHTS = {right.value: frozenset({right}) for right in OF_A_TENANT} | {_EVERY: OF_A_TENANT}


class RolesInvalid(Exception):
    """A roles file breaks its rules; the message says which and where."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Rights, in one data partition or in all.

    Parameters
    ----------
    rights : frozenset of Right
        What is allowed.
    partition : str or None
        The partition, in the form by which names are compared; ``None``: the whole tenant.
    """

    rights: frozenset[Right]
    partition: str | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller who is known, and what the caller may do.

    Parameters
    ----------
    claims : Mapping
        What the audit log says of the caller: identifiers, never names.
    grants : tuple of Grant
        The union of them counts.
    """

    claims: Mapping[str, str]
    grants: tuple[Grant, ...] = field(repr=False)

    def may(self, access: Access, partition: str | None) -> bool:
        """Whether the caller may call a function.

        Parameters
        ----------
        access : Access
            The function's row.
        partition : str or None
            The data partition that it works on, folded; ``None``: the tenant as a whole, for
            which a right in one partition does not suffice.
        """
        return any(
            grant.rights & access.rights
            for grant in self.grants
            if grant.partition is None or grant.partition == partition
        )


ANYBODY = Principal({}, (Grant(frozenset(Right)),))
"""The caller where sign-in is off."""

Roles = Mapping[str, tuple[Grant, ...]]
"""What each role name allows."""


def grants_of(names: Iterable[str], roles: Roles) -> tuple[Grant, ...]:
    """What a caller's roles allow. Names that are no role allow nothing."""
    return tuple(grant for name in dict.fromkeys(names) for grant in roles.get(name, ()))


def limited(grants: Iterable[Grant], rights: frozenset[Right]) -> tuple[Grant, ...]:
    """The part of grants that is within ``rights``, as of a token of limited scope."""
    return tuple(Grant(grant.rights & rights, grant.partition) for grant in grants)


def parse_roles(text: str) -> dict[str, tuple[Grant, ...]]:
    """Read a roles file: a list of roles, or an object with the member ``roles``.

    A role's rights are its ``dataActions`` without its ``notDataActions``, in each of its
    ``scopes``: ``/`` or ``/partitions/{partition}``.

    Raises
    ------
    RolesInvalid
        It breaks the rules.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RolesInvalid(f"it is not JSON ({type(error).__name__})") from None
    if isinstance(found, dict):
        found = found.get("roles")
    if not isinstance(found, list):
        raise RolesInvalid("it must hold a list of roles")
    roles: dict[str, tuple[Grant, ...]] = {}
    for number, role in enumerate(found, 1):
        if not isinstance(role, dict) or role.keys() - _MEMBERS:
            raise RolesInvalid(f"role {number} must have the members {', '.join(sorted(_MEMBERS))}")
        name = role.get("name")
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise RolesInvalid(f"role {number}: the name must consist of letters, '-' and '_'")
        if name in roles:
            raise RolesInvalid(f"role {name} is there twice")
        roles[name] = _grants(name, role)
    return roles


def _grants(name: str, role: dict[str, Any]) -> tuple[Grant, ...]:
    allowed = _rights(name, role, "dataActions")
    if not allowed:
        raise RolesInvalid(f"role {name}: dataActions must name an action")
    rights = allowed - _rights(name, role, "notDataActions")
    scopes = _texts(name, role, "scopes")
    if not scopes:
        raise RolesInvalid(f"role {name}: scopes must name a scope")
    grants = []
    for scope in scopes:
        fits = _SCOPE.fullmatch(scope)
        if fits is None:
            raise RolesInvalid(f"role {name}: a scope is '/' or '/partitions/' and a partition")
        partition = fits["partition"]
        grants.append(Grant(rights, None if partition is None else partition.lower()))
    return tuple(grants)


def _rights(name: str, role: dict[str, Any], member: str) -> frozenset[Right]:
    rights: frozenset[Right] = frozenset()
    for action in _texts(name, role, member):
        if action not in _RIGHTS:
            known = ", ".join(sorted(_RIGHTS))
            raise RolesInvalid(f"role {name}: {member} has an action that is none of {known}")
        rights |= _RIGHTS[action]
    return rights


def _texts(name: str, role: dict[str, Any], member: str) -> list[str]:
    found = role.get(member, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise RolesInvalid(f"role {name}: {member} must be a list of texts")
    return found

"""Which containers an export may go to: hosts that the operator allows, and never our own store.

The address is the caller's, the connection is ours: without these rules a caller could make the
service talk to whatever the service reaches. A host that the setting names in full may have a
private address (a private endpoint, Azurite); one that only fits a pattern may not. That is
looked at when the connection is made (``shared.adapters.azure.destinations``).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from shared.errors import DestinationUnusable, MalformedRequest

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CONTAINER = re.compile(r"[a-z0-9](-?[a-z0-9]){2,62}")
_PARAMETER = re.compile(r"[a-z]{1,12}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_HTTPS_PORT = 443
# of service, account and user delegation signatures
_SAS_PARAMETERS = frozenset(
    {
        *("sv", "ss", "srt", "st", "se", "sp", "sip", "spr", "sig", "si", "sr", "sdd", "skoid"),
        *("sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "ses", "sduoid"),
        "skdutid",
    }
)
_MOST_ADDRESS = 4096


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Hosts of ``DICOM_EXPORT_HOSTS``: ``name``, ``name:port``, or ``*.suffix`` for one label."""

    patterns: tuple[str, ...]

    def allows(self, host: str, port: int | None) -> bool:
        """Whether a host is named or fits."""
        return self.names(host, port) or (
            port in (None, _HTTPS_PORT) and f"*.{host.partition('.')[2]}" in self.patterns
        )

    def names(self, host: str, port: int | None) -> bool:
        """Whether a host is named in full."""
        if f"{host}:{port or _HTTPS_PORT}" in self.patterns:
            return True
        return host in self.patterns and (port in (None, _HTTPS_PORT) or host in _LOOPBACK)


def container_address(text: str, hosts: AllowedHosts) -> tuple[str, str, bool]:
    """Take the address of a container apart.

    Parameters
    ----------
    text : str
        ``https://{account}.{suffix}/{container}[?{signature}]``; on this machine
        ``http://127.0.0.1:{port}/{account}/{container}``.
    hosts : AllowedHosts
        Where it may lie.

    Returns
    -------
    tuple of (str, str, bool)
        The address without query; the signature, empty if there is none; whether the host may
        have a private address.

    Raises
    ------
    MalformedRequest
        It is no such address. The message repeats nothing of it: it may hold a signature.
    DestinationUnusable
        The host is not allowed.
    """
    parts, port = _parts(text)
    host = (parts.hostname or "").lower()
    if not hosts.allows(host, port):
        raise DestinationUnusable("blobContainerUri: the service is not set up to export there.")
    local = host in _LOOPBACK
    if parts.scheme != "https" and not local:
        raise MalformedRequest("blobContainerUri: the scheme must be https.")
    path = parts.path.removesuffix("/")
    *accounts, container = path.removeprefix("/").split("/")
    by_path = local or _is_ip(host)
    if (
        len(accounts) != (1 if by_path else 0)
        or not all(_ACCOUNT.fullmatch(account) for account in accounts)
        or not _CONTAINER.fullmatch(container)
    ):
        raise MalformedRequest("blobContainerUri must be the address of a blob container.")
    where = f"[{host}]" if ":" in host else host
    shown_port = f":{port}" if port is not None else ""
    return (
        f"{parts.scheme}://{where}{shown_port}{path}",
        signature("blobContainerUri", parts.query) if parts.query else "",
        hosts.names(host, port),
    )


def _parts(text: str) -> tuple[SplitResult, int | None]:
    wrong = MalformedRequest("blobContainerUri must be the address of a blob container.")
    if len(text) > _MOST_ADDRESS or not text.isascii() or not text.isprintable() or " " in text:
        raise wrong
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise wrong from None
    named = _HOST.fullmatch(host) or _is_ip(host)
    if parts.scheme not in ("http", "https") or not named or "\\" in text:
        raise wrong
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise wrong
    return parts, port


def signature(culprit: str, query: str) -> str:
    """A shared access signature, if it is one.

    Raises
    ------
    MalformedRequest
        It is not; the message names the first foreign parameter, and no value.
    """
    items = parse_qsl(query, keep_blank_values=True)
    values = dict(items)
    foreign = [name for name in values if name not in _SAS_PARAMETERS]
    if foreign or not values.get("sig") or len(values) != len(items):
        named = bool(foreign) and _PARAMETER.fullmatch(foreign[0])  # else it may be a secret itself
        what = f"the parameter '{foreign[0]}'" if named else "the query string"
        raise MalformedRequest(f"{culprit}: {what} is not of a shared access signature.")
    return query


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def may_connect(address: str, *, private: bool) -> bool:
    """Whether a connection to an IP address may be made; see the module."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None)
    found = mapped or found
    if found.is_link_local or found.is_multicast or found.is_unspecified:
        return False
    return private or (found.is_global and not found.is_reserved)


@dataclass(frozen=True, slots=True)
class OwnStore:
    """Where the service's own data lie: no export goes there.

    Parameters
    ----------
    account_address : str
        Address of the account's blob service.
    containers : Callable
        Names of the tenants' containers.
    """

    account_address: str
    containers: Callable[[], Awaitable[frozenset[str]]]

    async def is_shared(self) -> bool:
        """Whether the service has more than one tenant."""
        return len(await self.containers()) > 1

    async def holds(self, account_address: str, container: str, *, identity: bool) -> bool:
        """Whether a container is off limits: a tenant's, or one entered with our own rights."""
        if _account(account_address) != _account(self.account_address):
            return False
        return identity or container in await self.containers()


def _account(address: str) -> tuple[str, int | None, str]:
    parts = urlsplit(address)
    host = (parts.hostname or "").lower()
    port = None if parts.port == _HTTPS_PORT else parts.port
    return "loopback" if host in _LOOPBACK else host, port, parts.path.strip("/")

"""Issuers of tokens: their names, and where they publish their keys.

References
----------
OpenID Connect Discovery 1.0 4; spec partitions-and-security.md §2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_GUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ENTRA = re.compile(
    rf"https://(?P<host>[a-z.]+)/(?P<directory>{_GUID}|common|organizations|consumers)"
    r"(?:/(?:v2\.0/?)?)?"
)
_V1_NAMES = {
    "login.microsoftonline.com": "sts.windows.net",
    "login.microsoftonline.us": "sts.windows.net",
    "login.partner.microsoftonline.cn": "sts.chinacloudapi.cn",
}
"""Hosts of Entra ID, each with the host that names the issuer in tokens of version 1."""
_V1_HOSTS = {"sts.windows.net": "login.microsoftonline.com"} | {
    "sts.chinacloudapi.cn": "login.partner.microsoftonline.cn"
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who may issue tokens.

    Parameters
    ----------
    authority : str
        Where a client signs in, for ``WWW-Authenticate``.
    names : frozenset of str
        What tokens say in ``iss``. A directory of Entra ID has two, for either version of tokens.
    metadata_url : str
        Where its metadata are.
    directory : str or None
        Id of the directory of Entra ID, lower case, which ``tid`` must repeat; ``None`` for any
        other issuer.
    """

    authority: str
    names: frozenset[str]
    metadata_url: str
    directory: str | None = None


def parse_issuer(text: str) -> Issuer:
    """An issuer by its address.

    Raises
    ------
    ValueError
        It is none; the message says why.
    """
    parts = urlsplit(text)
    if not is_fetchable(text) or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is no issuer: it must begin with https:// and have no query")
    host = parts.hostname or ""
    if host in _V1_NAMES or host in _V1_HOSTS:
        return _directory(text, _V1_HOSTS.get(host, host))
    metadata_url = f"{text.rstrip('/')}/.well-known/openid-configuration"
    return Issuer(text, frozenset({text}), metadata_url)


def _directory(text: str, host: str) -> Issuer:
    found = _ENTRA.fullmatch(text)
    if found is None or "-" not in found["directory"]:
        raise ValueError(
            f"{text!r} is no issuer: a directory of Entra ID is https://{host}/ and its GUID"
        )
    directory = found["directory"].lower()
    authority = f"https://{host}/{directory}"
    return Issuer(
        authority,
        frozenset({f"{authority}/v2.0", f"https://{_V1_NAMES[host]}/{directory}/"}),
        f"{authority}/v2.0/.well-known/openid-configuration",
        directory,
    )


def is_fetchable(url: str) -> bool:
    """Whether keys may be read from there: over HTTPS, or from this machine."""
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return False
    if parts.username is not None or not parts.hostname or not port_fits:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)

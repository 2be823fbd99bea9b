"""Entity tags and ``If-None-Match`` (RFC 9110 8.8.3, 13.1.2; spec dicomweb.md §3.6)."""

from __future__ import annotations

import re

_MEMBER = re.compile(r'(?:[^",]++|"[^"]*+"?)++')


def entity_tag(value: str, *, weak: bool = False) -> str:
    """An ETag, quoted.

    Parameters
    ----------
    value : str
        Printable ASCII without quotation marks.
    weak : bool
        The same content may come in other bytes: a multipart body has another boundary each time.

    References
    ----------
    RFC 9110 8.8.3.
    """
    if not value.isascii() or not value.isprintable() or '"' in value:
        raise ValueError("an entity tag is printable ASCII without quotation marks")
    return f'W/"{value}"' if weak else f'"{value}"'


def not_modified(if_none_match: str | None, etag: str) -> bool:
    """Whether the client already has this version, so that the answer is 304.

    Parameters
    ----------
    if_none_match : str or None
        The header: ``*``, or a list of entity tags. ``W/`` is passed over, the comparison is the
        weak one. Tags without quotation marks, in which the Azure service sends its own, are
        taken, and case is ignored as it does there.
    etag : str
        Of the current version, as ``entity_tag`` gave it.

    References
    ----------
    RFC 9110 13.1.2, 8.8.3.2.
    """
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return any(_opaque(member[0]) == _opaque(etag) for member in _MEMBER.finditer(if_none_match))


def _opaque(tag: str) -> str:
    """What is compared: the tag without ``W/`` and quotation marks."""
    tag = tag.strip(" \t")
    if tag[:2] in ("W/", "w/"):
        tag = tag[2:]
    if len(tag) >= 2 and tag[0] == tag[-1] == '"':
        tag = tag[1:-1]
    return tag.casefold()

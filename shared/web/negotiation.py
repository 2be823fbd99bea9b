"""Which representation of instances, frames and bulk data to send (spec dicomweb.md §3.2).

A client's ``Accept`` is matched against *offers*; what comes out is a list of *choices*, best
first. Negotiation needs no stored instance, so that a request that nothing can satisfy is 406
before it is 404. Which choice is sent depends on the transfer syntax that is stored: the first
one for which ``Choice.syntax_for`` finds a way.

Decisions where PS3.18 and the Azure service leave room:

- No ``Accept`` is ``*/*``; ``*/*`` is answered with the resource's first offer, as stored.
- Of ranges that cover an offer, more specific ones override; ``q=0`` excludes.
- At the same ``q``, an explicit ``transfer-syntax=*`` goes before others, as in the Azure
  service, then a named type before a wildcard, then the client's order, then ours.
- A type of compressed frames (``image/jpeg``) without transfer syntax takes any syntax of that
  type as stored; the default of the type is only what to convert to.

References
----------
PS3.18 8.7.3, 8.7.8, 10.4.4; RFC 9110 12.5.1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from shared.errors import NotAcceptable
from shared.web.media_types import (
    DICOM,
    MULTIPART,
    OCTET_STREAM,
    ZIP,
    MediaType,
    parse_accept,
    specificity,
)

AS_STORED: Final = "*"
EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_JPEG: Final = "1.2.840.10008.1.2.4."

COMPRESSED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "image/jpeg": (_JPEG + "70", _JPEG + "50", _JPEG + "51", _JPEG + "57"),
        "image/dicom-rle": ("1.2.840.10008.1.2.5",),
        "image/jls": (_JPEG + "80", _JPEG + "81"),
        "image/jp2": (JPEG_2000_LOSSLESS, _JPEG + "91"),
        "image/jpx": (_JPEG + "92", _JPEG + "93"),
        "image/jphc": (_JPEG + "201", _JPEG + "202", _JPEG + "203"),
        "image/jxl": (_JPEG + "110", _JPEG + "111", _JPEG + "112"),
    }
)
"""Media types of compressed frames and their transfer syntaxes, the default first.

References: PS3.18 Table 8.7.3-5.
"""

ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {"image/x-dicom-rle": "image/dicom-rle", "image/x-jls": "image/jls", "image/jhc": "image/jphc"}
)
"""Names that clients send for types of ``COMPRESSED``; answered under the proper name."""


class Payload(Enum):
    """How the answer is framed."""

    SINGLE = "single"
    MULTIPART = "multipart"


@dataclass(frozen=True, slots=True)
class Offer:
    """One kind of answer that a resource has.

    Parameters
    ----------
    payload : Payload
        Single part or multipart.
    media_type : str
        Of the answer, or of each part.
    syntaxes : frozenset[str]
        Transfer syntaxes that may be asked for; ``*`` stands for "as stored".
    default : str
        The transfer syntax if a request for exactly this type names none.
    own : frozenset[str] or None
        The only syntaxes that this media type can carry; ``None``: any.
    """

    payload: Payload
    media_type: str
    syntaxes: frozenset[str]
    default: str
    own: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """An answer that the client takes.

    Parameters
    ----------
    payload : Payload
        Single part or multipart.
    media_type : str
        Of the answer, or of each part.
    transfer_syntax : str
        What was asked for, or the default; ``*``: as stored.
    sendable : frozenset[str] or None
        Stored syntaxes that satisfy the client unchanged; ``None``: every one.
    """

    payload: Payload
    media_type: str
    transfer_syntax: str
    sendable: frozenset[str] | None

    def syntax_for(self, stored: str, convertible: Collection[str]) -> str | None:
        """The transfer syntax in which to send, or ``None`` if this choice cannot be met.

        Parameters
        ----------
        stored : str
            Transfer syntax UID of the stored bytes. Of a frame of native little-endian pixel
            data that is explicit VR little endian, whichever VRs the file has.
        convertible : Collection[str]
            Syntaxes into which these bytes can be converted; empty if they cannot be decoded.
        """
        if self.sendable is None or stored in self.sendable:
            return stored
        if self.transfer_syntax != AS_STORED and self.transfer_syntax in convertible:
            return self.transfer_syntax
        return None


def first_fitting(
    choices: Iterable[Choice], stored: str, convertible: Collection[str]
) -> tuple[Choice, str] | None:
    """The best choice that the stored bytes can satisfy, and the transfer syntax to send."""
    for choice in choices:
        syntax = choice.syntax_for(stored, convertible)
        if syntax is not None:
            return choice, syntax
    return None


def negotiate(header: str | None, offers: Sequence[Offer]) -> Choice:
    """The best choice; see ``ranked``."""
    return ranked(header, offers)[0]


def ranked(header: str | None, offers: Sequence[Offer]) -> tuple[Choice, ...]:
    """All choices that satisfy ``Accept``, best first; at least one.

    Parameters
    ----------
    header : str or None
        ``Accept``; ``None`` if there is none.
    offers : Sequence[Offer]
        What the resource has, in the order in which a client without preference gets it.

    Raises
    ------
    NotAcceptable
        Nothing fits.

    References
    ----------
    PS3.18 8.7.8.1, RFC 9110 12.5.1.
    """
    wanted = [
        _Wanted.of(order, media_range) for order, media_range in enumerate(parse_accept(header))
    ]
    candidates = [
        (*wish.rank, number, wish.choice(offer))
        for number, offer in enumerate(offers)
        for wish in _valid(wanted, offer)
    ]
    if not candidates:
        raise NotAcceptable(_refusal(offers))
    candidates.sort(key=lambda candidate: candidate[:-1])
    return tuple(candidate[-1] for candidate in candidates)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One media range of ``Accept``, as far as negotiation looks at it."""

    payload: Payload | None  # None: either
    media_type: MediaType
    specificity: int
    syntax: str | None
    weight: float
    order: int

    @classmethod
    def of(cls, order: int, media_range: MediaType) -> _Wanted:
        payload: Payload | None = Payload.SINGLE
        name = media_range.name
        if name == "*/*":
            payload = None
        elif name in (MULTIPART, "multipart/*"):
            payload = Payload.MULTIPART
            name = media_range.parameters.get("type", "*/*").strip().lower() or "*/*"
            name = name + "*" if name.endswith("/") else name
        name = ALIASES.get(name, name)
        syntax = media_range.parameters.get("transfer-syntax") or None
        # a multipart range is more specific than one that leaves the framing open
        level = specificity(name) + (payload is not None)
        return cls(payload, MediaType(name), level, syntax, media_range.weight, order)

    @property
    def rank(self) -> tuple[float, bool, int, int]:
        return (-self.weight, self.syntax != AS_STORED, -self.specificity, self.order)

    def matches(self, offer: Offer) -> bool:
        return (
            (self.payload is None or self.payload is offer.payload)
            and self.media_type.covers(offer.media_type)
            and (self.syntax is None or self.syntax in offer.syntaxes)
        )

    def choice(self, offer: Offer) -> Choice:
        named = self.media_type.name == offer.media_type
        syntax = self.syntax or (offer.default if named else AS_STORED)
        if syntax == AS_STORED or (self.syntax is None and offer.own is not None):
            sendable = offer.own
        else:
            sendable = frozenset({syntax})
        return Choice(offer.payload, offer.media_type, syntax, sendable)


def _valid(wanted: Sequence[_Wanted], offer: Offer) -> Iterator[_Wanted]:
    """The ranges that speak for an offer: not overridden by a more specific one, not excluded.

    A range without transfer syntax speaks about all of them, so it overrides any less specific
    one; a range with one overrides only those for the same.
    """
    matching = [wish for wish in wanted if wish.matches(offer)]
    most: dict[str | None, int] = {}
    for wish in matching:
        most[wish.syntax] = max(most.get(wish.syntax, 0), wish.specificity)
    excluded = {
        wish.syntax
        for wish in matching
        if wish.weight == 0 and wish.specificity == most[wish.syntax]
    }
    for wish in matching:
        outranked = wish.specificity < max(most[wish.syntax], most.get(None, 0))
        forbidden = excluded & {wish.syntax, wish.choice(offer).transfer_syntax}
        if not outranked and not forbidden:
            yield wish


def _refusal(offers: Sequence[Offer]) -> str:
    names: dict[str, None] = {}
    for offer in offers:
        single = offer.payload is Payload.SINGLE
        names[offer.media_type if single else f'{MULTIPART}; type="{offer.media_type}"'] = None
    return f"Accept allows none of: {', '.join(names)}, in a transfer syntax that can be sent."


# What the resources offer -----------------------------------------------------------------

_STILL_IMAGES = frozenset(syntax for kind in COMPRESSED.values() for syntax in kind)
_INSTANCE_SYNTAXES = frozenset({AS_STORED, EXPLICIT_LE, DEFLATED}) | _STILL_IMAGES
_UNCOMPRESSED = frozenset({AS_STORED, EXPLICIT_LE})
_BOTH = (Payload.MULTIPART, Payload.SINGLE)

_ZIP_OFFER = Offer(Payload.SINGLE, ZIP, _INSTANCE_SYNTAXES, AS_STORED)

STUDY_OFFERS: Final = (
    Offer(Payload.MULTIPART, DICOM, _INSTANCE_SYNTAXES, EXPLICIT_LE),
    _ZIP_OFFER,
)
"""Studies and series."""

INSTANCE_OFFERS: Final = (
    *(Offer(payload, DICOM, _INSTANCE_SYNTAXES, EXPLICIT_LE) for payload in _BOTH),
    _ZIP_OFFER,
)
"""Single instances; ``*/*`` gets multipart, the default of PS3.18 Table 10.4.4-1."""

FRAME_OFFERS: Final = (
    *(Offer(payload, OCTET_STREAM, _UNCOMPRESSED, EXPLICIT_LE) for payload in _BOTH),
    *(
        Offer(payload, name, frozenset({AS_STORED, *kind}), kind[0], frozenset(kind))
        for name, kind in COMPRESSED.items()
        for payload in _BOTH
    ),
)
"""Frames; with transfer syntax ``*`` also compressed ones go as ``application/octet-stream``."""

BULK_DATA_OFFERS: Final = tuple(
    Offer(payload, OCTET_STREAM, _UNCOMPRESSED, EXPLICIT_LE) for payload in reversed(_BOTH)
)
"""One bulk data value; ``*/*`` gets the bare bytes, so that ``Range`` works on them."""


def file_offers() -> tuple[Offer, ...]:
    """A single file, in any transfer syntax that instances are sent in."""
    return (Offer(Payload.SINGLE, DICOM, _INSTANCE_SYNTAXES, EXPLICIT_LE),)


def picture_offers(names: Sequence[str]) -> tuple[Offer, ...]:
    """Rendered images in some media types, alone or as parts; they have no transfer syntax."""
    return tuple(
        Offer(payload, name, frozenset({AS_STORED}), AS_STORED)
        for payload in reversed(_BOTH)
        for name in names
    )

"""Media types: parsing ``Content-Type`` and ``Accept``, and the types of store and JSON answers.

Parsing is lenient where clients are known to be wrong and the meaning is plain: a parameter value
with characters that would need quotes (``type=application/dicom``) is taken as written, of a
repeated parameter the first counts, members of a list that are no media ranges are skipped.

Which representation of an instance or a frame to send is in ``shared.web.negotiation``.

References
----------
RFC 9110 5.6.6, 8.3.1, 12.5.1; PS3.18 8.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from shared.errors import MalformedRequest, NotAcceptable, UnsupportedMediaType

DICOM = "application/dicom"
DICOM_JSON = "application/dicom+json"
DICOM_XML = "application/dicom+xml"
JSON = "application/json"
OCTET_STREAM = "application/octet-stream"
MULTIPART = "multipart/related"
ZIP = "application/zip"

# Possessive throughout: no header, however long, makes matching slower than linear.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"  # RFC 9110 5.6.2
_TYPE = re.compile(rf"[ \t]*+({_NAME}++/{_NAME}*+)[ \t]*+(?=;|\Z)")
_QUOTED = r'"(?:[^"\\]++|\\.)*+"'
_PARAMETER = re.compile(
    rf';[ \t]*+(?:({_NAME}++)[ \t]*+=[ \t]*+({_QUOTED}[ \t]*+|[^";]*+))?(?=;|\Z)'
)
_MEMBER = re.compile(r'(?:[^",]++|"(?:[^"\\]++|\\.)*+"?)++')
_ESCAPED = re.compile(r"\\(.)")
_WEIGHT = re.compile(r"[0-9]*+(?:\.[0-9]*+)?")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or media range.

    Parameters
    ----------
    name : str
        ``type/subtype`` in lower case.
    parameters : Mapping[str, str]
        By lower-case name, values without quotes; without ``q``.
    weight : float
        0.0 to 1.0: the ``q`` of a media range.
    """

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0

    def covers(self, name: str) -> bool:
        """Whether this range has ``name`` (a ``type/subtype`` in lower case) in it."""
        return self.name in (name, "*/*", f"{name.partition('/')[0]}/*")


def parse_media_type(text: str) -> MediaType | None:
    """A media type with its parameters, or ``None`` for something else.

    A type that ends in the slash (``image/``, sent by dicomweb-client) is read as ``image/*``.
    """
    match = _TYPE.match(text)
    if match is None:
        return None
    parameters: dict[str, str] = {}
    at = match.end()
    while at < len(text):
        parameter = _PARAMETER.match(text, at)
        if parameter is None:
            return None
        at = parameter.end()
        if parameter[1]:
            parameters.setdefault(parameter[1].lower(), _unquoted(parameter[2]))
    name = match[1].lower()
    weight = _weight(parameters.pop("q", "1"))
    return MediaType(name + "*" if name.endswith("/") else name, parameters, weight)


def _unquoted(value: str) -> str:
    value = value.rstrip(" \t")
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _weight(text: str) -> float:
    """A ``q`` value; one that is no number is as good as none (RFC 9110 12.4.2)."""
    if _WEIGHT.fullmatch(text) is None or text in ("", "."):
        return 1.0
    return min(float(text), 1.0)


def parse_accept(header: str | None) -> tuple[MediaType, ...]:
    """The media ranges of an ``Accept`` header, in their order.

    No header, and one without any content, stand for ``*/*``. Several header lines are to be
    joined by commas before (RFC 9110 5.3).

    References
    ----------
    RFC 9110 12.5.1.
    """
    if header is None or not header.strip(" \t,"):
        return (MediaType("*/*"),)
    return tuple(_ranges(header))


def _ranges(header: str) -> Iterator[MediaType]:
    for member in _MEMBER.finditer(header):
        media_range = parse_media_type(member[0].strip(" \t"))
        if media_range is not None:
            yield media_range


# Answers in JSON --------------------------------------------------------------------------


def accepts(header: str | None, *names: str) -> bool:
    """Whether ``Accept`` has room for any of these media types (``type/subtype``, lower case).

    Of the ranges that cover a type, the most specific one counts; ``q=0`` excludes.
    """
    ranges = parse_accept(header)
    return any(_best(ranges, name) > 0 for name in names)


def _best(ranges: tuple[MediaType, ...], name: str) -> float:
    covering = [media_range for media_range in ranges if media_range.covers(name)]
    if not covering:
        return 0.0
    most = max(specificity(media_range.name) for media_range in covering)
    return max(found.weight for found in covering if specificity(found.name) == most)


def specificity(name: str) -> int:
    """2 for a media type, 1 for ``type/*``, 0 for ``*/*`` (RFC 9110 12.5.1)."""
    if name == "*/*":
        return 0
    return 1 if name.endswith("/*") else 2


def require_json_acceptable(header: str | None) -> None:
    """Refuse a request that does not take ``application/dicom+json``, where there is no other.

    ``application/json`` is taken for it, as the Azure service does. No header is as ``*/*``:
    it is the default media type of these resources.

    Raises
    ------
    NotAcceptable
        No range covers it.

    References
    ----------
    PS3.18 8.7.3.2, 8.7.8; spec dicomweb.md §2.3.
    """
    if not accepts(header, DICOM_JSON, JSON):
        raise NotAcceptable(f"The answer is {DICOM_JSON}; Accept does not allow it.")


def prefers_xml(header: str | None, *, multipart: bool) -> bool:
    """Whether data sets go as XML rather than as JSON: store, search, metadata.

    JSON is the default, and has ``application/json`` as another name, as in the Azure service.

    Parameters
    ----------
    header : str or None
        ``Accept``; ``None`` if there is none.
    multipart : bool
        Whether XML has one document a part (search, metadata), or is one document (store).

    Raises
    ------
    NotAcceptable
        Neither is allowed.

    References
    ----------
    PS3.18 8.7.3.2, 8.7.8, Tables 10.4.4-1, 10.5.4-1, 10.6.4-1; spec dicomweb.md §2.3, §8.4.
    """
    ranges = parse_accept(header)
    json = max(_best(ranges, DICOM_JSON), _best(ranges, JSON))
    if multipart:
        parts = [one for one in ranges if one.parameters.get("type", "").lower() == DICOM_XML]
        xml = max((one.weight for one in parts if one.covers(MULTIPART)), default=0.0)
    else:
        xml = _best(ranges, DICOM_XML)
    if json == xml == 0:
        other = f'{MULTIPART}; type="{DICOM_XML}"' if multipart else DICOM_XML
        raise NotAcceptable(f"The answer is {DICOM_JSON} or {other}; Accept does not allow it.")
    return xml > json


# Bodies of a store ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SingleBody:
    """The body of a store is one instance."""


@dataclass(frozen=True, slots=True)
class MultipartBody:
    """The body of a store is one instance per part.

    Parameters
    ----------
    boundary : str
        Without quotes.
    part_type : str or None
        The ``type`` parameter in lower case; the first part may leave its own type out if this
        is given. ``application/dicom+json``: metadata, then bulk data.
    """

    boundary: str
    part_type: str | None


StoreBody = SingleBody | MultipartBody


def store_body(header: str | None) -> StoreBody:
    """How the body of a store is framed.

    Parameters
    ----------
    header : str or None
        ``Content-Type``. ``application/dicom`` may have parameters; they say nothing that the
        file does not say itself (PS3.18 8.7.9).

    Raises
    ------
    UnsupportedMediaType
        Not one of the two types, or multipart of something else, or without ``boundary``.
    MalformedRequest
        ``multipart/related`` with a ``start`` parameter: parts are taken in their order.

    References
    ----------
    PS3.18 10.5.1, RFC 2387 3; spec dicomweb.md §2.4.
    """
    found = parse_media_type(header) if header is not None else None
    if found is None:
        raise UnsupportedMediaType(
            "Content-Type is missing." if not header else "Content-Type cannot be understood."
        )
    if found.name == DICOM:
        return SingleBody()
    if found.name != MULTIPART:
        raise UnsupportedMediaType(f"Content-Type {_shown(found.name)} is not supported.")
    if "start" in found.parameters:
        raise MalformedRequest("The start parameter of Content-Type is not supported.")
    boundary = found.parameters.get("boundary")
    if not boundary:
        raise UnsupportedMediaType(f"{MULTIPART} needs a boundary parameter.")
    part_type = found.parameters.get("type")
    if part_type is None:
        return MultipartBody(boundary, None)
    if part_type.lower() not in (DICOM, DICOM_JSON):
        raise UnsupportedMediaType(f"{MULTIPART} of {_shown(part_type)} is not supported.")
    return MultipartBody(boundary, part_type.lower())


def require_dicom_part(header: str | None, body: MultipartBody, index: int) -> None:
    """Refuse a part of a store that is not ``application/dicom``.

    Parameters
    ----------
    header : str or None
        The part's ``Content-Type``; parameters are tolerated.
    body : MultipartBody
        What the request said.
    index : int
        Number of the part, from 0.

    Raises
    ------
    UnsupportedMediaType
        Another type, or none where one is needed: only the first part of a request with
        ``type="application/dicom"`` may leave it out.

    References
    ----------
    Spec dicomweb.md §2.4.
    """
    if header is None and index == 0 and body.part_type == DICOM:
        return
    found = parse_media_type(header) if header is not None else None
    if found is None or found.name != DICOM:
        shown = f"is {_shown(found.name)}" if found else "has no media type"
        raise UnsupportedMediaType(f"Part {index + 1} {shown}; each part must be {DICOM}.")


def _shown(name: str) -> str:
    """What a client sent, short and harmless enough to repeat to it."""
    return "".join(letter for letter in name[:100] if letter.isascii() and letter.isprintable())

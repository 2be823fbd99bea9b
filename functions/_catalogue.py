"""The route table: what every HTTP trigger is, for ``Allow``, capabilities and OpenAPI.

``functions/_http.py`` enters each trigger as it registers it; nothing is listed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_PARAMETER = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True)
class Doc:
    """What a transaction takes and answers, beyond its route.

    Parameters
    ----------
    statuses : tuple of int
        Statuses that it answers, successes first.
    answers : tuple of str
        Media types of a success, the default first; none: no content.
    takes : tuple of str
        Media types of the request; none: no content.
    query : tuple of str
        Query parameters.
    attributes : bool
        Whether any searchable attribute is a query parameter too.
    headers : tuple of str
        Request headers that have a meaning, beside ``Accept``.
    """

    statuses: tuple[int, ...] = (200,)
    answers: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    attributes: bool = False
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """An HTTP trigger.

    Parameters
    ----------
    name : str
        Of the function.
    method : str
        Upper case; GET stands for HEAD too.
    route : str
        Template, without leading slash.
    summary : str
        The first line of the handler's docstring.
    doc : Doc
        What it takes and answers.
    """

    name: str
    method: str
    route: str
    summary: str
    doc: Doc = field(default_factory=Doc)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it answers."""
        return (self.method, "HEAD") if self.method == "GET" else (self.method,)

    def matches(self, path: str) -> bool:
        """Whether a path (decoded, without slashes at its ends) is of this route."""
        pattern = "[^/]+".join(re.escape(text) for text in _PARAMETER.split(self.route))
        return re.fullmatch(pattern, path, re.IGNORECASE) is not None


_operations: dict[str, Operation] = {}


def enter(operation: Operation) -> None:
    """Add a trigger."""
    _operations[operation.name] = operation


def operations() -> Iterator[Operation]:
    """All triggers, in the order of their registration."""
    yield from _operations.values()


def find(name: str) -> Operation | None:
    """A trigger by the name of its function."""
    return _operations.get(name)


def allowed(path: str) -> list[str]:
    """The methods of whatever is at a path, ``OPTIONS`` included; none if nothing is."""
    wanted = path.strip("/")
    found = {
        method
        for operation in _operations.values()
        if operation.matches(wanted)
        for method in operation.methods
    }
    return sorted(found | {"OPTIONS"}) if found else []


# What the transactions of PS3.18 take and answer ------------------------------------------

_MULTIPART_DICOM = 'multipart/related; type="application/dicom"'
_MULTIPART_XML = 'multipart/related; type="application/dicom+xml"'
_MULTIPART_OCTETS = 'multipart/related; type="application/octet-stream"'
_OCTETS = "application/octet-stream"

ORIGINAL_HEADER = "msdicom-request-original"

STORE = Doc(
    (200, 202, 204, 400, 406, 408, 409, 413, 415, 503),
    ("application/dicom+json", "application/dicom+xml"),
    (_MULTIPART_DICOM, "application/dicom", 'multipart/related; type="application/dicom+json"'),
)
SEARCH = Doc(
    (200, 204, 400, 406),
    ("application/dicom+json", _MULTIPART_XML),
    query=("limit", "offset", "fuzzymatching", "includefield"),
    attributes=True,
)
FILES = Doc(
    (200, 304, 400, 404, 406),
    (_MULTIPART_DICOM, "application/zip"),
    headers=("If-None-Match", ORIGINAL_HEADER),
)
FILE = Doc(
    (200, 206, 304, 400, 404, 406, 416),
    (_MULTIPART_DICOM, "application/dicom", "application/zip"),
    headers=("If-None-Match", "Range", "If-Range", ORIGINAL_HEADER),
)
FRAMES = Doc(
    (200, 304, 400, 404, 406, 413), (_MULTIPART_OCTETS, _OCTETS), headers=("If-None-Match",)
)
METADATA = Doc(
    (200, 304, 400, 404, 406),
    ("application/dicom+json", _MULTIPART_XML),
    headers=("If-None-Match", ORIGINAL_HEADER),
)
BULK_DATA = Doc((200, 206, 400, 404, 406, 416), (_OCTETS, _MULTIPART_OCTETS), headers=("Range",))
_PICTURES = ("image/jpeg", "image/png", "image/gif")
_MULTIPART_PICTURES = tuple(f'multipart/related; type="{name}"' for name in _PICTURES)
RENDERED = Doc(
    (200, 304, 400, 404, 406),
    (*_PICTURES, *_MULTIPART_PICTURES),
    query=("quality", "viewport", "window", "iccprofile", "annotation", "accept"),
    headers=("If-None-Match",),
)
THUMBNAIL = Doc(
    (200, 304, 400, 404, 406),
    (*_PICTURES, *_MULTIPART_PICTURES),
    query=("viewport", "accept"),
    headers=("If-None-Match",),
)
WADO_URI = Doc(
    (200, 206, 304, 400, 404, 406, 416),
    (*_PICTURES, "application/dicom"),
    query=(
        "requestType", "studyUID", "seriesUID", "objectUID", "contentType", "transferSyntax",
        "frameNumber", "rows", "columns", "region", "windowCenter", "windowWidth", "imageQuality",
        "annotation",
    ),
    headers=("If-None-Match",),
)  # fmt: skip
DELETE = Doc((204, 400, 404))
UNDELETE = Doc((200, 400, 404), ("application/json",))

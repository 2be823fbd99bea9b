"""What Event Grid says of new blobs, in either of its schemas.

References
----------
Azure Event Grid, "Azure Blob Storage as an Event Grid source": ``Microsoft.Storage.BlobCreated``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

_CREATED = "Microsoft.Storage.BlobCreated"
_COMPLETE = frozenset({"CopyBlob", "FlushWithClose", "PutBlob", "PutBlockList", "SftpCommit"})
"""What ``data.api`` says once the blob is whole; others tell of a file that is being written."""

_SUBJECT = re.compile(r"/blobServices/default/containers/([^/]+)/blobs/(.+)", re.DOTALL)
_MISREAD = "\N{REPLACEMENT CHARACTER}"
_MOST_NAME = 1_024


class MalformedEvent(ValueError):
    """A message is no event, or tells of a new blob and does not say which."""


@dataclass(frozen=True, slots=True)
class NewBlob:
    """A blob that was written.

    Parameters
    ----------
    container : str
        Its container.
    names : tuple of str
        What it may be called. Event Grid does not say whether ``subject`` is percent-encoded, and
        loses characters outside the basic plane there; ``data.url`` has them.
    """

    container: str
    names: tuple[str, ...]


def new_blobs(message: bytes) -> list[NewBlob]:
    """The whole blobs that a message tells of: one event, or a list of events.

    Raises
    ------
    MalformedEvent
        It is no message of Event Grid.
    """
    try:
        body = json.loads(message)
    except (ValueError, RecursionError):
        raise MalformedEvent("a message is no JSON") from None
    events = body if isinstance(body, list) else [body]
    found = [_new_blob(event) for event in events]
    return [blob for blob in found if blob is not None]


def _new_blob(event: Any) -> NewBlob | None:
    """The blob of an event; ``None`` for events of something else."""
    kind = event.get("eventType", event.get("type")) if isinstance(event, dict) else None
    if not isinstance(kind, str):
        raise MalformedEvent("an event has no type")
    if kind != _CREATED:
        return None
    data = event.get("data")
    api = data.get("api") if isinstance(data, dict) else None
    subject = _SUBJECT.fullmatch(str(event.get("subject")))
    if not isinstance(api, str) or subject is None:
        raise MalformedEvent("an event of a new blob lacks its name or how it was written")
    if api not in _COMPLETE:
        return None
    container, name = subject.groups()
    names = [_of_url(str(data.get("url")), container), name, unquote(name)]
    return NewBlob(container, tuple(dict.fromkeys(filter(_is_blob_name, names))))


def _of_url(url: str, container: str) -> str:
    """The blob's name in its address; nothing if that is not to be found."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return unquote(path.partition(f"/{container}/")[2])


def _is_blob_name(name: str) -> bool:
    """Whether a blob can be called so; a name with ``..`` would lead out of the container."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False  # half a character
    may_be = 0 < len(name) <= _MOST_NAME and _MISREAD not in name
    return may_be and not {".", ".."} & set(name.replace("\\", "/").split("/"))

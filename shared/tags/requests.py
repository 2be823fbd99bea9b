"""What callers say of extended query tags, judged (spec extended-query-tags.md §2, §3)."""

from __future__ import annotations

import re
from typing import Any, Final

from shared.dicom import attributes as dicom
from shared.dicom import tags
from shared.errors import MalformedRequest
from shared.ports import Json, JsonObject
from shared.tags.models import VRS, ExtendedTag, QueryStatus

_HEX: Final = re.compile(r"[0-9A-Fa-f]{8}")
_CONTROL: Final = re.compile(r"[\\\x00-\x1f\x7f-\x9f]")
_LEVELS: Final = ("Instance", "Series", "Study")
_MEMBERS: Final = frozenset({"path", "vr", "privatecreator", "level"})
_LONGEST_CREATOR: Final = 64
_FIRST_DATA_ELEMENT: Final = 0x1000


def tag_of_path(text: str) -> int:
    """The tag that an address names: a keyword or eight hexadecimal digits.

    Raises
    ------
    MalformedRequest
        It is neither.
    """
    found = int(text, 16) if _HEX.fullmatch(text) else tags.tag_of(text)
    if found is None:
        raise MalformedRequest("The tag path is no keyword and has not eight hexadecimal digits.")
    return found


def entries_of(body: Json) -> list[ExtendedTag]:
    """The tags that a request adds.

    Raises
    ------
    MalformedRequest
        One is malformed or cannot be added; the message names it.
    """
    if not isinstance(body, list) or not body:
        raise MalformedRequest("The body must be an array of at least one extended query tag.")
    shaped = [_shaped(at, each) for at, each in enumerate(body)]
    entries = [_entry(at, *each) for at, each in enumerate(shaped)]
    seen: set[int] = set()
    for at, entry in enumerate(entries):
        if entry.tag in seen:
            raise MalformedRequest(f"[{at}]: the tag {entry.path} is in the request twice.")
        seen.add(entry.tag)
    return entries


def query_status_of(body: JsonObject) -> QueryStatus:
    """What a patch sets.

    Raises
    ------
    MalformedRequest
        It is something else than a query status.
    """
    if [name.lower() for name in body] != ["querystatus"]:
        raise MalformedRequest("The body must have the member queryStatus, and no other.")
    (value,) = body.values()
    try:
        return QueryStatus(value.lower() if isinstance(value, str) else "")
    except ValueError:
        raise MalformedRequest("queryStatus must be Enabled or Disabled.") from None


def _shaped(at: int, body: Any) -> tuple[dicom.Level, str, str | None, str | None]:
    """Level, path, VR and creator of an entry as it was sent."""
    if not isinstance(body, dict):
        raise MalformedRequest(f"[{at}] must be an object.")
    found = {name.lower(): (name, value) for name, value in body.items()}
    unknown = [name for name in body if name.lower() not in _MEMBERS]
    if unknown:
        raise MalformedRequest(f"The field '[{at}].{unknown[0][:30]}' is not known.")
    for member in ("Path", "Level"):
        _, value = found.get(member.lower(), (member, None))
        if value is None or (isinstance(value, str) and not value.strip()):
            raise MalformedRequest(
                f"The field '[{at}].{member}' in request body is invalid: The Dicom Tag Property "
                f"{member} must be specified and must not be null, empty or whitespace"
            )
    for member, (name, value) in found.items():
        if not isinstance(value, str) and not (value is None and member != "path"):
            raise MalformedRequest(f"The field '$[{at}].{name}' in request body must be a string.")
    name, level = found["level"]
    if level.capitalize() not in _LEVELS:
        known = ", ".join(f"'{each}'" for each in _LEVELS)
        raise MalformedRequest(
            f"The field '$[{at}].{name}' in request body is invalid: Expected value '{level}' to "
            f"be one of the following values: [{known}]"
        )
    word: dicom.Level = next(each for each in dicom.LEVELS if each == level.lower())
    vr, creator = (found.get(member, ("", None))[1] for member in ("vr", "privatecreator"))
    return word, found["path"][1].strip(), vr, creator


def _entry(
    at: int, level: dicom.Level, path: str, vr: str | None, creator: str | None
) -> ExtendedTag:
    def refused(why: str) -> MalformedRequest:
        return MalformedRequest(f"[{at}]: {why}")

    tag = int(path, 16) if _HEX.fullmatch(path) else tags.tag_of(path)
    if tag is None:
        raise refused("the path is no keyword and has not eight hexadecimal digits.")
    if tag in dicom.CORE_TAGS or (tag,) in dicom.SEARCH_KEYS:
        raise refused("the attribute can be searched already.")
    has_creator = tags.is_private(tag) and tag & 0xFFFF >= _FIRST_DATA_ELEMENT
    if not has_creator and creator is not None:
        raise refused("privateCreator is for private data elements only.")
    if has_creator and not _is_creator(creator):
        raise refused(
            f"privateCreator must be given, with at most {_LONGEST_CREATOR} characters and no "
            "backslash or control character."
        )
    known = tags.entry(tag)
    if tags.is_private_creator(tag):
        allowed = ["LO"]
    else:
        allowed = known.vr.split(" or ") if known is not None else []
    if vr is None and not allowed:
        raise refused("vr must be given for a private tag.")
    chosen = (vr or allowed[0]).strip().upper()
    if allowed and chosen not in allowed:
        raise refused(f"the VR of the attribute is {' or '.join(allowed)}.")
    if chosen not in VRS:
        raise refused(f"a tag of VR {chosen[:4]} cannot be searched.")
    return ExtendedTag(tag, chosen, level, creator.strip() if creator else None)


def _is_creator(creator: str | None) -> bool:
    return (
        creator is not None
        and 0 < len(creator.strip()) <= _LONGEST_CREATOR
        and _CONTROL.search(creator) is None
    )

"""The data set of a work item: how it is kept, returned, and looks after a cancellation."""

from __future__ import annotations

import json
from typing import Final

from shared.dicom.tags import key as tag_key
from shared.errors import MalformedRequest
from shared.ports import JsonObject
from shared.web.query import SearchQuery
from shared.worklist.tables import RETURNED
from shared.worklist.validation import is_empty

CANCELED: Final = "CANCELED"

_MOST_BYTES: Final = 1024 * 1024
_STATE, _PROGRESS, _PERFORMED = "00741000", "00741002", "00741216"
_CANCELED_AT, _REASON, _REASON_CODES = "00404052", "00741238", "0074100E"
_CONTACTS, _CONTACT_URI, _CONTACT_NAME = "00741008", "0074100A", "0074100C"


def canceled(before: JsonObject, asked: JsonObject, now: str) -> JsonObject:
    """The data set after a cancellation (spec §7)."""
    reason, uri, name = (
        asked.get(tag) or {"vr": vr, "Value": [""]}
        for tag, vr in ((_REASON, "LT"), (_CONTACT_URI, "UR"), (_CONTACT_NAME, "LO"))
    )
    codes = {_REASON: reason}
    if not is_empty(asked.get(_REASON_CODES)):
        codes = {**asked[_REASON_CODES]["Value"][0], **codes}
    item = {
        _CANCELED_AT: value_of("DT", now),
        _REASON: reason,
        _REASON_CODES: {"vr": "SQ", "Value": [codes]},
        _CONTACTS: {"vr": "SQ", "Value": [{_CONTACT_URI: uri, _CONTACT_NAME: name}]},
    }
    after = {
        **before,
        _STATE: value_of("CS", CANCELED),
        _CANCELED_AT: value_of("DT", now),
        _PROGRESS: {"vr": "SQ", "Value": [item]},
    }
    if _PERFORMED in asked:
        after[_PERFORMED] = asked[_PERFORMED]
    return after


def kept(data_set: JsonObject) -> JsonObject:
    """A data set as its document keeps it, in the order of tags.

    Raises
    ------
    MalformedRequest
        It is too large.
    """
    text = json.dumps(data_set, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > _MOST_BYTES:
        raise MalformedRequest(f"A work item may have at most {_MOST_BYTES} bytes.")
    return dict(sorted(data_set.items()))


def returned(data_set: JsonObject, query: SearchQuery) -> JsonObject:
    """What a search returns of a data set (spec §9.3)."""
    if query.all_fields:
        return data_set
    wanted = RETURNED | query.fields | {each.key.path[0] for each in query.filters}
    names = {tag_key(tag) for tag in wanted}
    return {tag: element for tag, element in data_set.items() if tag in names}


def text_of(data_set: JsonObject, tag: str) -> str | None:
    """The first value of an element, if it is a text that is not empty."""
    values = (data_set.get(tag) or {}).get("Value") or [None]
    return values[0] if isinstance(values[0], str) and values[0] else None


def value_of(vr: str, text: str) -> JsonObject:
    """An element with one value."""
    return {"vr": vr, "Value": [text]}

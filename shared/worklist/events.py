"""What is reported of a work item, and the document by which a commit keeps it (an outbox).

The reports of a change are committed with the change, in the item's own partition: whoever dies
afterwards leaves them there, and whoever comes next delivers them.

References
----------
PS3.4 CC.2.4, Table CC.2.4-1; PS3.18 11.13.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final

from shared.ports import Create, Ids, JsonObject
from shared.worklist.keys import terms_of

EVENT: Final = "event"
SOP_CLASS: Final = "1.2.840.10008.5.1.4.34.6.1"

_STATE, _READINESS = "00741000", "00404041"
_PROGRESS, _REASON, _REASON_CODES = "00741002", "00741238", "0074100E"
_CONTACTS, _CONTACT_URI, _CONTACT_NAME = "00741008", "0074100A", "0074100C"
_REQUESTING_AE = "00741236"
_STATION, _PERFORMERS = "00404025", "00404034"
_PROGRESS_MEMBERS: Final = ("00741004", "00741006", "00741007", _CONTACTS)
_PERFORMER_MEMBERS: Final = ("00404009", "00404037", "00404036")
_CREATOR, _EVENT_ID = "00090010", "00091001"
_CREATOR_NAME: Final = "DICOM EVENT ID"
_MOST_MESSAGE: Final = 65_535


class EventType(IntEnum):
    """Event Type ID (PS3.4 Table CC.2.4-1)."""

    STATE_REPORT = 1
    CANCEL_REQUESTED = 2
    PROGRESS_REPORT = 3
    ASSIGNED = 5


Report = tuple[EventType, JsonObject]
"""Its type, and its attributes."""


# What is reported ---------------------------------------------------------------------------


def state_report(data_set: JsonObject) -> Report:
    """The state of a work item, with the reason if it was discontinued."""
    info = _part(data_set, (_STATE, _READINESS))
    for item in _items(data_set, _PROGRESS)[:1]:
        info |= _part(item, (_REASON, _REASON_CODES))
    return EventType.STATE_REPORT, info


def cancel_requested(asked: JsonObject) -> Report:
    """Somebody asks for the cancellation of a work item that is in progress."""
    members = (_REASON, _REASON_CODES, _CONTACT_URI, _CONTACT_NAME)
    requester = asked.get(_REQUESTING_AE) or {"vr": "AE"}
    return EventType.CANCEL_REQUESTED, {_REQUESTING_AE: requester, **_part(asked, members)}


def reports_of_creation(data_set: JsonObject) -> list[Report]:
    """What a new work item causes."""
    found = [state_report(data_set)]
    if _items(data_set, _STATION) or _items(data_set, _PERFORMERS):
        found.append(_assigned(data_set))
    return found


def reports_of_change(before: JsonObject, after: JsonObject) -> list[Report]:
    """What a change causes; nothing, if what it changes is not reported."""
    found: list[Report] = []
    if _differ(before, after, (_STATE, _READINESS)):
        found.append(state_report(after))
    if _differ(before, after, (_PROGRESS,)):
        items = [_part(item, _PROGRESS_MEMBERS) for item in _items(after, _PROGRESS)]
        found.append((EventType.PROGRESS_REPORT, {_PROGRESS: _sequence(items)}))
    if _differ(before, after, (_STATION, _PERFORMERS)):
        found.append(_assigned(after))
    return found


def _assigned(data_set: JsonObject) -> Report:
    performers = [_part(item, _PERFORMER_MEMBERS) for item in _items(data_set, _PERFORMERS)]
    info = {**_part(data_set, (_STATION,)), _PERFORMERS: _sequence(performers)}
    return EventType.ASSIGNED, info


def _differ(before: JsonObject, after: JsonObject, tags: Iterable[str]) -> bool:
    return any(_values(before, tag) != _values(after, tag) for tag in tags)


def _values(data_set: JsonObject, tag: str) -> list[Any]:
    return (data_set.get(tag) or {}).get("Value") or []


def _items(data_set: JsonObject, tag: str) -> list[JsonObject]:
    return [item for item in _values(data_set, tag) if isinstance(item, dict)]


def _part(data_set: JsonObject, tags: Iterable[str]) -> JsonObject:
    return {tag: data_set[tag] for tag in tags if data_set.get(tag)}


def _sequence(items: list[JsonObject]) -> JsonObject:
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


# Documents ----------------------------------------------------------------------------------


def outbox(item: JsonObject, reports: list[Report], ids: Ids, to: str | None = None) -> Create:
    """The document that keeps reports until they are in the mailboxes of the subscribers.

    Its id sorts as the changes of the item came: by the number of the change, which the item
    counts, and then, for what changes nothing, by time.

    Parameters
    ----------
    item : JsonObject
        The document of the work item as it is after the change.
    reports : list of Report
        At least one.
    ids : Ids
        Each report gets an id, which stays the same however often it is sent.
    to : str or None
        The one subscriber that gets them; ``None``: all of them.
    """
    return Create(
        {
            "id": f"event|{item.get('changes', 0):09d}|{ids.version()}",
            "pk": item["pk"],
            "type": EVENT,
            "partition": item["partition"],
            "uid": item["uid"],
            "change": item.get("changes", 0),
            "to": to,
            "q": terms_of(item["d"]),
            "reports": [
                {"id": ids.version(), "event": int(kind), "info": info} for kind, info in reports
            ],
        }
    )


def message(report: JsonObject) -> JsonObject:
    """A report as it goes to its subscriber: a data set in DICOM JSON (PS3.18 11.13.1)."""
    number = (int(report["version"]) - 1) % _MOST_MESSAGE + 1
    return {
        "00000002": {"vr": "UI", "Value": [SOP_CLASS]},
        "00000110": {"vr": "US", "Value": [number]},
        "00001000": {"vr": "UI", "Value": [report["uid"]]},
        "00001002": {"vr": "US", "Value": [report["event"]]},
        _CREATOR: {"vr": "LO", "Value": [_CREATOR_NAME]},
        _EVENT_ID: {"vr": "LO", "Value": [report["id"]]},
        **report["info"],
    }

"""Whether the data set of a work item is complete (spec worklist.md §2; PS3.4 Table CC.2.5-3)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from shared.dicom import tags
from shared.dicom.json_model import STRING_VRS
from shared.dicom.json_reader import JsonFault, content
from shared.errors import MalformedRequest
from shared.ports import JsonObject
from shared.worklist.tables import ALWAYS, ANY, FINAL, MACROS, TOP, Row

_DEEPEST: Final = 16
_TAG: Final = re.compile("[0-9A-F]{8}")
_NEEDED: Final = frozenset({"E", "1/1", "2/1", "2/2"})
_MEMBERS: Final = ("Value", "InlineBinary", "BulkDataURI")


def data_set_of(body: Any) -> JsonObject:
    """The data set of a request: the first of an array, each element shaped as DICOM JSON.

    Raises
    ------
    MalformedRequest
        There is none, or an element is malformed; the message names it.
    """
    if not isinstance(body, list) or not body or not isinstance(body[0], dict):
        raise MalformedRequest("The body must be an array with a data set in DICOM JSON.")
    return _shaped(body[0], ())


def _shaped(data_set: JsonObject, above: tuple[int, ...]) -> JsonObject:
    found: JsonObject = {}
    for name, element in data_set.items():
        key = name.upper()
        if _TAG.fullmatch(key) is None:
            raise MalformedRequest(f"'{_word(name)}' is no tag of eight hexadecimal digits.")
        tag = int(key, 16)
        if not isinstance(element, dict):
            raise MalformedRequest(f"{_named(tag, above)}: the element is no object.")
        if key in found:
            raise MalformedRequest(f"{_named(tag, above)}: the element is there twice.")
        found[key] = _element(tag, element, above)
    return found


def _element(tag: int, element: JsonObject, above: tuple[int, ...]) -> JsonObject:
    known = tags.entry(tag)
    expected = known.vr.replace(" or ", " ").split() if known is not None else []
    vr = element.get("vr", expected[0] if expected else None)
    if not isinstance(vr, str) or (expected and vr not in _allowed(expected)):
        needed = " or ".join(expected) or "given"
        raise MalformedRequest(f"{_named(tag, above)}: the VR must be {needed}.")
    shaped: JsonObject = {"vr": vr}
    shaped |= {name: element[name] for name in _MEMBERS if name in element}
    try:
        content(tag, shaped)
    except JsonFault as fault:
        raise MalformedRequest(f"{_named(tag, above)}: {fault.text}.") from None
    values = element.get("Value") or ()
    if vr == "PN" and any(isinstance(value, str) for value in values):
        raise MalformedRequest(f"{_named(tag, above)}: a value is no object with a name in it.")
    if vr != "SQ":
        return shaped
    if len(above) >= _DEEPEST:
        raise MalformedRequest(f"{_named(tag, above)}: sequences are nested too deep.")
    if any(not isinstance(item or {}, dict) for item in values):
        raise MalformedRequest(f"{_named(tag, above)}: an item is no object.")
    items = [_shaped(item or {}, (*above, tag)) for item in values]
    return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def _allowed(expected: list[str]) -> list[str]:
    """A value may be of unknown VR, but not a sequence: its items could not be looked at."""
    return expected if "SQ" in expected else [*expected, "UN"]


def require_rules(data_set: JsonObject, *, creating: bool) -> None:
    """Check a data set against the table.

    Raises
    ------
    MalformedRequest
        An attribute is missing, empty or forbidden; the message names it.
    """
    _check(data_set, TOP, creating=creating, above=())


def require_final(data_set: JsonObject, state: str) -> None:
    """Check that a work item has what a final state needs (spec §2.3).

    Raises
    ------
    MalformedRequest
        It has not; the message names what is missing.
    """
    for tag in ALWAYS:
        _require_value(data_set, tag, (), state)
    sequence, members = FINAL[state]
    _require_value(data_set, sequence, (), state)
    for item in data_set[tags.key(sequence)]["Value"]:
        for tag in members:
            _require_value(item, tag, (sequence,), state)


def is_empty(element: JsonObject | None) -> bool:
    """Whether an element has no value (spec §2)."""
    if element is None:
        return True
    values = element.get("Value") or []
    if element["vr"] == "SQ":
        return not values
    if len(values) > 1 or element.get("InlineBinary") or element.get("BulkDataURI"):
        return False
    return not values or _is_blank(values[0], element["vr"])


def _is_blank(value: Any, vr: str) -> bool:
    if value is None:
        return True
    if isinstance(value, dict):
        return not any(isinstance(group, str) and group.strip() for group in value.values())
    return vr in STRING_VRS and isinstance(value, str) and not value.strip()


def _check(
    data_set: JsonObject, rows: Iterable[Row], *, creating: bool, above: tuple[int, ...]
) -> None:
    for row in rows:
        element = data_set.get(tags.key(row.tag))
        code = row.code(creating=creating)
        if element is None and code not in _NEEDED:
            continue  # nearly always
        _require(row.tag, above, code, element)
        if element is None or element["vr"] != "SQ" or not row.items:
            continue
        for item in element.get("Value", ()):
            if row.items == ANY:
                _check_any(item, (*above, row.tag))
            else:
                _check(item, MACROS[row.items], creating=creating, above=(*above, row.tag))


def _check_any(data_set: JsonObject, above: tuple[int, ...]) -> None:
    for name, element in data_set.items():
        tag = int(name, 16)
        _require(tag, above, "3/3", element)
        if element["vr"] == "SQ":
            for item in element.get("Value", ()):
                _check_any(item, (*above, tag))


def _require(tag: int, above: tuple[int, ...], code: str, element: JsonObject | None) -> None:
    """Check one element against its code."""
    fault = None
    if code == ".":
        return
    if element is None:
        if code in _NEEDED:
            fault = "is missing"
    elif code == "X":
        fault = "may not be there"
    elif code == "E":
        if not is_empty(element):
            fault = "must be empty"
    elif code not in ("2/1", "2/2", "2C/2C") and is_empty(element):
        fault = "has no value"
    if fault is not None:
        raise MalformedRequest(f"{_named(tag, above)} {fault}.")


def _require_value(data_set: JsonObject, tag: int, above: tuple[int, ...], state: str) -> None:
    if is_empty(data_set.get(tags.key(tag))):
        raise MalformedRequest(f"{_named(tag, above)} has no value, which {state} needs (C304).")


def _named(tag: int, above: tuple[int, ...] = ()) -> str:
    names = []
    for each in (*above, tag):
        known = tags.entry(each)
        names.append(known.keyword if known is not None and known.keyword else tags.key(each))
    return f"{'.'.join(names)} {tags.text(tag)}"


def _word(text: str) -> str:
    return "".join(letter for letter in text[:40] if letter.isalnum())

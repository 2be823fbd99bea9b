"""Whether the data set of a work item is complete (spec worklist.md §2; PS3.4 Table CC.2.5-3)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from shared.dicom import tags
from shared.dicom.json_model import STRING_VRS
from shared.errors import MalformedRequest
from shared.ports import JsonObject
from shared.worklist.tables import ALWAYS, FINAL, MACROS, TOP, Row

_DEEPEST: Final = 16
_TAG: Final = re.compile("[0-9A-F]{8}")


def data_set_of(body: Any) -> JsonObject:
    """The data set of a request: the first of an array, each element shaped as DICOM JSON.

    Raises
    ------
    MalformedRequest
        There is none, or an element is malformed; the message names it.
    """
    if not isinstance(body, list) or not body or not isinstance(body[0], dict):
        raise MalformedRequest("The body must be an array with a data set in DICOM JSON.")
    return _shaped(body[0], 0)


def _shaped(data_set: JsonObject, depth: int) -> JsonObject:
    found: JsonObject = {}
    for name, element in data_set.items():
        key = name.upper()
        if _TAG.fullmatch(key) is None:
            raise MalformedRequest(f"'{_word(name)}' is no tag of eight hexadecimal digits.")
        if not isinstance(element, dict):
            raise MalformedRequest(f"{_named(int(key, 16))}: the element is no object.")
        if key in found:
            raise MalformedRequest(f"{_named(int(key, 16))}: the element is there twice.")
        found[key] = _element(int(key, 16), element, depth)
    return found


def _element(tag: int, element: JsonObject, depth: int) -> JsonObject:
    known = tags.entry(tag)
    expected = known.vr.replace(" or ", " ").split() if known is not None else []
    vr = element.get("vr", expected[0] if expected else None)
    if not isinstance(vr, str) or len(vr) != 2 or (expected and vr not in _allowed(expected)):
        raise MalformedRequest(f"{_named(tag)}: the VR must be {' or '.join(expected) or 'given'}.")
    values = element.get("Value")
    if values is not None and not isinstance(values, list):
        raise MalformedRequest(f"{_named(tag)}: Value must be an array.")
    if vr != "SQ":
        if any(isinstance(value, list) for value in values or ()):
            raise MalformedRequest(f"{_named(tag)}: a value is no value of {vr}.")
        return {**element, "vr": vr}
    if depth >= _DEEPEST:
        raise MalformedRequest(f"{_named(tag)}: sequences are nested too deep.")
    if any(not isinstance(item or {}, dict) for item in values or ()):
        raise MalformedRequest(f"{_named(tag)}: an item is no object.")
    items = [_shaped(item or {}, depth + 1) for item in values or ()]
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
        return not any(str(group).strip() for group in value.values())
    return vr in STRING_VRS and isinstance(value, str) and not value.strip()


def _check(
    data_set: JsonObject, rows: Iterable[Row], *, creating: bool, above: Sequence[int]
) -> None:
    for row in rows:
        code = row.code(creating=creating)
        element = data_set.get(tags.key(row.tag))
        where = _named(row.tag, above)
        _require(where, code, element)
        if element is None or element["vr"] != "SQ" or not row.items:
            continue
        for item in element.get("Value", []):
            _check(item, MACROS[row.items], creating=creating, above=(*above, row.tag))


def _require(where: str, code: str, element: JsonObject | None) -> None:
    """Check one element against its code."""
    if code == ".":
        return
    if element is None:
        if code in ("E", "1/1", "2/1", "2/2"):
            raise MalformedRequest(f"{where} is missing.")
    elif code == "X":
        raise MalformedRequest(f"{where} may not be there.")
    elif code == "E":
        if not is_empty(element):
            raise MalformedRequest(f"{where} must be empty.")
    elif code not in ("2/1", "2/2", "2C/2C") and is_empty(element):
        raise MalformedRequest(f"{where} has no value.")


def _require_value(data_set: JsonObject, tag: int, above: Sequence[int], state: str) -> None:
    if is_empty(data_set.get(tags.key(tag))):
        raise MalformedRequest(f"{_named(tag, above)} has no value, which {state} needs.")


def _named(tag: int, above: Sequence[int] = ()) -> str:
    names = []
    for each in (*above, tag):
        known = tags.entry(each)
        names.append(known.keyword if known is not None and known.keyword else tags.key(each))
    return f"{'.'.join(names)} {tags.text(tag)}"


def _word(text: str) -> str:
    return "".join(letter for letter in text[:40] if letter.isalnum())

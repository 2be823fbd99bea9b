"""Work items for tests."""

from __future__ import annotations

from typing import Any

from shared.dicom import tags
from shared.ports import JsonObject
from shared.worklist.tables import ANY, MACROS, Row

KIND = {"Content-Type": "application/dicom+json", "Accept": "application/dicom+json"}

CODE: JsonObject = {
    "00080100": {"vr": "SH", "Value": ["C1"]},
    "00080102": {"vr": "SH", "Value": ["99TEST"]},
    "00080104": {"vr": "LO", "Value": ["A code"]},
}


def sq(*items: JsonObject) -> JsonObject:
    return {"vr": "SQ", "Value": list(items)}


def value(vr: str, *values: Any) -> JsonObject:
    return {"vr": vr, "Value": list(values)}


def code(text: str) -> JsonObject:
    return {**CODE, "00080100": value("SH", text)}


def work_item(uid: str | None, **changes: JsonObject | None) -> JsonObject:
    """A complete data set for creation; ``changes`` by ``t`` and the tag, ``None`` to leave out."""
    empty = {
        tag: {"vr": "SQ"}
        for tag in ("00741210", "00404025", "00404026", "00404027", "00404034", "00404018",
                    "00404021", "00100024", "00101002", "00380014", "00081084", "0040A370",
                    "00741002", "00741216")
    }  # fmt: skip
    found: JsonObject = {
        **empty,
        "00081195": {"vr": "UI"},
        "00741200": value("CS", "MEDIUM"),
        "00741204": value("LO", "Read"),
        "00741202": value("LO", "ignored"),
        "00404005": value("DT", "20261125120000"),
        "00400400": {"vr": "LT"},
        "00404041": value("CS", "READY"),
        "00100010": value("PN", {"Alphabetic": "Work^Item"}),
        "00100020": value("LO", "P-1"),
        "00100021": {"vr": "LO"},
        "00100030": {"vr": "DA"},
        "00100040": {"vr": "CS"},
        "00380010": {"vr": "LO"},
        "00081080": {"vr": "LO"},
    }
    if uid is not None:
        found["00080018"] = value("UI", uid)
    for name, element in changes.items():
        found[name.removeprefix("t")] = element
    return {tag: element for tag, element in found.items() if element is not None}


SAMPLES: dict[str, Any] = {
    "AS": "042Y", "AT": "00100010", "DA": "20261125", "DS": 50, "DT": "20261125120000",
    "FD": 1.5, "FL": 1.5, "IS": 1, "PN": {"Alphabetic": "A^B"}, "TM": "120000", "UI": "1.2.3",
    "UL": 1, "UR": "https://example.org/1", "US": 1,
}  # fmt: skip


def sample(row: Row, *, creating: bool) -> JsonObject:
    """A value of a row's VR: of a sequence, one item with what it needs."""
    if row.vr != "SQ":
        if row.vr in ("OB", "OW", "UN"):
            return {"vr": row.vr, "InlineBinary": "AAA="}
        return value(row.vr, SAMPLES.get(row.vr, "X"))
    if row.items == ANY:
        return sq({"00080104": value("LO", "x")})
    needed = (each for each in MACROS[row.items] if each.code(creating=creating) in ("1/1", "2/2"))
    return sq({tags.key(each.tag): sample(each, creating=creating) for each in needed})


def state(target: str | None, transaction: str | None) -> list[JsonObject]:
    """The body of a change of state."""
    found: JsonObject = {}
    if transaction is not None:
        found["00081195"] = value("UI", transaction)
    if target is not None:
        found["00741000"] = value("CS", target)
    return [found]


PERFORMED: JsonObject = sq(
    {
        "00404028": sq(code("station")),
        "00404050": value("DT", "20261125120000"),
        "00404019": sq(code("work")),
        "00404051": value("DT", "20261125130000"),
        "00404033": sq(
            {
                "0040E020": value("CS", "DICOM"),
                "00081199": sq(
                    {"00081150": value("UI", "1.2.3"), "00081155": value("UI", "1.2.3.4")}
                ),
            }
        ),
    }
)
PROGRESS: JsonObject = sq(
    {
        "00404052": value("DT", "20261125130000"),
        "0074100E": sq(code("reason")),
    }
)

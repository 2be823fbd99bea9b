"""By what work items are searched, and the terms that their documents keep (spec §9.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from shared.dicom.attributes import STUDY, SearchKey
from shared.dicom.tags import key as tag_key
from shared.index.terms import term
from shared.ports import JsonObject
from shared.search.matching import predicate
from shared.web.query import Filter, Scope, SearchQuery
from shared.where import Or, Where

MOST_ITEMS: Final = 8
"""Items of a sequence that are searched."""


def _key(path: tuple[int, ...], keyword: str, vr: str) -> SearchKey:
    return SearchKey(path, keyword, vr, STUDY, core=False)


KEYS: Final[Mapping[tuple[int, ...], SearchKey]] = {
    key.path: key
    for key in (
        _key((0x00100010,), "PatientName", "PN"),
        _key((0x00100020,), "PatientID", "LO"),
        _key((0x0040A370, 0x00080050), "AccessionNumber", "SH"),
        _key((0x0040A370, 0x00401001), "RequestedProcedureID", "SH"),
        _key((0x00404005,), "ScheduledProcedureStepStartDateTime", "DT"),
        _key((0x00404025, 0x00080100), "CodeValue", "SH"),
        _key((0x00404026, 0x00080100), "CodeValue", "SH"),
        _key((0x00404027, 0x00080100), "CodeValue", "SH"),
        _key((0x00404018, 0x00080100), "CodeValue", "SH"),
        _key((0x00741000,), "ProcedureStepState", "CS"),
        _key((0x00741200,), "ScheduledProcedureStepPriority", "CS"),
        _key((0x00741202,), "WorklistLabel", "LO"),
        _key((0x00741204,), "ProcedureStepLabel", "LO"),
        _key((0x00404041,), "InputReadinessState", "CS"),
        _key((0x00404010,), "ScheduledProcedureStepModificationDateTime", "DT"),
        _key((0x0020000D,), "StudyInstanceUID", "UI"),
        _key((0x00080018,), "SOPInstanceUID", "UI"),
    )
}
"""Those of the Azure service, and further ones that PS3.4 CC.2.5-3 has."""

SCOPE: Final = Scope(STUDY, (STUDY,), keys=KEYS)


def terms_of(data_set: JsonObject) -> JsonObject:
    """The member ``q`` of a document; a further item of a sequence has ``#`` and its number."""
    found: JsonObject = {}
    for path, key in KEYS.items():
        name = ".".join(map(tag_key, path))
        for at, value in enumerate(_values(data_set, path)[:MOST_ITEMS]):
            kept = term(value, key.vr)
            if kept is not None:
                found[name if at == 0 else f"{name}#{at}"] = kept
    return found


def _values(data_set: JsonObject, path: tuple[int, ...]) -> list[Any]:
    values = (data_set.get(tag_key(path[0])) or {}).get("Value") or []
    if len(path) == 1:
        return values[:1]
    return [value for item in values for value in _values(item, path[1:])]


def conditions(query: SearchQuery) -> list[Where]:
    """What a result has to fulfil: of a sequence any item will do.

    Raises
    ------
    MalformedQuery
        A value is malformed.
    """
    found: list[Where] = []
    for wanted in query.filters:
        any_of = [
            matches
            for variant in _variants(wanted)
            if (
                matches := predicate(
                    variant,
                    fuzzy=query.fuzzy,
                    empty_values=query.empty_values,
                    multiple_values=query.multiple_values,
                )
            )
            is not None
        ]
        if any_of:
            found.append(any_of[0] if len(any_of) == 1 else Or(tuple(any_of)))
    return found


def _variants(wanted: Filter) -> list[Filter]:
    path = wanted.key.path
    if len(path) == 1:
        return [wanted]
    name = ".".join(map(tag_key, path))
    names = [name, *(f"{name}#{at}" for at in range(1, MOST_ITEMS))]
    return [replace(wanted, key=replace(wanted.key, stored_as=each)) for each in names]

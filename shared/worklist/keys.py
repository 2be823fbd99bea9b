"""By what work items are searched, and the terms that their documents keep (spec §9.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from shared.dicom.attributes import STUDY, SearchKey
from shared.dicom.tags import key as tag_key
from shared.dicom.tags import tag_of
from shared.index.terms import term
from shared.ports import JsonObject
from shared.search.matching import EMPTY, predicate
from shared.web.query import Filter, Scope, SearchQuery
from shared.where import And, Or, Where

MOST_ITEMS: Final = 8
"""Items of a sequence that are searched."""


def _key(path: tuple[int, ...], keyword: str, vr: str) -> SearchKey:
    return SearchKey(path, keyword, vr, STUDY, core=False)


_CODE: Final = ("CodeValue SH", "CodingSchemeDesignator SH")
_ISSUER: Final = ("LocalNamespaceEntityID UT", "UniversalEntityID UT", "UniversalEntityIDType CS")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "": (
        "SOPInstanceUID UI", "StudyInstanceUID UI", "ProcedureStepState CS",
        "ScheduledProcedureStepPriority CS", "ScheduledProcedureStepModificationDateTime DT",
        "ScheduledProcedureStepStartDateTime DT", "ScheduledProcedureStepExpirationDateTime DT",
        "ExpectedCompletionDateTime DT", "ProcedureStepLabel LO", "WorklistLabel LO",
        "InputReadinessState CS", "PatientName PN", "PatientID LO", "IssuerOfPatientID LO",
        "PatientBirthDate DA", "PatientSex CS", "AdmissionID LO",
    ),
    "ScheduledStationNameCodeSequence": _CODE,
    "ScheduledStationClassCodeSequence": _CODE,
    "ScheduledStationGeographicLocationCodeSequence": _CODE,
    "ScheduledWorkitemCodeSequence": _CODE,
    "ScheduledHumanPerformersSequence": ("HumanPerformerName PN", "HumanPerformerOrganization LO"),
    "ScheduledHumanPerformersSequence.HumanPerformerCodeSequence": _CODE,
    "IssuerOfPatientIDQualifiersSequence": _ISSUER[1:],
    "IssuerOfAdmissionIDSequence": _ISSUER,
    "ReferencedRequestSequence": (
        "StudyInstanceUID UI", "AccessionNumber SH", "RequestedProcedureID SH",
        "PlacerOrderNumberImagingServiceRequest LO", "FillerOrderNumberImagingServiceRequest LO",
    ),
    "ReferencedRequestSequence.IssuerOfAccessionNumberSequence": _ISSUER,
    "ReplacedProcedureStepSequence": ("ReferencedSOPInstanceUID UI",),
}  # fmt: skip
"""By the sequences around them: those of the Azure service, and those that PS3.4 CC.2.5 has."""


def _tags(path: str) -> tuple[int, ...]:
    found = [tag_of(word) for word in path.split(".") if word]
    known = tuple(tag for tag in found if tag is not None)
    if len(known) != len(found):
        raise LookupError(f"{path} is not in the dictionary.")
    return known


def _keys() -> Iterator[SearchKey]:
    for around, attributes in _KEYS.items():
        for keyword, vr in (attribute.split() for attribute in attributes):
            yield _key((*_tags(around), *_tags(keyword)), keyword, vr)


KEYS: Final[Mapping[tuple[int, ...], SearchKey]] = {key.path: key for key in _keys()}

SCOPE: Final = Scope(STUDY, (STUDY,), keys=KEYS)


def terms_of(data_set: JsonObject) -> JsonObject:
    """The member ``q`` of a document.

    The terms of a further item of a sequence have ``#`` and its number. Of the sequences within an
    item, the first item counts.
    """
    found: JsonObject = {}
    for path, key in KEYS.items():
        name = ".".join(map(tag_key, path))
        items = _items(data_set, path[0])[:MOST_ITEMS] if len(path) > 1 else [data_set]
        for at, item in enumerate(items):
            kept = term(_value(item, path[1:] or path), key.vr)
            if kept is not None:
                found[_stored_as(name, at)] = kept
    return found


def _items(data_set: JsonObject, tag: int) -> list[Any]:
    return (data_set.get(tag_key(tag)) or {}).get("Value") or []


def _value(item: JsonObject, path: tuple[int, ...]) -> Any:
    value: Any = item
    for tag in path:
        [value, *_] = _items(value, tag) or [None]
        if value is None:
            return None
    return value


def _stored_as(name: str, at: int) -> str:
    return name if at == 0 else f"{name}#{at}"


def conditions(query: SearchQuery) -> list[Where]:
    """What a result has to fulfil: all of it, and of a sequence in one item (PS3.4 C.2.2.2.6).

    Raises
    ------
    MalformedQuery
        A value is malformed.
    """
    found: list[Where] = []
    together: dict[int, list[Filter]] = {}
    for wanted in query.filters:
        if len(wanted.key.path) == 1:
            found += _predicates([wanted], query)
        elif query.empty_values and wanted.value.strip() == EMPTY:  # in no item
            found += _predicates(_variants(wanted), query)
        else:
            together.setdefault(wanted.key.path[0], []).append(wanted)
    for group in together.values():
        items = [_predicates(item, query) for item in zip(*map(_variants, group), strict=True)]
        if items[0]:
            found.append(Or(tuple(And(tuple(terms)) for terms in items)))
    return found


def _predicates(filters: Iterable[Filter], query: SearchQuery) -> list[Where]:
    found = (
        predicate(
            wanted,
            fuzzy=query.fuzzy,
            empty_values=query.empty_values,
            multiple_values=query.multiple_values,
        )
        for wanted in filters
    )
    return [where for where in found if where is not None]


def _variants(wanted: Filter) -> list[Filter]:
    """A filter for each item of a sequence."""
    name = ".".join(map(tag_key, wanted.key.path))
    return [
        replace(wanted, key=replace(wanted.key, stored_as=_stored_as(name, at)))
        for at in range(MOST_ITEMS)
    ]

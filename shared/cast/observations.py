"""Radiation dose: structured reports as Observations.

Each Observation is known by an identifier of our own, ``{report}/summary/{n}`` or
``{report}/{event}`` in the system of the endpoint, so that doing it again makes none anew and a
report that is deleted takes only its own along.

References
----------
Spec dicomcast.md §8; PS3.16 TID 10001, 10011, 10021.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from shared.cast.resources import accession_identifier, study_identifier
from shared.cast.values import ACCESSION_NUMBER, Attributes, InvalidTag, first, text, uid
from shared.ports import JsonObject

MOST_PER_REPORT = 500

_CONTENT = "0040A730"
_CONCEPT_NAME = "0040A043"
_CONCEPT_CODE = "0040A168"
_MEASURED = "0040A300"
_NUMERIC = "0040A30A"
_UNITS = "004008EA"
_TEXT_VALUE = "0040A160"
_UID_VALUE = "0040A124"
_CODE_VALUE = "00080100"
_SCHEME = "00080102"
_MEANING = "00080104"

_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_SNOMED = "http://snomed.info/sct"
_UCUM = "http://unitsofmeasure.org"
_SYSTEMS = {"DCM": _DCM, "SCT": _SNOMED, "SRT": _SNOMED, "UCUM": _UCUM}

_SUMMARIES = {("113500", "DCM"), ("113701", "DCM")}
_EVENTS = {("113706", "DCM"), ("113819", "DCM"), ("113502", "DCM")}
_EVENT_UID = ("113769", "DCM")
_ACCESSION = ("121022", "DCM")
_TARGET_REGION = ("123014", "DCM")
_CTDI = {("113830", "DCM"): "quantity"}
_IN_SUMMARY = {
    ("113725", "DCM"): "quantity",  # dose (RP) total
    ("111637", "DCM"): "quantity",  # accumulated average glandular dose
    ("111636", "DCM"): "quantity",  # entrance exposure at RP
    ("113722", "DCM"): "quantity",  # dose area product total
    ("113726", "DCM"): "quantity",  # fluoro dose area product total
    ("113727", "DCM"): "quantity",  # acquisition dose area product total
    ("113730", "DCM"): "quantity",  # total fluoro time
    ("113731", "DCM"): "integer",  # total number of radiographic frames
    ("113507", "DCM"): "quantity",  # administered activity
    ("113813", "DCM"): "quantity",  # CT dose length product total
    ("113812", "DCM"): "integer",  # total number of irradiation events
    **_CTDI,
    ("349358000", "SCT"): "text",  # radiopharmaceutical agent
    ("123005", "DCM"): "quantity",  # radiopharmaceutical volume
    ("89457008", "SCT"): "text",  # radionuclide
    ("410675002", "SCT"): "code",  # route of administration
}
_IN_EVENT = {
    **_CTDI,
    ("113838", "DCM"): "quantity",  # dose length product
    ("113835", "DCM"): "code",  # CTDIw phantom type
}


def observations(
    report: Attributes, *, study: str, instance: str, subject: str, part_of: str, source: str
) -> list[JsonObject]:
    """The Observations of a report, as they are to be.

    Parameters
    ----------
    report : Attributes
        Its data set in the DICOM JSON model.
    study, instance : str
        UIDs of its study and of itself.
    subject, part_of : str
        References to the patient and the imaging study.
    source : str
        Address of the endpoint: the system of their own identifiers.
    """
    found: list[JsonObject] = []
    keys: set[str] = set()
    summaries = 0
    for item in _items(report):
        concept = _concept(item, _CONCEPT_NAME)
        if concept in _SUMMARIES:
            summaries += 1
            made = _summary(item, report, study, part_of)
            key = f"{instance}/summary/{summaries}"
        elif concept in _EVENTS and (event := _event_uid(item)) is not None:
            made = _event(item, study)
            key = f"{instance}/{event}"
        else:
            continue
        if key in keys:
            continue  # the same event twice in one report
        keys.add(key)
        made["identifier"].append({"system": source, "value": key})
        made["subject"] = {"reference": subject}
        found.append(made)
        if len(found) == MOST_PER_REPORT:
            break
    return found


def own_key(resource: JsonObject, source: str) -> str | None:
    """Our identifier of an Observation; ``None``: it is of others."""
    for identifier in resource.get("identifier", []):
        if identifier.get("system") == source:
            return str(identifier.get("value"))
    return None


def merged(existing: JsonObject, wanted: JsonObject) -> JsonObject:
    """The existing Observation with our members."""
    after = {name: value for name, value in existing.items() if name not in _OURS}
    return {**after, **wanted}


_OURS = {"code", "subject", "partOf", "identifier", "bodySite", "component"}


def _summary(item: Attributes, report: Attributes, study: str, part_of: str) -> JsonObject:
    made = _observation("http://loinc.org", "73569-6", "Radiation exposure and protection info")
    made["partOf"] = [{"reference": part_of}]
    made["identifier"] = [study_identifier(study)]
    number = _accession(item) or _text(report, ACCESSION_NUMBER)
    if number is not None:
        made["identifier"].append(accession_identifier(number))
    _add_components(made, item, _IN_SUMMARY)
    return made


def _event(item: Attributes, study: str) -> JsonObject:
    made = _observation(_DCM, "113852", "Irradiation Event")
    made["identifier"] = [study_identifier(study)]
    for child in _items(item):
        if _concept(child, _CONCEPT_NAME) == _TARGET_REGION:
            site = _codeable(child)
            if site is not None:
                made["bodySite"] = site
                break
    _add_components(made, item, _IN_EVENT)
    return made


def _observation(system: str, code: str, display: str) -> JsonObject:
    return {
        "resourceType": "Observation",
        "status": "preliminary",
        "code": {"coding": [{"system": system, "code": code, "display": display}]},
    }


def _add_components(made: JsonObject, item: Attributes, kinds: dict[tuple[str, str], str]) -> None:
    components = []
    for child in _items(item):
        concept = _concept(child, _CONCEPT_NAME)
        kind = kinds.get(concept) if concept is not None else None
        value = _VALUES[kind](child) if kind is not None else None
        if value is not None:
            components.append({"code": _coded(child, _CONCEPT_NAME), **value})
    if components:
        made["component"] = components


# Reading content items ----------------------------------------------------------------------


def _items(data_set: Attributes) -> Iterator[Attributes]:
    """The data set itself, and all content items below it, in order."""
    waiting: list[Attributes] = [data_set]
    while waiting:
        item = waiting.pop()
        yield item
        children = (item.get(_CONTENT) or {}).get("Value") or []
        waiting += [child for child in reversed(children) if isinstance(child, dict)]


def _first_item(item: Attributes, tag: str) -> Attributes | None:
    found = first(item, tag)
    return found if isinstance(found, dict) else None


def _text(item: Attributes, tag: str) -> str | None:
    """Text; ``None`` also if it is none (spec §8: such items are ignored)."""
    try:
        return text(item, tag)
    except InvalidTag:
        return None


def _concept(item: Attributes, tag: str) -> tuple[str, str] | None:
    """Code value and scheme, as the tables above have them."""
    found = _first_item(item, tag)
    if found is None:
        return None
    value, scheme = _text(found, _CODE_VALUE), _text(found, _SCHEME)
    if value is None or scheme is None:
        return None
    scheme = scheme.upper()
    return value, "SCT" if scheme == "SRT" else scheme


def _coded(item: Attributes, tag: str) -> JsonObject | None:
    """The code in a sequence as a CodeableConcept."""
    found = _first_item(item, tag)
    if found is None:
        return None
    value, scheme = _text(found, _CODE_VALUE), _text(found, _SCHEME)
    if value is None:
        return None
    coding = {"code": value}
    if scheme is not None:
        coding["system"] = _SYSTEMS.get(scheme.upper(), scheme)
    meaning = _text(found, _MEANING)
    if meaning is not None:
        coding["display"] = meaning
    return {"coding": [coding]}


def _codeable(item: Attributes) -> JsonObject | None:
    return _coded(item, _CONCEPT_CODE)


def _accession(item: Attributes) -> str | None:
    for child in _items(item):
        if _concept(child, _CONCEPT_NAME) == _ACCESSION:
            return _text(child, _TEXT_VALUE)
    return None


def _event_uid(item: Attributes) -> str | None:
    for child in (item.get(_CONTENT) or {}).get("Value") or []:
        if isinstance(child, dict) and _concept(child, _CONCEPT_NAME) == _EVENT_UID:
            try:
                return uid(child, _UID_VALUE)
            except InvalidTag:
                return None
    return None


def _number(item: Attributes) -> int | float | None:
    measured = _first_item(item, _MEASURED)
    value = first(measured, _NUMERIC) if measured is not None else None
    try:
        number = float(value) if value is not None else None
    except (TypeError, ValueError):
        return None
    if number is None or not math.isfinite(number):
        return None
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _quantity(item: Attributes) -> JsonObject | None:
    number = _number(item)
    if number is None:
        return None
    quantity: dict[str, Any] = {"value": number}
    units = _first_item(_first_item(item, _MEASURED) or {}, _UNITS)
    unit = _text(units, _CODE_VALUE) if units is not None else None
    if unit is not None:
        quantity |= {"unit": unit, "system": _UCUM, "code": unit}
    return {"valueQuantity": quantity}


def _integer(item: Attributes) -> JsonObject | None:
    number = _number(item)
    return {"valueInteger": number} if isinstance(number, int) and number else None


def _string(item: Attributes) -> JsonObject | None:
    value = _text(item, _TEXT_VALUE)
    return None if value is None else {"valueString": value}


def _code(item: Attributes) -> JsonObject | None:
    value = _codeable(item)
    return None if value is None else {"valueCodeableConcept": value}


_VALUES = {"quantity": _quantity, "integer": _integer, "text": _string, "code": _code}

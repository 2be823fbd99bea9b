"""Patient, Endpoint and ImagingStudy: what is there already, with our members in it.

Each function takes the resource as the FHIR server has it (``None``: it has none) and gives the
resource as it is to be. If the two are equal there is nothing to write. Members that others have
set stay.

References
----------
Spec dicomcast.md §4–§6; FHIR R4 and R5, ImagingStudy and Endpoint.
"""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from shared.cast.picture import Instance, Person, Picture, Series
from shared.cast_settings import CastSettings
from shared.ports import JsonObject

STUDY_SYSTEM = "urn:dicom:uid"
CONNECTION_SYSTEM = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type"
CONNECTION = "dicom-wado-rs"
URI_SYSTEM = "urn:ietf:rfc:3986"
DCM = "http://dicom.nema.org/resources/ontology/DCM"
_ABSENT = {"system": "http://terminology.hl7.org/CodeSystem/data-absent-reason", "code": "unknown"}
_ACCESSION_CODING = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}


def oid(uid: str) -> str:
    """A UID as a URI (RFC 3061)."""
    return f"urn:oid:{uid}"


def study_identifier(study: str) -> JsonObject:
    """The identifier that every ImagingStudy and Observation of a study has."""
    return {"system": STUDY_SYSTEM, "value": oid(study)}


def accession_identifier(number: str) -> JsonObject:
    """An accession number as an identifier."""
    return {"type": {"coding": [dict(_ACCESSION_CODING)]}, "value": number}


# Patient ----------------------------------------------------------------------------------


def patient_identifier(person: Person) -> JsonObject:
    """The identifier of a patient. FHIR has no empty strings: without a system it is left out."""
    system = {"system": person.system} if person.system else {}
    return {**system, "value": person.value}


def patient(existing: JsonObject | None, person: Person) -> JsonObject:
    """The patient. The birth date is set only when the patient is new (spec §4)."""
    if existing is None:
        resource: JsonObject = {"resourceType": "Patient"}
        resource["identifier"] = [patient_identifier(person)]
        if person.birth_date is not None:
            resource["birthDate"] = person.birth_date
    else:
        resource = copy.deepcopy(existing)
    if person.name is not None:
        _put_usual_name(resource, person.name)
    if person.gender is not None:
        _put(resource, "gender", person.gender or None)
    return resource


def _put_usual_name(resource: JsonObject, parts: JsonObject) -> None:
    names = resource.setdefault("name", [])
    usual = next((name for name in names if name.get("use") == "usual"), None)
    if usual is None:
        usual = {"use": "usual"}
        names.append(usual)
    for member, value in parts.items():
        _put(usual, member, value)


# Endpoint ---------------------------------------------------------------------------------


def endpoint_name(address: str) -> str:
    """The name by which the endpoint of an address is known (spec §5)."""
    return f"DICOM WADO-RS endpoint {address}"


def endpoint(address: str, settings: CastSettings) -> JsonObject:
    """The endpoint of a tenant's partition. It is made once, and never changed or removed."""
    connection = {"system": CONNECTION_SYSTEM, "code": CONNECTION}
    resource: JsonObject = {
        "resourceType": "Endpoint",
        "identifier": [{"system": URI_SYSTEM, "value": address}],
        "status": "active",
        "name": endpoint_name(address),
        "address": address,
    }
    kind = {"text": "DICOM WADO-RS"}
    if settings.fhir_version == "R5":
        resource["connectionType"] = [{"coding": [connection]}]
        resource["payload"] = [{"type": [kind], "mimeType": ["application/dicom"]}]
    else:
        resource["connectionType"] = connection
        resource["payloadType"] = [kind]
        resource["payloadMimeType"] = ["application/dicom"]
    return resource


# ImagingStudy -----------------------------------------------------------------------------


def imaging_study(
    existing: JsonObject | None,
    picture: Picture,
    *,
    subject: str,
    endpoint: str,
    source: str,
    settings: CastSettings,
) -> JsonObject:
    """The study.

    Parameters
    ----------
    existing : JsonObject or None
        As the FHIR server has it.
    picture : Picture
        What the archive has.
    subject, endpoint : str
        References to the patient and the endpoint.
    source : str
        Address of the endpoint. A study whose ``meta.source`` differs was made by others: what
        is in it stays, unless it is marked as ours by the endpoint of a series.
    settings : CastSettings
        Codings and version.
    """
    if existing is None:
        resource: JsonObject = {
            "resourceType": "ImagingStudy",
            "meta": {"source": source},
            "identifier": [study_identifier(picture.study)],
            "status": "available",
        }
    else:
        resource = copy.deepcopy(existing)
    own = is_own(resource, source)
    if own and resource.get("subject", {}).get("reference") != subject:
        resource["subject"] = {"reference": subject}
    _put_moment(resource, picture.started)
    if own:
        _put(resource, "description", picture.descriptions[-1] if picture.descriptions else None)
    _add_reference(resource, endpoint)
    _put_notes(resource, picture.descriptions, own=own)
    _put_accessions(resource, picture.accessions, own=own)
    _put_series(resource, picture, endpoint, own=own, settings=settings)
    _put_modalities(resource, settings)
    return resource


def emptied(existing: JsonObject, endpoint: str | None, source: str) -> JsonObject | None:
    """A study of which the archive has nothing any more; ``None``: it is to be deleted."""
    if is_own(existing, source):
        return None
    resource = copy.deepcopy(existing)
    kept = [one for one in resource.get("series", []) if not _is_marked(one, endpoint)]
    _put(resource, "series", kept)
    _put_counts(resource)
    return resource


def is_own(resource: JsonObject, source: str) -> bool:
    """Whether the study was made for this endpoint."""
    return source_of(resource) == source


def source_of(resource: JsonObject) -> str:
    """Where a resource comes from. Some servers add the request's name behind ``#``."""
    return str(resource.get("meta", {}).get("source", "")).partition("#")[0]


def _put_notes(resource: JsonObject, texts: list[str], *, own: bool) -> None:
    """One note a description. Notes of others have more than a text, and stay."""
    notes = [
        note
        for note in resource.get("note", [])
        if not own or note.keys() != {"text"} or note["text"] in texts
    ]
    there = {note.get("text") for note in notes}
    notes += [{"text": text} for text in texts if text not in there]
    _put(resource, "note", notes)


def _put_accessions(resource: JsonObject, numbers: list[str], *, own: bool) -> None:
    """One identifier an accession number. Those of others have a system, and stay."""
    kept = [
        one
        for one in resource.get("identifier", [])
        if not (own and _is_our_accession(one)) or one["value"] in numbers
    ]
    there = {one.get("value") for one in kept if _is_accession(one)}
    kept += [accession_identifier(number) for number in numbers if number not in there]
    resource["identifier"] = kept


def _is_accession(identifier: JsonObject) -> bool:
    coding = identifier.get("type", {}).get("coding", [])
    return any(one.get("code") == "ACSN" for one in coding)


def _is_our_accession(identifier: JsonObject) -> bool:
    return _is_accession(identifier) and identifier.keys() == {"type", "value"}


def _put_modalities(resource: JsonObject, settings: CastSettings) -> None:
    """The modalities of the series, each once, in any case; those there keep their place."""
    codings = [_coding_of(series.get("modality", {})) for series in resource.get("series", [])]
    wanted = {one["code"].lower(): one for one in codings if one.get("code") != _ABSENT["code"]}
    kept = [
        one
        for one in resource.get("modality", [])
        if wanted.pop(str(_coding_of(one).get("code", "")).lower(), None) is not None
    ]
    added = [_modality(one["code"], settings) for one in wanted.values()]
    _put(resource, "modality", kept + added)


def _modality(code: str | None, settings: CastSettings) -> JsonObject:
    """A modality. FHIR demands one of each series: it is then said to be unknown."""
    system = DCM if settings.codes == "standard" else "DCM"
    coding = dict(_ABSENT) if code is None else {"system": system, "code": code}
    return {"coding": [coding]} if settings.fhir_version == "R5" else coding


def _coding_of(value: JsonObject) -> JsonObject:
    """The coding of a Coding (R4) or CodeableConcept (R5)."""
    codings = value.get("coding")
    return codings[0] if codings else value


# Series -----------------------------------------------------------------------------------


def _put_series(
    resource: JsonObject, picture: Picture, endpoint: str, *, own: bool, settings: CastSettings
) -> None:
    left = dict(picture.series)
    kept: list[JsonObject] = []
    for there in resource.get("series", []):
        series = left.pop(there["uid"], None)
        ours = own or _is_marked(there, endpoint)
        if series is not None:
            kept.append(_series(there, series, ours=ours, settings=settings))
        elif not ours:
            kept.append(there)
    for series in sorted(left.values(), key=lambda one: one.instances[0].key):
        made = _series({"uid": series.uid}, series, ours=True, settings=settings)
        if not own:
            made["endpoint"] = [{"reference": endpoint}]
        kept.append(made)
    _put(resource, "series", kept)
    _put_counts(resource)


def _is_marked(series: JsonObject, endpoint: str | None) -> bool:
    return endpoint is not None and series.get("endpoint") == [{"reference": endpoint}]


def _series(there: JsonObject, series: Series, *, ours: bool, settings: CastSettings) -> JsonObject:
    after = dict(there)
    _put(after, "number", series.number)
    _put(after, "description", series.description)
    _put_moment(after, series.started)
    wanted = _modality(series.modality, settings)
    if _coding_of(there.get("modality", {})).get("code") != _coding_of(wanted)["code"]:
        after["modality"] = wanted
    left = {one.uid: one for one in series.instances}
    instances = []
    for known in there.get("instance", []):
        found = left.pop(known["uid"], None)
        if found is not None:
            instances.append(_instance(known, found, settings))
        elif not ours:
            instances.append(known)
    instances += [_instance({"uid": one.uid}, one, settings) for one in left.values()]
    after["instance"] = instances
    after["numberOfInstances"] = len(instances)
    return after


def _instance(there: JsonObject, instance: Instance, settings: CastSettings) -> JsonObject:
    after = dict(there)
    if settings.codes == "standard":
        after["sopClass"] = {"system": URI_SYSTEM, "code": oid(instance.sop_class)}
    else:
        after["sopClass"] = {"code": instance.sop_class}
    _put(after, "number", instance.number)
    return after


def _put_counts(resource: JsonObject) -> None:
    series = resource.get("series", [])
    resource["numberOfSeries"] = len(series)
    resource["numberOfInstances"] = sum(len(one.get("instance", [])) for one in series)


def _add_reference(resource: JsonObject, reference: str) -> None:
    endpoints = resource.setdefault("endpoint", [])
    if all(one.get("reference") != reference for one in endpoints):
        endpoints.append({"reference": reference})


def _put_moment(resource: JsonObject, value: str | None) -> None:
    """Set ``started``; another spelling of the same moment, which servers choose, stays."""
    there = resource.get("started")
    if value is not None and there is not None and _moment(there) == _moment(value):
        return
    _put(resource, "started", value)


def _moment(text: str) -> datetime | str:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text  # less than a moment: a year, a month


def _put(resource: JsonObject, member: str, value: Any) -> None:
    """Set a member; FHIR has neither empty lists nor empty strings."""
    if value is None or value in ([], ""):
        resource.pop(member, None)
    else:
        resource[member] = value

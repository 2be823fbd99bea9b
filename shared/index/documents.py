"""Bodies of the index documents: how new instances change a study and a series.

Pure functions over ``shared.index.shapes``. The latest value of an attribute wins; a value that
is empty or absent never erases one (spec dicomweb.md §2.9).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.dicom import attributes as dicom
from shared.dicom.instance import JsonElement
from shared.dicom.tags import key as tag_key
from shared.index import shapes
from shared.index.terms import (
    level_of_extended,
    level_of_term,
    level_terms,
    merge_attributes,
)
from shared.ports import JsonObject, Operation, Patch
from shared.where import Scalar

_MODALITY = tag_key(dicom.MODALITY)
_MODALITIES = tag_key(dicom.MODALITIES_IN_STUDY)
_KEPT = {
    dicom.STUDY: frozenset(map(tag_key, dicom.ATTRIBUTES_OF_LEVEL[dicom.STUDY])),
    dicom.SERIES: frozenset(
        map(
            tag_key,
            dicom.ATTRIBUTES_OF_LEVEL[dicom.STUDY] | dicom.ATTRIBUTES_OF_LEVEL[dicom.SERIES],
        )
    ),
}
_ABOVE = {dicom.STUDY: (dicom.STUDY,), dicom.SERIES: (dicom.STUDY, dicom.SERIES)}
_MOST_PATCHED = 10
_MERGED = ("q", "d")
_COUNTED = ("instanceCount", "seriesCount", "revision")


@dataclass(frozen=True, slots=True)
class Expiry:
    """What a store says of the expiry of its studies (spec dicomweb.md §2.1).

    Parameters
    ----------
    due : str or None
        The moment, as ``iso`` writes it; ``None``: they do not expire.
    """

    due: str | None


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance whose file is stored and which is to enter the index.

    Parameters
    ----------
    key : shapes.InstanceKey
        Its identity.
    version : str
        Names the blob; 19 digits.
    attributes : dict[str, JsonElement]
        The attributes that the index keeps, of all levels, by tag.
    details : JsonObject
        The further members of the document (``shared.index.shapes``): ``blob``, ``size``, …
    expiry : Expiry or None
        What becomes of the study's expiry; ``None``: it stays as it is.
    tags : int
        The last number of the list of extended query tags by which it was read; 0 if that is
        not known.
    """

    key: shapes.InstanceKey
    version: str
    attributes: dict[str, JsonElement]
    details: JsonObject
    expiry: Expiry | None = None
    tags: int = 0


def iso(moment: datetime) -> str:
    """A moment in UTC as text that sorts by time."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def kept(attributes: Mapping[str, JsonElement], level: dicom.Level) -> dict[str, JsonElement]:
    """Those attributes that a study or series document keeps."""
    return {
        tag: element
        for tag, element in attributes.items()
        if tag in _KEPT[level] or level_of_extended(tag) in _ABOVE[level]
    }


def merged_study(
    study: JsonObject | None, news: Sequence[NewInstance], *, new_series: int
) -> JsonObject:
    """The study document with the new instances in it. ``news`` is in order of version."""
    body = study or _new(news[0], shapes.STUDY, shapes.study_id(news[0].key.study))
    shown = body["d"]
    for new in news:
        shown = merge_attributes(shown, kept(new.attributes, dicom.STUDY))
    modalities = set(modalities_of(body["d"])).union(*(modality_of(new.attributes) for new in news))
    shown = with_modalities(shown, modalities)
    after = {**body, **study_terms(shown), "seriesCount": body.get("seriesCount", 0) + new_series}
    for new in news:
        if new.expiry is not None and new.expiry.due != after.get("due"):
            after["due"] = new.expiry.due
    # documents below the study repeat its terms: they have to follow (shared.index.align)
    if study is not None and after["q"] != study["q"]:
        after["spreading"] = True
    return _counted(study, after, len(news))


def merged_series(
    series: JsonObject | None, study: JsonObject, news: Sequence[NewInstance]
) -> JsonObject:
    """The series document with the new instances in it; ``study`` is the study document after."""
    body = series or {
        **_new(news[0], shapes.SERIES, shapes.series_id(news[0].key.series)),
        "series": news[0].key.series,
    }
    shown = body["d"]
    for new in news:
        shown = merge_attributes(shown, kept(new.attributes, dicom.SERIES))
    after = {**body, **series_terms(shown, study["q"])}
    if series is not None and _own(after["q"]) != _own(series["q"]):
        study["spreading"] = True
    return _counted(series, after, len(news))


def instance_body(new: NewInstance, series: Mapping[str, JsonObject]) -> JsonObject:
    """The document of a new instance, below its study and series documents."""
    key = new.key
    return {
        "id": key.document_id,
        "pk": key.pk,
        "type": shapes.INSTANCE,
        "partition": key.partition.lower(),
        "study": key.study,
        "series": key.series,
        "instance": key.instance,
        "version": new.version,
        "q": {**series[key.series]["q"], **level_terms(new.attributes, dicom.INSTANCE)},
        "d": new.attributes,
        **new.details,
    }


def outbox_body(
    pk: str,
    partition: str,
    study: str,
    *,
    version: str,
    now: datetime,
    changes: list[JsonObject],
    news: Sequence[NewInstance] = (),
) -> JsonObject:
    """What the sequencer has to announce of one batch; ``partition`` as first spelled.

    ``tags`` in it is the oldest list of tags by which one of ``news``, what was added, was read.
    """
    body: JsonObject = {
        "id": f"outbox|{version}",
        "pk": pk,
        "type": shapes.OUTBOX,
        "partition": partition,
        "study": study,
        "version": version,
        "created": iso(now),
        "changes": changes,
    }
    return body | ({"tags": min(new.tags for new in news)} if news else {})


def behind_body(outbox: JsonObject) -> JsonObject:
    """What is left to do of a batch that was read by an old list of extended query tags."""
    return {
        "id": f"{shapes.BEHIND}|{outbox['version']}",
        "pk": outbox["pk"],
        "type": shapes.BEHIND,
        "version": outbox["version"],
        "tags": outbox["tags"],
    }


def study_terms(shown: dict[str, JsonElement]) -> JsonObject:
    """Members ``q`` and ``d`` of a study document from its attributes."""
    terms = level_terms(shown, dicom.STUDY)
    terms[_MODALITIES] = [modality.lower() for modality in modalities_of(shown)]
    return {"q": terms, "d": shown}


def series_terms(shown: dict[str, JsonElement], study_q: JsonObject) -> JsonObject:
    """Members ``q`` and ``d`` of a series document from its attributes."""
    return {"q": {**study_q, **level_terms(shown, dicom.SERIES)}, "d": shown}


def modality_of(attributes: Mapping[str, JsonElement]) -> list[str]:
    """The modality of a data set: none or one, without padding."""
    values = attributes.get(_MODALITY, {}).get("Value") or []
    return [values[0].rstrip(" \0")] if values and values[0] else []


def modalities_of(shown: Mapping[str, JsonElement]) -> list[str]:
    """ModalitiesInStudy of a study document."""
    return list(shown.get(_MODALITIES, {}).get("Value", []))


def with_modalities(
    shown: Mapping[str, JsonElement], modalities: Iterable[str]
) -> dict[str, JsonElement]:
    """The attributes with ModalitiesInStudy, sorted."""
    rest = {tag: element for tag, element in shown.items() if tag != _MODALITIES}
    values = sorted(modalities)
    return {**rest, _MODALITIES: {"vr": "CS", "Value": values}} if values else rest


def patch_of(before: JsonObject, after: JsonObject) -> list[Operation]:
    """The patches that turn ``before`` into ``after``: counts by addition, the rest by value.

    Refused as ``CHANGED`` if another writer has changed ``q`` or ``d`` since ``before``.
    """
    put: dict[tuple[str, ...], Any] = {
        (member, tag): after[member].get(tag)
        for member in _MERGED
        for tag in sorted(before[member].keys() | after[member].keys())
        if before[member].get(tag) != after[member].get(tag)
    }
    if before.get("due") != after.get("due"):
        put["due",] = after["due"]
    if after.get("spreading"):
        # even if it was so before: by now another writer may have aligned, and cleared it
        put["spreading",] = True
    add: dict[tuple[str, ...], int] = {
        (name,): after[name] - before[name]
        for name in _COUNTED
        if name in after and after[name] != before[name]
    }
    when: dict[tuple[str, ...], Scalar] = {("termsVersion",): before["termsVersion"]}
    if put:
        add["termsVersion",] = 1
        after["termsVersion"] = before["termsVersion"] + 1
    room = _MOST_PATCHED - len(add)
    items = list(put.items())
    patches: list[Operation] = [Patch(before["id"], put=dict(items[:room]), add=add, when=when)]
    patches += [
        Patch(before["id"], put=dict(items[start : start + _MOST_PATCHED]))
        for start in range(room, len(items), _MOST_PATCHED)
    ]
    return patches


def _new(new: NewInstance, kind: str, document_id: str) -> JsonObject:
    return {
        "id": document_id,
        "pk": new.key.pk,
        "type": kind,
        "partition": new.key.partition.lower(),
        "study": new.key.study,
        # searches give what came first first: of an updated instance that is its original
        "version": new.details.get(shapes.ORIGINAL_VERSION, new.version),
        "q": {},
        "d": {},
        "termsVersion": 0,
        "revision": 0,
        "instanceCount": 0,
        "spreading": False,
    }


def _counted(before: JsonObject | None, after: JsonObject, added: int) -> JsonObject:
    counts = before or {"instanceCount": 0, "revision": 0}
    after["instanceCount"] = counts["instanceCount"] + added
    after["revision"] = counts["revision"] + 1
    return after


def _own(q: JsonObject) -> JsonObject:
    return {tag: value for tag, value in q.items() if level_of_term(tag) == dicom.SERIES}

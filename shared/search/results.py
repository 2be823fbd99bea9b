"""Result rows of a search: which attributes, and where their values come from (spec §4.6, §4.7)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.dicom import attributes as dicom
from shared.dicom.tags import key as tag_key
from shared.ports import JsonObject
from shared.web.query import Scope, SearchQuery

_RETRIEVE_URL = 0x00081190
_COUNTS: Mapping[tuple[str, int], str] = {
    ("study", dicom.NUMBER_OF_STUDY_RELATED_SERIES): "seriesCount",
    ("study", dicom.NUMBER_OF_STUDY_RELATED_INSTANCES): "instanceCount",
    ("series", dicom.NUMBER_OF_SERIES_RELATED_INSTANCES): "instanceCount",
}
MEMBERS = ("id", "version", "study", "series", "instance", "d", "seriesCount", "instanceCount")
"""Members of index documents that rows are made of."""


def row_maker(
    query: SearchQuery, scope: Scope, *, major: int, base_url: str
) -> Callable[[JsonObject], JsonObject]:
    """How an index document becomes a result row, with its elements in order of tag."""
    wanted = wanted_tags(query, scope, major=major)
    keys = sorted(tag_key(tag) for tag in wanted)
    counts = [
        (tag_key(tag), member)
        for (level, tag), member in _COUNTS.items()
        if level == scope.level and tag in wanted
    ]
    with_url = _RETRIEVE_URL in wanted

    def row(body: JsonObject) -> JsonObject:
        shown = body["d"]
        elements = {key: shown[key] for key in keys if shown.get(key) is not None}
        for key, member in counts:
            elements[key] = {"vr": "IS", "Value": [body[member]]}
        if with_url:
            url = base_url + _resource(body)
            elements[tag_key(_RETRIEVE_URL)] = {"vr": "UR", "Value": [url]}
        return dict(sorted(elements.items())) if counts or with_url else elements

    return row


def wanted_tags(query: SearchQuery, scope: Scope, *, major: int) -> set[int]:
    """Top-level attributes that a row shows, if it has them.

    An attribute of ``includefield`` that the index does not keep is not shown: the index answers
    alone, no file's metadata is read.
    """
    wanted = set(query.fields) | scope.path
    wanted |= {wanted_filter.key.path[0] for wanted_filter in query.filters}
    for level in scope.levels:
        wanted |= dicom.DEFAULT_RETURN[1 if major < 2 else 2, level]
        if query.all_fields:
            wanted |= dicom.ALL_RETURN[level]
    if query.all_fields:
        wanted.add(_RETRIEVE_URL)
    return wanted


def _resource(body: JsonObject) -> str:
    path = f"/studies/{body['study']}"
    if "series" in body:
        path += f"/series/{body['series']}"
    if "instance" in body:
        path += f"/instances/{body['instance']}"
    return path

"""Result rows of a search: which attributes, and where their values come from (spec §4.6, §4.7).

Most come from the index document that matched. What the index does not keep is read from the
metadata of an instance, and what is counted at a level above from the document of that level:
see ``shared.search.sources``.

References
----------
PS3.18 10.6.3.3, Tables 10.6.3-3, 10.6.3-4, 10.6.3-5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.dicom import attributes as dicom
from shared.dicom.instance import JsonElement
from shared.dicom.tags import key as tag_key
from shared.index import shapes
from shared.ports import JsonObject
from shared.web.query import Scope, SearchQuery

RETRIEVE_URL = 0x00081190
INSTANCE_AVAILABILITY = 0x00080056
MEMBERS = ("id", "version", "study", "series", "instance", "d", "seriesCount", "instanceCount")
"""Members of index documents that rows are made of."""

_ONLINE: JsonElement = {"vr": "CS", "Value": ["ONLINE"]}
_ALWAYS_COMPUTED = frozenset({RETRIEVE_URL, INSTANCE_AVAILABILITY})
_LEVEL_OF_COMPUTED = {tag: level for tag, (_, _, level) in dicom.COMPUTED.items()}
_COUNTS = {
    dicom.NUMBER_OF_STUDY_RELATED_SERIES: "seriesCount",
    dicom.NUMBER_OF_STUDY_RELATED_INSTANCES: "instanceCount",
    dicom.NUMBER_OF_SERIES_RELATED_INSTANCES: "instanceCount",
}
_KEPT = {
    level: frozenset().union(*(dicom.ATTRIBUTES_OF_LEVEL[above] for above in levels))
    for level, levels in (
        (dicom.STUDY, (dicom.STUDY,)),
        (dicom.SERIES, (dicom.STUDY, dicom.SERIES)),
        (dicom.INSTANCE, dicom.LEVELS),
    )
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The attributes of a result row, by where they come from.

    Parameters
    ----------
    level : str
        Of the result.
    kept : tuple of str
        Tags that the index document has.
    computed : dict
        Tags that are worked out from the index, by the level that has them.
    extended : dict
        Where the index document has values of extended query tags, by tag.
    read : frozenset of str
        Tags that only an instance's metadata has.
    with_url, with_availability : bool
        Whether a row has RetrieveURL, InstanceAvailability.
    """

    level: dicom.Level
    kept: tuple[str, ...]
    extended: Mapping[str, str]
    computed: Mapping[dicom.Level, tuple[int, ...]]
    read: frozenset[str]
    with_url: bool
    with_availability: bool

    @property
    def above(self) -> tuple[dicom.Level, ...]:
        """Levels above the result whose documents are needed."""
        return tuple(level for level in self.computed if level != self.level)

    def row(
        self,
        body: JsonObject,
        base_url: str,
        above: Mapping[dicom.Level, JsonObject],
        metadata: Mapping[str, JsonElement],
    ) -> JsonObject:
        """A result: the elements of an index document and what was read beside, by tag."""
        shown = body["d"]
        elements = {key: shown[key] for key in self.kept if shown.get(key) is not None}
        elements |= {tag: shown[key] for tag, key in self.extended.items() if key in shown}
        elements |= {key: metadata[key] for key in self.read if key in metadata}
        for level, tags in self.computed.items():
            source = body if level == self.level else above.get(level)
            if source is not None:
                elements |= computed(source, tags)
        if self.with_url:
            url = base_url + resource(body)
            elements[tag_key(RETRIEVE_URL)] = {"vr": "UR", "Value": [url]}
        if self.with_availability:
            elements[tag_key(INSTANCE_AVAILABILITY)] = _ONLINE
        return dict(sorted(elements.items()))


def plan(query: SearchQuery, scope: Scope, *, major: int) -> Plan:
    """Which attributes the rows of a search have."""
    wanted = wanted_tags(query, scope, major=major)
    asked = query.fields if not query.all_fields else query.fields | _ALWAYS_COMPUTED
    reachable = dicom.LEVELS[: dicom.LEVELS.index(scope.level) + 1]
    by_level = {
        level: tuple(sorted(tag for tag in wanted if _LEVEL_OF_COMPUTED.get(tag) == level))
        for level in reachable
    }
    plain = wanted - _LEVEL_OF_COMPUTED.keys() - _ALWAYS_COMPUTED
    extended = {tag_key(key.path[0]): key.stored_as for key in query.extended}
    return Plan(
        scope.level,
        kept=tuple(sorted(tag_key(tag) for tag in plain & _KEPT[scope.level])),
        extended=extended,
        computed={level: tags for level, tags in by_level.items() if tags},
        read=frozenset(tag_key(tag) for tag in plain - _KEPT[scope.level]) - extended.keys(),
        with_url=RETRIEVE_URL in asked,
        with_availability=INSTANCE_AVAILABILITY in asked,
    )


def wanted_tags(query: SearchQuery, scope: Scope, *, major: int) -> set[int]:
    """Top-level attributes that a row shows, if it has them. Sequences are shown whole."""
    wanted = set(query.fields) | scope.path
    wanted |= {wanted_filter.key.path[0] for wanted_filter in query.filters}
    for level in scope.levels:
        wanted |= dicom.DEFAULT_RETURN[1 if major < 2 else 2, level]
        if query.all_fields:
            wanted |= dicom.ALL_RETURN[level]
    if query.all_fields:
        wanted |= {tag for tag, level in _LEVEL_OF_COMPUTED.items() if level == scope.level}
    return wanted


def computed(body: JsonObject, tags: tuple[int, ...]) -> dict[str, JsonElement]:
    """The computed attributes of a study or series document."""
    found: dict[str, JsonElement] = {}
    for tag in tags:
        key = tag_key(tag)
        if tag in _COUNTS:
            found[key] = {"vr": "IS", "Value": [body[_COUNTS[tag]]]}
        elif key in body["d"]:
            found[key] = body["d"][key]
    return found


def resource(body: JsonObject) -> str:
    """The path of a result below its partition."""
    path = f"/studies/{body['study']}"
    if "series" in body:
        path += f"/series/{body['series']}"
    if "instance" in body:
        path += f"/instances/{body['instance']}"
    return path


def document_id(body: JsonObject, level: dicom.Level) -> str:
    """Id of the study or series document above a result."""
    return (
        shapes.study_id(body["study"]) if level == dicom.STUDY else shapes.series_id(body["series"])
    )

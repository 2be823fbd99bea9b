"""What a search finds, worked out plainly from the attributes of all instances.

Shares nothing with the service but the list of keys: no terms, no predicates, no index.

References
----------
PS3.4 C.2.2.2; spec dicomweb.md §4.1, §4.4, §4.8.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Attributes: TypeAlias = Mapping[str, str]
"""Values by keyword; an empty text is an element without value."""

STUDY_KEYS = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "PatientID", "PatientName",
)  # fmt: skip
SERIES_KEYS = ("SeriesInstanceUID", "Modality", "SeriesNumber")
INSTANCE_KEYS = ("SOPInstanceUID", "InstanceNumber")
_UID_OF = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID"}
_OWN = {"study": STUDY_KEYS, "series": SERIES_KEYS, "instance": INSTANCE_KEYS}


@dataclass
class Entity:
    """A study, series or instance with the attributes of its level and those above."""

    uid: str
    made: int
    values: dict[str, str] = field(default_factory=dict)
    modalities: set[str] = field(default_factory=set)


def entities(stored: Sequence[Attributes], level: str) -> list[Entity]:
    """All entities of a level, newest first; ``stored`` is in the order of storing."""
    found: dict[tuple[str, ...], Entity] = {}
    for number, instance in enumerate(stored):
        path = tuple(instance[_UID_OF[each]] for each in _up_to(level))
        entity = found.setdefault(path, Entity(path[-1], number))
        for keys in (_OWN[each] for each in _up_to(level)):
            for keyword in keys:
                entity.values[keyword] = _latest(stored, instance, keyword)
        entity.modalities = {
            other["Modality"].lower()
            for other in stored
            if other["StudyInstanceUID"] == instance["StudyInstanceUID"] and other.get("Modality")
        }
    return sorted(found.values(), key=lambda entity: -entity.made)


def matches(entity: Entity, keyword: str, value: str, *, fuzzy: bool = False) -> bool:
    """Whether an entity matches one key."""
    value = value.strip()
    if keyword == "ModalitiesInStudy":
        return not value or value.lower() in entity.modalities
    held = entity.values.get(keyword, "")
    if not value:
        return True
    if keyword.endswith("UID"):
        return held in value.split(",")
    if keyword == "StudyDate":
        low, high = value.split("-") if "-" in value else (value, value)
        return bool(held) and (low or "0") <= held <= (high or "99999999")
    if keyword == "StudyTime":
        low, high = value.split("-") if "-" in value else (value, value)
        whole = held.ljust(6, "0")
        return bool(held) and low.ljust(6, "0") <= whole <= (high or "23").ljust(6, "9")
    if keyword.endswith("Number") and keyword != "AccessionNumber":
        return bool(held) and int(held) == int(value)
    if keyword == "PatientName":
        return _name(held, value, fuzzy=fuzzy)
    return value == "*" or (bool(held) and _pattern(value.lower(), held.lower()))


def _up_to(level: str) -> list[str]:
    levels = list(_UID_OF)
    return levels[: levels.index(level) + 1]


def _latest(stored: Sequence[Attributes], instance: Attributes, keyword: str) -> str:
    """The last value, that is one, within the study or series that the attribute is of."""
    level = next(level for level, keys in _OWN.items() if keyword in keys)
    same = [_UID_OF[each] for each in _up_to(level)]
    held = [
        other[keyword]
        for other in stored
        if all(other[uid] == instance[uid] for uid in same) and other.get(keyword)
    ]
    return held[-1] if held else ""


def _bare(text: str) -> str:
    parts = unicodedata.normalize("NFD", text.lower())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def _name(held: str, value: str, *, fuzzy: bool) -> bool:
    held, value = _bare(held), _bare(value)
    if value == "*":
        return True
    if not held:
        return False
    if fuzzy:
        words = re.split(r"[\^= ]+", held)
        asked = [word for word in re.split(r"[\^= *?]+", value) if word]
        return all(any(word.startswith(one) for word in words) for one in asked)
    groups = [held] if "=" in value else held.split("=")
    return any(_pattern(value.rstrip("^"), group.rstrip("^")) for group in groups)


def _pattern(pattern: str, text: str) -> bool:
    wild = {"*": ".*", "?": "."}
    return bool(re.fullmatch("".join(wild.get(one) or re.escape(one) for one in pattern), text))

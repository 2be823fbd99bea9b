"""What a bulk update may change, and how it is asked for (spec operations.md §3.1, §3.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from shared.dicom import tags, uid
from shared.dicom.json_reader import JsonFault, texts_of
from shared.dicom.validation_rules import multiplicity, shown_tag, value_problem
from shared.errors import DicomServiceError, MalformedRequest
from shared.ports import JsonObject

MOST_STUDIES: Final = 50

UPDATABLE: Final = frozenset(
    {
        0x00080050, 0x00080090, 0x00081030, 0x00100010, 0x00100020, 0x00100021, 0x00100022,
        0x00100030, 0x00100032, 0x00100040, 0x00100200, 0x00101000, 0x00101001, 0x00101005,
        0x00101010, 0x00101020, 0x00101030, 0x00101040, 0x00101060, 0x00101080, 0x00101081,
        0x00101090, 0x00102150, 0x00102152, 0x00102154, 0x00102160, 0x00102180, 0x001021F0,
        0x00102201, 0x00102292, 0x00102295, 0x00102297, 0x00102298, 0x00102299, 0x00104000,
        0x00403001,
    }
)  # fmt: skip
"""The attributes that a bulk update may change: of the patient and of the study, no sequences."""

_TAG: Final = re.compile("[0-9A-Fa-f]{8}").fullmatch
_GROUPS: Final = frozenset({"Alphabetic", "Ideographic", "Phonetic"})
_TEXT_VRS: Final = frozenset({"LT", "ST", "UT"})
# also ESC: the escapes of a character set are not for the caller to write
_NO_LETTER: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NO_LETTER_OF_A_TEXT: Final = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Change:
    """The new value of an attribute: its VR and its values as texts, none for an empty one."""

    vr: str
    values: tuple[str, ...]


class ChangesRefused(DicomServiceError):
    """The change data set has attributes that may not be changed, or bad values.

    Parameters
    ----------
    comments : list of str
        One for each of them (spec operations.md §3.1).
    """

    def __init__(self, comments: list[str]) -> None:
        super().__init__("The change data set is refused.")
        self.comments = comments


def studies_of(body: JsonObject) -> list[str]:
    """The studies that a request names, each once.

    Raises
    ------
    MalformedRequest
        None, too many, or something that is no UID.
    """
    found = member(body, "studyInstanceUids")
    if not isinstance(found, list) or not found:
        raise MalformedRequest("studyInstanceUids must be an array with at least one UID.")
    if len(found) > MOST_STUDIES:
        raise MalformedRequest(f"studyInstanceUids may have at most {MOST_STUDIES} UIDs.")
    for at, text in enumerate(found):
        if not isinstance(text, str) or not uid.is_valid(text):
            raise MalformedRequest(f"studyInstanceUids[{at}] is not a valid UID.")
    return list(dict.fromkeys(map(uid.normalised, found)))


def changes_of(body: JsonObject) -> JsonObject:
    """The change data set of a request, checked, as it is kept in the operation.

    Raises
    ------
    MalformedRequest
        There is none.
    ChangesRefused
        An attribute cannot be changed, or its value is invalid.
    """
    found = member(body, "changeDataset")
    if not isinstance(found, dict) or not found:
        raise MalformedRequest("changeDataset must be a DICOM JSON object with an attribute.")
    comments: list[str] = []
    changes: JsonObject = {}
    for name, element in found.items():
        if _TAG(name) is None:
            raise MalformedRequest("changeDataset has a member that is no tag.")
        tag = int(name, 16)
        try:
            if tags.key(tag) in changes:
                raise JsonFault(tag, "the element is there twice")
            change = _change(tag, element)
        except JsonFault as fault:
            comments.append(f"DICOM100: {shown_tag(tag)} - {fault.text}")
        else:
            changes[tags.key(tag)] = [change.vr, *change.values]
    if comments:
        raise ChangesRefused(comments)
    return changes


def _change(tag: int, element: Any) -> Change:
    known = tags.entry(tag)
    if tag not in UPDATABLE or known is None:
        raise JsonFault(tag, "the attribute cannot be changed by a bulk update")
    if not isinstance(element, dict):
        raise JsonFault(tag, "the element is no object")
    if element.get("vr", known.vr) != known.vr:
        raise JsonFault(tag, f"the VR is not {known.vr}")
    if element.keys() - {"vr", "Value"}:
        raise JsonFault(tag, "the element has something else than vr and Value")
    values = element.get("Value")
    texts = texts_of(tag, known.vr, values)
    problem = _name_problem(values or []) if known.vr == "PN" else None
    for text in texts:
        problem = problem or _text_problem(known.vr, text)
    if texts and not multiplicity(tag).allows(len(texts)):
        problem = problem or f"the number of values is not {multiplicity(tag).text}"
    if problem is not None:
        raise JsonFault(tag, problem)
    return Change(known.vr, tuple(texts))


def _name_problem(values: list[Any]) -> str | None:
    """What is wrong with person names: a member that is no group would empty the name."""
    for value in values:
        if isinstance(value, dict):
            if value.keys() - _GROUPS:
                return "a person name has another member than its three groups"
            groups = [text for text in value.values() if text is not None]
            if not all(isinstance(text, str) for text in groups):
                return "a group of a person name is no text"
            if any("=" in text for text in groups):
                return "a group of a person name has an equals sign"
    return None


def _text_problem(vr: str, text: str) -> str | None:
    """What is wrong with a value by the rules for new ones, stricter than those of a store."""
    no_letter = _NO_LETTER_OF_A_TEXT if vr in _TEXT_VRS else _NO_LETTER
    if no_letter.search(text):
        return "a value has a control character, or half of a surrogate pair"
    if vr == "DA" and text and not _is_day(text):
        return "a value is no day as YYYYMMDD"
    return value_problem(vr, text)


def _is_day(text: str) -> bool:
    if re.fullmatch("[0-9]{8}", text) is None:
        return False
    try:
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return False
    return True


def read_changes(kept: JsonObject) -> Mapping[int, Change]:
    """What ``changes_of`` made, by tag in ascending order."""
    return {
        int(name, 16): Change(vr, tuple(values)) for name, (vr, *values) in sorted(kept.items())
    }


def member(body: JsonObject, name: str) -> Any:
    """A member of a JSON object, in any case (spec operations.md §1)."""
    for found, value in body.items():
        if found.lower() == name.lower():
            return value
    return None

"""Which attributes search matches and returns, at which level (spec dicomweb.md §4.2, §4.6).

Tags are integers, ``(group << 16) | element``. Levels are the plain words that the index uses as
document types. Nothing here needs the data dictionary, except the helpers at the end.

References
----------
PS3.18 Tables 10.6.1-5, 10.6.3-3, 10.6.3-4, 10.6.3-5.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from shared.dicom.tags import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    SPECIFIC_CHARACTER_SET,
    STUDY_INSTANCE_UID,
    entry,
)

Level: TypeAlias = Literal["study", "series", "instance"]

STUDY: Final = "study"
SERIES: Final = "series"
INSTANCE: Final = "instance"
LEVELS: Final[tuple[Level, ...]] = (STUDY, SERIES, INSTANCE)

MODALITY: Final = 0x00080060
MODALITIES_IN_STUDY: Final = 0x00080061
PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
NUMBER_OF_STUDY_RELATED_SERIES: Final = 0x00201206
NUMBER_OF_STUDY_RELATED_INSTANCES: Final = 0x00201208
NUMBER_OF_SERIES_RELATED_INSTANCES: Final = 0x00201209
REQUEST_ATTRIBUTES_SEQUENCE: Final = 0x00400275


@dataclass(frozen=True, slots=True)
class SearchKey:
    """One attribute that can be searched.

    Parameters
    ----------
    path : tuple of int
        Its tag; within a sequence, the tags from the outside inwards.
    keyword : str
        Keyword of the last tag of the path.
    vr : str
        VR of the last tag of the path.
    level : str
        ``study``, ``series`` or ``instance``.
    core : bool
        ``True``: the Azure service has it too, and version 1 refuses an instance whose value is
        invalid. ``False``: PS3.18 demands it; an invalid value is only not found.
    stored_as : str
        Name in the index of an extended query tag; empty for the built-in ones.
    """

    path: tuple[int, ...]
    keyword: str
    vr: str
    level: Level
    core: bool = True
    stored_as: str = ""

    @property
    def tag(self) -> int:
        """The last tag of the path."""
        return self.path[-1]


_CORE = (
    SearchKey((STUDY_INSTANCE_UID,), "StudyInstanceUID", "UI", STUDY),
    SearchKey((0x00080020,), "StudyDate", "DA", STUDY),
    SearchKey((0x00081030,), "StudyDescription", "LO", STUDY),
    SearchKey((0x00080050,), "AccessionNumber", "SH", STUDY),
    SearchKey((PATIENT_ID,), "PatientID", "LO", STUDY),
    SearchKey((PATIENT_NAME,), "PatientName", "PN", STUDY),
    SearchKey((0x00080090,), "ReferringPhysicianName", "PN", STUDY),
    SearchKey((0x00100030,), "PatientBirthDate", "DA", STUDY),
    SearchKey((MODALITIES_IN_STUDY,), "ModalitiesInStudy", "CS", STUDY),
    SearchKey((SERIES_INSTANCE_UID,), "SeriesInstanceUID", "UI", SERIES),
    SearchKey((MODALITY,), "Modality", "CS", SERIES),
    SearchKey((0x00400244,), "PerformedProcedureStepStartDate", "DA", SERIES),
    SearchKey((0x00081090,), "ManufacturerModelName", "LO", SERIES),
    SearchKey((SOP_INSTANCE_UID,), "SOPInstanceUID", "UI", INSTANCE),
)

_STANDARD = (
    SearchKey((0x00080030,), "StudyTime", "TM", STUDY, core=False),
    SearchKey((0x00200010,), "StudyID", "SH", STUDY, core=False),
    SearchKey((0x00200011,), "SeriesNumber", "IS", SERIES, core=False),
    SearchKey((0x00400245,), "PerformedProcedureStepStartTime", "TM", SERIES, core=False),
    SearchKey(
        (REQUEST_ATTRIBUTES_SEQUENCE, 0x00400009),
        "ScheduledProcedureStepID",
        "SH",
        SERIES,
        core=False,
    ),
    SearchKey(
        (REQUEST_ATTRIBUTES_SEQUENCE, 0x00401001), "RequestedProcedureID", "SH", SERIES, core=False
    ),
    SearchKey((SOP_CLASS_UID,), "SOPClassUID", "UI", INSTANCE, core=False),
    SearchKey((0x00200013,), "InstanceNumber", "IS", INSTANCE, core=False),
)

CORE_TAGS: Final = MappingProxyType({key.tag: key for key in _CORE})
"""The built-in searchable attributes of the Azure service, by tag (spec §4.2)."""

STANDARD_KEYS: Final = MappingProxyType({key.path: key for key in _STANDARD})
"""What PS3.18 Table 10.6.1-5 demands beyond ``CORE_TAGS``, by path."""

SEARCH_KEYS: Final = MappingProxyType({key.path: key for key in _CORE + _STANDARD})
"""All built-in searchable attributes, by path."""

COMPUTED: Final = MappingProxyType(
    {
        MODALITIES_IN_STUDY: ("ModalitiesInStudy", "CS", STUDY),
        NUMBER_OF_STUDY_RELATED_SERIES: ("NumberOfStudyRelatedSeries", "IS", STUDY),
        NUMBER_OF_STUDY_RELATED_INSTANCES: ("NumberOfStudyRelatedInstances", "IS", STUDY),
        NUMBER_OF_SERIES_RELATED_INSTANCES: ("NumberOfSeriesRelatedInstances", "IS", SERIES),
    }
)
"""Attributes worked out from the index, never taken from a file: tag → keyword, VR, level."""

VALIDATED: Final = MappingProxyType({key.tag: key.vr for key in _CORE if key.tag not in COMPUTED})
"""Core tags that a file can carry, and the VR that each must have (spec §2.8)."""

_V1_STUDY = (
    SPECIFIC_CHARACTER_SET,
    0x00080020,  # StudyDate
    0x00080030,  # StudyTime
    0x00080050,  # AccessionNumber
    0x00080056,  # InstanceAvailability
    0x00080090,  # ReferringPhysicianName
    0x00080201,  # TimezoneOffsetFromUTC
    PATIENT_NAME,
    PATIENT_ID,
    0x00100030,  # PatientBirthDate
    0x00100040,  # PatientSex
    STUDY_INSTANCE_UID,
    0x00200010,  # StudyID
)
_V1_SERIES = (
    SPECIFIC_CHARACTER_SET,
    MODALITY,
    0x00080201,  # TimezoneOffsetFromUTC
    0x0008103E,  # SeriesDescription
    SERIES_INSTANCE_UID,
    0x00400244,  # PerformedProcedureStepStartDate
    0x00400245,  # PerformedProcedureStepStartTime
    REQUEST_ATTRIBUTES_SEQUENCE,
)
_V1_INSTANCE = (
    SPECIFIC_CHARACTER_SET,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    0x00080056,  # InstanceAvailability
    0x00080201,  # TimezoneOffsetFromUTC
    0x00200013,  # InstanceNumber
    0x00280008,  # NumberOfFrames
    0x00280010,  # Rows
    0x00280011,  # Columns
    0x00280100,  # BitsAllocated
)
_V2_STUDY = (
    0x00080020,  # StudyDate
    0x00080050,  # AccessionNumber
    0x00080090,  # ReferringPhysicianName
    0x00081030,  # StudyDescription
    PATIENT_NAME,
    PATIENT_ID,
    0x00100030,  # PatientBirthDate
    STUDY_INSTANCE_UID,
)
_V2_SERIES = (
    MODALITY,
    0x00081090,  # ManufacturerModelName
    SERIES_INSTANCE_UID,
    0x00400244,  # PerformedProcedureStepStartDate
)
_ALL_STUDY = (
    0x00080063,  # AnatomicRegionsInStudyCodeSequence
    0x00081030,  # StudyDescription
    0x00081032,  # ProcedureCodeSequence
    0x00081060,  # NameOfPhysiciansReadingStudy
    0x00081080,  # AdmittingDiagnosesDescription
    0x00081110,  # ReferencedStudySequence
    0x00101010,  # PatientAge
    0x00101020,  # PatientSize
    0x00101030,  # PatientWeight
    0x00102180,  # Occupation
    0x001021B0,  # AdditionalPatientHistory
)
_ALL_SERIES = (
    0x00080021,  # SeriesDate
    0x00080031,  # SeriesTime
    0x00081090,  # ManufacturerModelName (spec §6.5 #6)
    0x00200011,  # SeriesNumber
    0x00200060,  # Laterality
)

DEFAULT_RETURN: Final[MappingProxyType[tuple[int, Level], frozenset[int]]] = MappingProxyType(
    {
        (1, STUDY): frozenset(_V1_STUDY),
        (1, SERIES): frozenset(_V1_SERIES),
        (1, INSTANCE): frozenset(_V1_INSTANCE),
        (2, STUDY): frozenset(_V2_STUDY),
        (2, SERIES): frozenset(_V2_SERIES),
        (2, INSTANCE): frozenset((SOP_INSTANCE_UID,)),
    }
)
"""What search returns without ``includefield``, by major version and level (spec §4.6)."""

ALL_RETURN: Final[MappingProxyType[Level, frozenset[int]]] = MappingProxyType(
    {
        STUDY: frozenset(_V1_STUDY + _ALL_STUDY),
        SERIES: frozenset(_V1_SERIES + _ALL_SERIES),
        INSTANCE: frozenset(_V1_INSTANCE),
    }
)
"""What ``includefield=all`` returns, by level, in both versions (spec §4.6)."""


def _kept(level: Level) -> frozenset[int]:
    searched = {key.path[0] for key in SEARCH_KEYS.values() if key.level == level}
    returned = DEFAULT_RETURN[1, level] | DEFAULT_RETURN[2, level] | ALL_RETURN[level]
    return frozenset(searched | returned) - COMPUTED.keys()


ATTRIBUTES_OF_LEVEL: Final[MappingProxyType[Level, frozenset[int]]] = MappingProxyType(
    {level: _kept(level) for level in LEVELS}
)
"""Top-level tags that the index keeps at each level. Some are kept at several levels."""

INDEXED_ATTRIBUTES: Final[frozenset[int]] = frozenset().union(*ATTRIBUTES_OF_LEVEL.values())
"""Top-level tags that the index keeps from each file."""

LEVEL_OF: Final[MappingProxyType[int, Level]] = MappingProxyType(
    {tag: level for level in reversed(LEVELS) for tag in sorted(ATTRIBUTES_OF_LEVEL[level])}
)
"""The uppermost level at which the index keeps each of ``INDEXED_ATTRIBUTES``."""


def keyword_of(tag: int) -> str | None:
    """Keyword of a tag, or ``None`` for a private one or one that the dictionary lacks."""
    known = entry(tag)
    return (known.keyword or None) if known else None


def vr_of(tag: int) -> str | None:
    """VR of a standard tag, or ``None``; where the dictionary has several, the first (PS3.6 6)."""
    known = entry(tag)
    return known.vr.split(" ")[0] if known else None

"""Values of DICOM attributes as FHIR data types.

An attribute is absent (``None``), empty, or has values. What breaks its VR raises ``InvalidTag``
with the keyword, never the value: that may be about a patient.

References
----------
PS3.5 6.2; FHIR R4 2.24. Spec dicomcast.md §4, §6.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, time
from typing import Any, TypeAlias

from shared.dicom.attributes import keyword_of

Attributes: TypeAlias = Mapping[str, Mapping[str, Any]]
"""A data set in the DICOM JSON model (PS3.18 F)."""

PATIENT_NAME = "00100010"
PATIENT_ID = "00100020"
ISSUER_OF_PATIENT_ID = "00100021"
PATIENT_BIRTH_DATE = "00100030"
PATIENT_SEX = "00100040"
STUDY_DATE = "00080020"
STUDY_TIME = "00080030"
SERIES_DATE = "00080021"
SERIES_TIME = "00080031"
ACCESSION_NUMBER = "00080050"
MODALITY = "00080060"
STUDY_DESCRIPTION = "00081030"
SERIES_DESCRIPTION = "0008103E"
TIMEZONE_OFFSET = "00080201"
SERIES_NUMBER = "00200011"
INSTANCE_NUMBER = "00200013"
SOP_CLASS_UID = "00080016"
OPTIONAL = frozenset(
    {
        *(PATIENT_NAME, PATIENT_BIRTH_DATE, PATIENT_SEX, TIMEZONE_OFFSET),
        *(STUDY_DATE, STUDY_TIME, SERIES_DATE, SERIES_TIME, ACCESSION_NUMBER),
        *(STUDY_DESCRIPTION, SERIES_DESCRIPTION, SERIES_NUMBER, INSTANCE_NUMBER),
    }
)
"""What an instance may lack."""

_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)")
_TIME = re.compile(r"(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,6})?)?)?")
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")
_CODE = re.compile(r"[A-Z0-9 _]{1,16}")
_INTEGER = re.compile(r"[+-]?\d{1,12}")
# what FHIR's string or UTF-8 cannot hold
_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))*")
_LONGEST_UID = 64
_MOST_MINUTES = 14 * 60
_LEAST_MINUTES = -12 * 60
_LARGEST = 2**31 - 1
_GENDERS = {"M": "male", "F": "female", "O": "other"}


class InvalidTag(Exception):
    """An element whose value breaks its VR.

    Parameters
    ----------
    tag : str
        Eight hexadecimal digits.
    """

    def __init__(self, tag: str) -> None:
        self.keyword = keyword_of(int(tag, 16)) or tag
        super().__init__(f"{self.keyword} ({tag[:4]},{tag[4:]}) has an invalid value")


def first(attributes: Attributes, tag: str) -> Any:
    """The first value; ``None`` if the element is absent or empty."""
    values = (attributes.get(tag) or {}).get("Value")
    return values[0] if isinstance(values, list) and values else None


def text(attributes: Attributes, tag: str) -> str | None:
    """The first value as text without padding; ``None`` if nothing is left.

    Raises
    ------
    InvalidTag
        It is no text, or holds control characters, which FHIR does not take.
    """
    value = first(attributes, tag)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidTag(tag)
    value = value.strip(" \0")
    if _UNFIT.search(value):
        raise InvalidTag(tag)
    return value or None


def integer(attributes: Attributes, tag: str) -> int | None:
    """An IS that FHIR's ``unsignedInt`` can hold; ``None`` if absent.

    Raises
    ------
    InvalidTag
        It is no integer, or not from 0 to 2³¹ - 1.
    """
    value = first(attributes, tag)
    if value is None or value == "":
        return None
    written = str(value).strip() if isinstance(value, str | int | float) else ""
    if isinstance(value, float) and value.is_integer():
        written = str(int(value))
    if not _INTEGER.fullmatch(written) or not 0 <= int(written) <= _LARGEST:
        raise InvalidTag(tag)
    return int(written)


def code(attributes: Attributes, tag: str) -> str | None:
    """A CS; ``None`` if absent. Codes that nobody knows are codes too."""
    value = text(attributes, tag)
    if value is not None and not _CODE.fullmatch(value):
        raise InvalidTag(tag)
    return value


def uid(attributes: Attributes, tag: str) -> str | None:
    """A UI; ``None`` if absent."""
    value = text(attributes, tag)
    if value is not None and (len(value) > _LONGEST_UID or not _UID.fullmatch(value)):
        raise InvalidTag(tag)
    return value


def birth_date(attributes: Attributes) -> str | None:
    """PatientBirthDate as a FHIR date."""
    value = text(attributes, PATIENT_BIRTH_DATE)
    return None if value is None else _date(value, PATIENT_BIRTH_DATE).isoformat()


def gender(attributes: Attributes) -> str | None:
    """PatientSex as an administrative gender; "" if the element is there and empty."""
    if PATIENT_SEX not in attributes:
        return None
    value = text(attributes, PATIENT_SEX)
    if value is None:
        return ""
    if value not in _GENDERS:
        raise InvalidTag(PATIENT_SEX)
    return _GENDERS[value]


def person_name(attributes: Attributes) -> dict[str, Any] | None:
    """PatientName as the members of a HumanName that it sets; ``None`` if there is no name.

    Only the alphabetic group counts (PS3.5 6.2.1). Family and given are always set, possibly to
    nothing; prefix and suffix only if the name has those parts.
    """
    value = first(attributes, PATIENT_NAME)
    if value is None:
        return None
    written = value.get("Alphabetic") if isinstance(value, Mapping) else value
    if written is None:
        return None
    if not isinstance(written, str):
        raise InvalidTag(PATIENT_NAME)
    written = written.partition("=")[0].strip(" \0")
    if _UNFIT.search(written):
        raise InvalidTag(PATIENT_NAME)
    if not written.strip("^ "):
        return None
    parts = [part.strip() for part in written.split("^")]
    name: dict[str, Any] = {
        "family": parts[0] or None,
        "given": [word for part in parts[1:3] for word in part.split()] or None,
    }
    for position, member in ((3, "prefix"), (4, "suffix")):
        if len(parts) > position:
            name[member] = parts[position].split() or None
    return name


def moment(attributes: Attributes, date_tag: str, time_tag: str) -> str | None:
    """A date and a time as a FHIR dateTime, in the data set's zone, else UTC; needs both.

    Raises
    ------
    InvalidTag
        Date, time or offset is malformed or out of range.

    References
    ----------
    PS3.3 C.12.1.1.8 (TimezoneOffsetFromUTC); spec dicomcast.md §6.
    """
    day, clock = text(attributes, date_tag), text(attributes, time_tag)
    if day is None or clock is None:
        return None
    found = _TIME.fullmatch(clock)
    if found is None:
        raise InvalidTag(time_tag)
    hour, minute, second, fraction = found.groups()
    try:
        of_day = time(int(hour), int(minute or 0), int(second or 0))
    except ValueError:
        raise InvalidTag(time_tag) from None
    zone = _zone(attributes)
    return f"{_date(day, date_tag).isoformat()}T{of_day.isoformat()}{fraction or ''}{zone}"


def _date(written: str, tag: str) -> date:
    found = _DATE.fullmatch(written)
    try:
        if found is None:
            raise InvalidTag(tag)
        return date(*map(int, found.groups()))
    except ValueError:
        raise InvalidTag(tag) from None


def _zone(attributes: Attributes) -> str:
    written = text(attributes, TIMEZONE_OFFSET)
    if written is None:
        return "+00:00"
    found = _OFFSET.fullmatch(written)
    if found is None:
        raise InvalidTag(TIMEZONE_OFFSET)
    sign, hours, minutes = found.groups()
    ahead = int(f"{sign}1") * (int(hours) * 60 + int(minutes))
    if int(minutes) > 59 or not _LEAST_MINUTES <= ahead <= _MOST_MINUTES:
        raise InvalidTag(TIMEZONE_OFFSET)
    return f"{sign}{hours}:{minutes}"

"""What a store accepts, refuses, or takes with a warning (spec dicomweb.md §2.7, §2.8).

Version 1 looks at the attributes that are searched only, and refuses an instance for each fault.
Version 2 refuses for the five required attributes only; any other fault is a warning, and the
element is left out of metadata and index, never out of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.dicom import uid
from shared.dicom.attributes import PATIENT_ID, VALIDATED, keyword_of
from shared.dicom.instance import Identifiers
from shared.dicom.tags import (
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
    is_private,
)
from shared.dicom.validation_minimum import minimum_problem, minimum_text
from shared.dicom.validation_rules import (
    SIZE,
    VALID,
    full_problem,
    multiplicity,
    shown_tag,
    takes_one,
)

CANNOT_UNDERSTAND: Final = 43264
"""FailureReason of a refused instance (PS3.18 Table I.2-2, A9xx)."""

MAX_COMMENTS: Final = 1000
"""A hostile file could have millions of faults; beyond this number they count but are not told."""

_REQUIRED_UIDS: Final = (
    (SOP_CLASS_UID, "sop_class_uid"),
    (STUDY_INSTANCE_UID, "study_instance_uid"),
    (SERIES_INSTANCE_UID, "series_instance_uid"),
    (SOP_INSTANCE_UID, "sop_instance_uid"),
)
_REQUIRED: Final[Mapping[int, str]] = {
    **{tag: "UI" for tag, _ in _REQUIRED_UIDS},
    PATIENT_ID: "LO",
}
_IDENTIFIERS: Final = frozenset({STUDY_INSTANCE_UID, SERIES_INSTANCE_UID, SOP_INSTANCE_UID})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one instance of a store.

    Parameters
    ----------
    failure : int or None
        FailureReason; ``None``: it is stored.
    comments : list of str
        ErrorComments of a refused instance: errors, then warnings. Empty if it is stored.
    warnings : list of str
        ErrorComments of warnings. Not empty for a stored one: WarningReason 1, unless the
        caller has a stronger one.
    left_out : frozenset of int
        Top-level elements that metadata and index must not have. (Which sequences are left out
        for an element inside them, the reader of the file knows.)
    several_values : bool
        An attribute of which the index takes the first value only has several (spec §2.9).
    """

    failure: int | None
    comments: list[str]
    warnings: list[str]
    left_out: frozenset[int]
    several_values: bool


class StoreValidation:
    """Judges one instance while it is read: a ``shared.dicom.instance.Checker``.

    Of several faults of one tag the first is told.

    Parameters
    ----------
    major : int
        1 or 2.
    searchable : Mapping[int, str]
        VR of each attribute that is searched, by tag: ``shared.dicom.attributes.VALIDATED``
        and the tenant's own.
    every_fault : bool
        Breaches of the full rules refuse the instance, in both versions.

    References
    ----------
    PS3.18 10.5.3; spec dicomweb.md §2.7, §2.8.
    """

    def __init__(
        self,
        major: int,
        searchable: Mapping[int, str] = VALIDATED,
        *,
        every_fault: bool = False,
    ) -> None:
        self._strict = major < 2
        self._every_fault = every_fault
        self._full = every_fault or not self._strict
        self._expected = {**_REQUIRED, **searchable}
        self._errors: dict[int, str] = {}
        self._warnings: dict[int, str] = {}
        self._untold = False
        self._left_out: set[int] = set()
        self._counts: dict[int, int] = {}
        self._patient_id: str | None = None
        self._several_values = False

    def element(self, tag: int, vr: str, values: list[str] | None, length: int, depth: int) -> bool:
        """Take note of one element; see ``Checker.element``."""
        if depth == 0 and tag in self._expected and not self._indexed(tag, vr, values, length):
            return False
        if not self._full:
            return True
        if values is not None and len(values) == 1:  # nearly always
            valid = VALID.get(vr)
            if (valid is None or valid(values[0])) and takes_one(tag):
                return True
        elif _surely_valid(tag, vr, values, length):
            return True
        problem = full_problem(tag, vr, values, length)
        return problem is None or self._warn(tag, problem, depth)

    def _warn(self, tag: int, text: str, depth: int) -> bool:
        """Record a warning; ``False`` if the element is therefore left out."""
        if len(self._warnings) < MAX_COMMENTS:
            self._warnings.setdefault(tag, text)
        elif tag not in self._warnings:
            self._untold = True
        if depth == 0:
            if tag in _IDENTIFIERS:
                return True
            self._left_out.add(tag)
        return False

    def _indexed(self, tag: int, vr: str, values: list[str] | None, length: int) -> bool:
        """Check a required or searched top-level element; ``False`` if it is left out."""
        required = tag in _REQUIRED
        count = length // SIZE[vr] if vr in SIZE else len(values) if values is not None else 1
        if count > 1 and (required or self._strict):
            self._several_values = True
        if required:
            self._counts[tag] = count
            if tag == PATIENT_ID:
                self._patient_id = "".join(values).strip(" \0") if values is not None else "?"
        expected = self._expected[tag]
        if vr != expected and not (vr == "UN" and is_private(tag)):
            text = self._minimum_text(tag, f"expected VR {expected}, found {vr}.")
            if not required and not self._strict:
                return self._warn(tag, text, 0)
            self._errors.setdefault(tag, text)
        elif required or self._strict:
            if values and not self._strict:
                values = [values[0].rstrip("\0")]
            tail = minimum_problem(vr, values, length)
            if tail is not None:
                self._errors.setdefault(tag, self._minimum_text(tag, tail))
        return True

    def _minimum_text(self, tag: int, tail: str) -> str:
        keyword = keyword_of(tag) or f"{tag:08X}"
        return minimum_text(tag, keyword, self._expected[tag], tail)

    def finish(self, identifiers: Identifiers, url_study_uid: str | None) -> Verdict:
        """The verdict, after the last element.

        Parameters
        ----------
        identifiers : Identifiers
            The UIDs of the instance.
        url_study_uid : str or None
            The study that the request was for, if it was for one.
        """
        errors = self._required(identifiers, url_study_uid)
        for tag, text in self._errors.items():
            errors.setdefault(tag, text)
        warnings: dict[int, str] = {}
        if not self._strict and self._patient_id == "":
            warnings[PATIENT_ID] = _missing(PATIENT_ID)
        for tag, text in self._warnings.items():
            warnings.setdefault(tag, text)
        texts = list(warnings.values())
        if self._untold:
            texts.append("Further elements with problems are not listed.")
        refused = bool(errors) or (self._every_fault and bool(self._warnings))
        comments: list[str] = []
        if refused:
            comments = list(errors.values())
            comments += [text for tag, text in warnings.items() if tag not in errors]
            comments += texts[len(warnings) :]
        return Verdict(
            failure=CANNOT_UNDERSTAND if refused else None,
            comments=comments,
            warnings=texts,
            left_out=frozenset(self._left_out),
            several_values=self._several_values,
        )

    def _required(self, identifiers: Identifiers, url_study_uid: str | None) -> dict[int, str]:
        """The first of the faults of §2.7, if there is one."""
        for tag, name in _REQUIRED_UIDS:
            value: str | None = getattr(identifiers, name)
            if not value or not uid.normalised(value) or self._counts.get(tag, 1) != 1:
                return {tag: _missing(tag)}
        if url_study_uid is not None:
            study = identifiers.study_instance_uid or ""
            if _comparable(study) != _comparable(url_study_uid):
                return {
                    STUDY_INSTANCE_UID: f"DICOM100: {shown_tag(STUDY_INSTANCE_UID)} - "
                    "The StudyInstanceUID of the instance is not that of the study in the URL."
                }
        lacking = self._patient_id is None or (self._strict and not self._patient_id)
        if lacking and PATIENT_ID not in self._errors:
            return {PATIENT_ID: _missing(PATIENT_ID)}
        return {}


def _surely_valid(tag: int, vr: str, values: list[str] | None, length: int) -> bool:
    """Whether the quick tests find nothing wrong by the full rules with none or several values."""
    if values is None:
        size = SIZE.get(vr)
        if size is None:
            return vr not in VALID  # a text too long to be kept is looked at closely
        return length == 0 or multiplicity(tag).allows(length // size)
    if not values:
        return True
    valid = VALID.get(vr)
    return (valid is None or all(map(valid, values))) and multiplicity(tag).allows(len(values))


def _missing(tag: int) -> str:
    shown = shown_tag(tag)
    return f"DICOM100: {shown} - The required tag '{shown}' is missing."


def _comparable(value: str) -> str:
    return uid.normalised(value).rstrip().casefold()

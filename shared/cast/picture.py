"""What FHIR is to say about a study, worked out from all instances that the archive has of it.

Nothing depends on the order in which changes were announced: of an attribute in which instances
differ, the newest instance that has it wins, as if each instance had overwritten those before.
What FHIR keeps as a list (descriptions, accession numbers) has the value of every instance.

References
----------
Spec dicomcast.md §4, §6, §7.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from shared.cast import values
from shared.cast.values import Attributes, InvalidTag
from shared.cast_settings import CastSettings
from shared.index import shapes
from shared.ports import JsonObject

REPORTS = "1.2.840.10008.5.1.4.1.1.88."
"""SOP classes of structured reports begin so (PS3.4 B.5)."""

MOST_PROBLEMS = 100

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Problem:
    """What of an instance is not in FHIR, and why.

    Parameters
    ----------
    kind : {"refused", "skipped"}
        The whole instance, or an element of it.
    series, instance : str
        UIDs.
    cause : str
        Names elements, never values.
    """

    kind: str
    series: str
    instance: str
    cause: str


@dataclass(slots=True)
class Person:
    """The patient: identity, and what the study's instances say about the person.

    ``gender`` is "" if it is to be removed; ``None`` members are left alone.
    """

    value: str
    system: str = ""
    name: dict[str, Any] | None = None
    gender: str | None = None
    birth_date: str | None = None


@dataclass(slots=True)
class Instance:
    """One instance; ``key`` sorts by time of storing."""

    uid: str
    sop_class: str
    number: int | None
    key: str


@dataclass(slots=True)
class Series:
    """One series. ``modality`` is ``None`` if no instance names one."""

    uid: str
    modality: str | None = None
    number: int | None = None
    description: str | None = None
    started: str | None = None
    instances: list[Instance] = field(default_factory=list)


@dataclass(slots=True)
class Picture:
    """A study as FHIR is to have it. Without ``person`` there is nothing that FHIR can take.

    ``newest`` names the newest instance that counts, as (series, instance); ``reports`` are the
    structured reports among the instances.
    """

    study: str
    person: Person | None = None
    started: str | None = None
    descriptions: list[str] = field(default_factory=list)
    accessions: list[str] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)
    newest: tuple[str, str] | None = None
    reports: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class _Skipping:
    """Reads the elements of one instance, and notes those that are invalid."""

    def __init__(self, attributes: Attributes, *, strict: bool) -> None:
        self.attributes = attributes
        self.skipped: list[str] = []
        self._strict = strict

    def optional(self, read: Callable[[Attributes], _T | None]) -> _T | None:
        try:
            return read(self.attributes)
        except InvalidTag as invalid:
            if self._strict:
                raise
            self.skipped.append(str(invalid))
            return None


@dataclass(slots=True)
class _Facts:
    """What one instance says. Members in the order in which they are read."""

    person: Person
    sop_class: str
    modality: str | None
    started: str | None
    series_started: str | None
    description: str | None
    accession: str | None
    series_number: int | None
    series_description: str | None
    number: int | None


class Painter:
    """Adds instances to the picture of a study, the newest first."""

    def __init__(self, study: str, settings: CastSettings) -> None:
        self._picture = Picture(study)
        self._strict = settings.strict
        self._descriptions: dict[str, None] = {}
        self._accessions: dict[str, None] = {}

    def add(self, body: JsonObject) -> None:
        """An instance document of the index, older than those before."""
        series, instance = body["series"], body["instance"]
        read = _Skipping(body["d"], strict=self._strict)
        try:
            _note_left_out(read, body.get(shapes.LEFT_OUT, ()))
            facts = _facts(read)
        except InvalidTag as invalid:
            self._note("refused", series, instance, str(invalid))
            return
        for cause in dict.fromkeys(read.skipped):
            self._note("skipped", series, instance, cause)
        self._add_to_study(facts, series, instance)
        self._add_to_series(facts, series, instance, body["version"])

    def finished(self) -> Picture:
        """The picture, with lists in the order of storing."""
        picture = self._picture
        picture.descriptions = list(self._descriptions)[::-1]
        picture.accessions = list(self._accessions)[::-1]
        for series in picture.series.values():
            series.instances.sort(key=lambda one: one.key)
        return picture

    def _add_to_study(self, facts: _Facts, series: str, instance: str) -> None:
        picture, person = self._picture, facts.person
        if picture.person is None:
            picture.person, picture.newest = person, (series, instance)
        elif person.value == picture.person.value:
            for name in ("name", "gender", "birth_date"):
                if getattr(picture.person, name) is None:
                    setattr(picture.person, name, getattr(person, name))
        picture.started = picture.started or facts.started
        # the dictionaries end with the oldest instance that has the value
        for value, seen in (
            (facts.description, self._descriptions),
            (facts.accession, self._accessions),
        ):
            if value is not None:
                seen.pop(value, None)
                seen[value] = None
        if facts.sop_class.startswith(REPORTS):
            picture.reports.append((series, instance))

    def _add_to_series(self, facts: _Facts, uid: str, instance: str, version: str) -> None:
        series = self._picture.series.setdefault(uid, Series(uid))
        series.modality = series.modality or facts.modality
        series.number = facts.series_number if series.number is None else series.number
        series.description = series.description or facts.series_description
        series.started = series.started or facts.series_started
        series.instances.append(Instance(instance, facts.sop_class, facts.number, version))

    def _note(self, kind: str, series: str, instance: str, cause: str) -> None:
        if len(self._picture.problems) < MOST_PROBLEMS:
            self._picture.problems.append(Problem(kind, series, instance, cause))


def _note_left_out(read: _Skipping, tags: Iterable[str]) -> None:
    """Values that are invalid for the archive already; that there are none would be no reason.

    Raises
    ------
    InvalidTag
        An element of these is required, or all are to be valid.
    """
    for tag in tags:
        if tag == values.MODALITY:
            raise InvalidTag(tag)
        if tag in values.OPTIONAL:
            read.optional(partial(_invalid, tag))


def _invalid(tag: str, _attributes: Attributes) -> None:
    raise InvalidTag(tag)


def _facts(read: _Skipping) -> _Facts:
    """What an instance says.

    Raises
    ------
    InvalidTag
        A required element is absent or invalid, or, if strict, an optional one is invalid.
    """
    attributes = read.attributes
    patient_id = values.text(attributes, values.PATIENT_ID)
    if patient_id is None:
        raise InvalidTag(values.PATIENT_ID)
    sop_class = values.uid(attributes, values.SOP_CLASS_UID)
    if sop_class is None:
        raise InvalidTag(values.SOP_CLASS_UID)
    modality = values.code(attributes, values.MODALITY)
    optional = read.optional
    return _Facts(
        person=Person(
            patient_id,
            name=optional(values.person_name),
            gender=optional(values.gender),
            birth_date=optional(values.birth_date),
        ),
        sop_class=sop_class,
        modality=modality,
        started=optional(lambda a: values.moment(a, values.STUDY_DATE, values.STUDY_TIME)),
        series_started=optional(lambda a: values.moment(a, values.SERIES_DATE, values.SERIES_TIME)),
        description=optional(lambda a: values.text(a, values.STUDY_DESCRIPTION)),
        accession=optional(lambda a: values.text(a, values.ACCESSION_NUMBER)),
        series_number=optional(lambda a: values.integer(a, values.SERIES_NUMBER)),
        series_description=optional(lambda a: values.text(a, values.SERIES_DESCRIPTION)),
        number=optional(lambda a: values.integer(a, values.INSTANCE_NUMBER)),
    )


async def paint(
    study: str, bodies: AsyncIterator[JsonObject], settings: CastSettings
) -> Picture | None:
    """The picture of a study from its instance documents, the newest first.

    Returns
    -------
    Picture or None
        ``None`` if there are no instances.
    """
    painter = Painter(study, settings)
    any_ = False
    async for body in bodies:
        painter.add(body)
        any_ = True
    return painter.finished() if any_ else None

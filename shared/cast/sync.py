"""Make FHIR say of one study what the archive has (ADR 0022).

Nothing is remembered between two runs: both sides are read, and the difference is written as one
transaction whose entries are conditional. So it does not matter how often, in which order, or by
how many workers at once a study is brought up to date:

- A worker that loses against another (412, or a conditional create that finds one) reads anew.
- After it has written, it looks whether the archive has changed since it read it. So whoever
  writes last has written what is there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from shared.cast import resources, values
from shared.cast.archive import Archive
from shared.cast.bundle import (
    Entry,
    bundle,
    create,
    delete,
    new_reference,
    read_answer,
    reference_of,
    token,
    update,
)
from shared.cast.checking import check
from shared.cast.failures import Away, Conflict, Refused
from shared.cast.lookup import Fhir, Lookup, There
from shared.cast.observations import merged, observations, own_key
from shared.cast.picture import Painter, Person, Picture, Problem, paint
from shared.cast_settings import CastSettings
from shared.ports import JsonObject

MOST_ENTRIES = 8
"""Entries of one transaction with conditional creates: what the strictest server known takes."""

_VERSIONS = {"R4": ("4.0.", "4.3."), "R5": ("5.0.",)}
_MOST_ROUNDS = 12


class StudySync:
    """Brings the studies of one tenant up to date in its FHIR server.

    Parameters
    ----------
    archive : Archive
        Of the tenant.
    fhir : Fhir
        The server.
    settings : CastSettings
        How to map.
    service_url : str
        Public address of the tenant's version 2, without trailing slash.
    """

    def __init__(
        self, archive: Archive, fhir: Fhir, settings: CastSettings, service_url: str
    ) -> None:
        self._archive = archive
        self._fhir = fhir
        self._settings = settings
        self._lookup = Lookup(fhir, service_url, with_observations=settings.observations)
        self._is_fit = False

    async def sync(self, partition: str, study: str) -> list[Problem]:
        """Bring a study up to date; returns what of it FHIR cannot have.

        Raises
        ------
        Away
            The FHIR server does not answer, or others write so often that it did not come to it.
        Refused
            It cannot be done as things are.
        """
        await self._require_fit()
        for attempt in range(_MOST_ROUNDS):
            before = await self._archive.state(partition, study)
            try:
                problems, again = await self._round(partition, study)
            except Conflict as conflict:
                if attempt == _MOST_ROUNDS - 1:
                    raise Away(f"Others write as well: {conflict}") from conflict
                await asyncio.sleep(random.uniform(0, min(0.05 * 2**attempt, 2)))  # noqa: S311
                continue
            if not again and await self._archive.state(partition, study) == before:
                return problems
        raise Away("The study changes faster than FHIR can be written")

    def address(self, partition: str) -> str:
        """The endpoint of a partition; see ``Lookup.address``."""
        return self._lookup.address(partition)

    async def _require_fit(self) -> None:
        """Ask once what the server is. One that does not fit may be mended: studies wait."""
        if self._is_fit:
            return
        found = await self._fhir.capabilities()
        version = str(found.get("fhirVersion", "")) if isinstance(found, dict) else ""
        if not version.startswith(_VERSIONS[self._settings.fhir_version]):
            raise Away(f"The FHIR server is of another version: {version[:16]!r}")
        modes = [one.get("interaction") or [] for one in found.get("rest") or []]
        if not any(one.get("code") == "transaction" for mode in modes for one in mode):
            raise Away("The FHIR server takes no transactions")
        self._is_fit = True

    # One round ----------------------------------------------------------------------------

    async def _round(self, partition: str, study: str) -> tuple[list[Problem], bool]:
        """Read both sides, and write. Also whether there is more to be done."""
        bodies = self._archive.instances(partition, study)
        picture = await paint(study, bodies, self._settings)
        if picture is not None and picture.person is not None:
            picture.person.system = await self._system(partition, study, picture.newest)
        there = await self._lookup.there(partition, study, picture)
        if picture is None or picture.person is None:
            await self._remove(partition, there)
            return ([] if picture is None else picture.problems), False
        again = await self._write(partition, picture, there)
        return picture.problems, again

    async def _remove(self, partition: str, there: There) -> None:
        source = self._lookup.address(partition)
        entries = [
            delete(one) for one in there.observations if own_key(one, source) is not None
        ]  # before what they refer to
        if there.study is not None:
            reference = None if there.endpoint is None else reference_of(there.endpoint)
            left = resources.emptied(there.study, reference, source)
            if left is None:
                entries.append(delete(there.study))
            elif left != there.study:
                entries.append(update(there.study, left))
        await self._send_all(entries)

    async def _write(self, partition: str, picture: Picture, there: There) -> bool:
        source = self._lookup.address(partition)
        person = await self._person(partition, picture, there.patient)
        patient, patient_at = _entry(
            there.patient,
            self._patient(there.patient, person),
            [("identifier", token(person.system, person.value))],
        )
        endpoint, endpoint_at = _entry(
            there.endpoint,
            there.endpoint or resources.endpoint(source, self._settings),
            [("identifier", token(resources.URI_SYSTEM, source))],
        )
        condition = [("identifier", token(resources.STUDY_SYSTEM, resources.oid(picture.study)))]
        if there.is_shadowed:
            condition.append(("_source", source))
        wanted = resources.imaging_study(
            there.study,
            picture,
            subject=patient_at,
            endpoint=endpoint_at,
            source=source,
            settings=self._settings,
        )
        study, study_at = _entry(there.study, wanted, condition)
        reports = await self._observations(partition, picture, there, patient_at, study_at)
        core = [entry for entry in (endpoint, study) if entry is not None]
        last = [patient] if patient is not None else []
        again = await self._send(core, reports, last)
        if patient is not None:
            # others may have changed what the patient's newest instance says
            again = again or await self._person(partition, picture, None) != person
        return again

    async def _send(self, core: list[Entry], reports: list[Entry], last: list[Entry]) -> bool:
        """Send it as one transaction if it fits. Whether the reports are still to be sent."""
        if len(core) + len(reports) + len(last) <= MOST_ENTRIES:
            await self._transaction([*core, *reports, *last])
            return False
        await self._transaction([*core, *last])
        if any(entry.conditional for entry in (*core, *last)):
            return True  # the reports refer to what has its real name only now
        await self._send_all(reports)
        return False

    async def _send_all(self, entries: Sequence[Entry]) -> None:
        for start in range(0, len(entries), MOST_ENTRIES):
            await self._transaction(entries[start : start + MOST_ENTRIES])

    async def _transaction(self, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        await check(entries, self._settings.fhir_version)
        read_answer(entries, await self._fhir.transaction(bundle(entries)))

    # The patient --------------------------------------------------------------------------

    async def _system(self, partition: str, study: str, newest: tuple[str, str] | None) -> str:
        """The system of the patient's identifier (spec §4)."""
        if not self._settings.use_issuer or newest is None:
            return self._settings.patient_system.replace("{partition}", partition)
        data_set = await self._archive.data_set(partition, study, *newest)
        try:
            return values.text(data_set or {}, values.ISSUER_OF_PATIENT_ID) or ""
        except values.InvalidTag:
            return ""

    async def _person(
        self, partition: str, picture: Picture, existing: JsonObject | None
    ) -> Person:
        """What the archive says of the patient.

        If that is not what FHIR has, the patient's newest instances in all studies decide: or two
        studies that differ would write over each other's names for ever.
        """
        own = picture.person
        if own is None:
            raise ValueError("a picture without a patient")
        if existing is not None and resources.patient(existing, own) == existing:
            return own
        painter = Painter(picture.study, self._settings)
        for body in await self._archive.of_patient(partition, own.value):
            if await self._is_of(partition, body, own):
                painter.add(body)
        found = painter.finished().person
        return own if found is None else replace(found, system=own.system)

    def _patient(self, existing: JsonObject | None, person: Person) -> JsonObject:
        """The patient as it is to be, as far as patients are ours to write."""
        if existing is not None and self._settings.patients != "write":
            return existing
        if existing is None and self._settings.patients == "link":
            raise Refused("The FHIR server has no such Patient, and none is to be made")
        return resources.patient(existing, person)

    async def _is_of(self, partition: str, body: JsonObject, person: Person) -> bool:
        if not self._settings.use_issuer:
            return True
        newest = body["series"], body["instance"]
        return await self._system(partition, body["study"], newest) == person.system

    # Observations -------------------------------------------------------------------------

    async def _observations(
        self, partition: str, picture: Picture, there: There, subject: str, part_of: str
    ) -> list[Entry]:
        if not self._settings.observations:
            return []
        source = self._lookup.address(partition)
        left = {key: one for one in there.observations if (key := own_key(one, source))}
        entries: list[Entry] = []
        for series, instance in picture.reports:
            report = await self._archive.data_set(partition, picture.study, series, instance)
            for wanted in observations(
                report or {},
                study=picture.study,
                instance=instance,
                subject=subject,
                part_of=part_of,
                source=source,
            ):
                key = own_key(wanted, source) or ""
                existing = left.pop(key, None)
                resource = wanted if existing is None else merged(existing, wanted)
                entry, _ = _entry(existing, resource, [("identifier", token(source, key))])
                if entry is not None:
                    entries.append(entry)
        return [*entries, *map(delete, left.values())]


def _entry(
    existing: JsonObject | None, wanted: JsonObject, condition: Sequence[tuple[str, str]]
) -> tuple[Entry | None, str]:
    """What is to be done to have a resource as it is wanted, and how to refer to it."""
    if existing is None:
        reference = new_reference()
        return create(wanted, condition, reference), reference
    entry = None if wanted == existing else update(existing, wanted)
    return entry, reference_of(existing)

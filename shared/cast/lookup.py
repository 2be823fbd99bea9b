"""What a FHIR server has of a study.

Servers may match identifiers without case and names by their beginnings. What they find is taken
only if it is exactly what was looked for.

References
----------
Spec dicomcast.md §4–§6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.cast import resources
from shared.cast.bundle import token
from shared.cast.failures import Refused
from shared.cast.picture import Person, Picture
from shared.index.shapes import DEFAULT_PARTITION
from shared.ports import JsonObject

_MOST_FOUND = 10_000


class Fhir(Protocol):
    """A FHIR server."""

    async def capabilities(self) -> Any:
        """Its CapabilityStatement.

        Raises
        ------
        Away, Refused
        """
        ...

    async def search(
        self, kind: str, query: Sequence[tuple[str, str]], *, most: int
    ) -> list[JsonObject]:
        """The resources that match, over as many pages as it takes, at most ``most``.

        Raises
        ------
        Away, Refused
        """
        ...

    async def transaction(self, bundle: JsonObject) -> Any:
        """The answer to a transaction.

        Raises
        ------
        Away, Conflict, Refused
        """
        ...


@dataclass(frozen=True, slots=True)
class There:
    """What FHIR has of a study."""

    patient: JsonObject | None
    endpoint: JsonObject | None
    study: JsonObject | None
    observations: tuple[JsonObject, ...]
    is_shadowed: bool  # a copy in another partition, or of another tenant, has its identifier


class Lookup:
    """Finds what there is of the studies of one tenant.

    Parameters
    ----------
    fhir : Fhir
        The server.
    service_url : str
        Public address of the tenant's version 2, without trailing slash.
    with_observations : bool
        Whether Observations are looked for.
    """

    def __init__(self, fhir: Fhir, service_url: str, *, with_observations: bool) -> None:
        self._fhir = fhir
        self._service_url = service_url
        self._with_observations = with_observations

    def address(self, partition: str) -> str:
        """The endpoint of a partition, with trailing slash (spec §1, Beyond 1)."""
        if partition.lower() == DEFAULT_PARTITION.lower():
            return f"{self._service_url}/"
        return f"{self._service_url}/partitions/{partition}/"

    async def there(self, partition: str, study: str, picture: Picture | None) -> There:
        """What there is of a study and of what its picture refers to.

        Raises
        ------
        Away, Refused
        """
        person = None if picture is None else picture.person
        (found, is_shadowed), patient, endpoint = await asyncio.gather(
            self._find_study(partition, study),
            self._find_patient(person),
            self._find_endpoint(partition),
        )
        wanted = found is not None or bool(picture is not None and picture.reports)
        reports = await self._find_observations(study) if wanted else ()
        return There(patient, endpoint, found, reports, is_shadowed)

    async def _find_study(self, partition: str, study: str) -> tuple[JsonObject | None, bool]:
        identifier = resources.study_identifier(study)
        found = await self._search("ImagingStudy", identifier)
        # copies of the study in other partitions, or of other tenants, are not ours to touch
        source, deployment = self.address(partition), self._service_url.rsplit("/", 2)[0]
        others = [
            one
            for one in found
            if not resources.is_own(one, source)
            and resources.source_of(one).startswith(f"{deployment}/")
        ]
        left = [one for one in found if one not in others]
        return _only("ImagingStudy", left), bool(others)

    async def _find_patient(self, person: Person | None) -> JsonObject | None:
        if person is None:
            return None
        identifier = resources.patient_identifier(person)
        return _only("Patient", await self._search("Patient", identifier))

    async def _find_endpoint(self, partition: str) -> JsonObject | None:
        source = self.address(partition)
        name = resources.endpoint_name(source)
        connection = token(resources.CONNECTION_SYSTEM, resources.CONNECTION)
        query = [("name", name.replace(",", "\\,")), ("connection-type", connection)]
        found = await self._fhir.search("Endpoint", query, most=_MOST_FOUND)
        # servers match beginnings of names
        endpoint = _only("Endpoint", [one for one in found if one.get("name") == name])
        if endpoint is not None and endpoint.get("address") != source:
            raise Refused("The FHIR server has an Endpoint of our name with another address")
        return endpoint

    async def _find_observations(self, study: str) -> tuple[JsonObject, ...]:
        if not self._with_observations:
            return ()
        return tuple(await self._search("Observation", resources.study_identifier(study)))

    async def _search(self, kind: str, identifier: JsonObject) -> list[JsonObject]:
        """Resources with exactly this identifier; servers may match without case."""
        query = [("identifier", token(identifier.get("system", ""), identifier["value"]))]
        found = await self._fhir.search(kind, query, most=_MOST_FOUND)
        return [one for one in found if _has(one, identifier)]


def _has(resource: JsonObject, identifier: JsonObject) -> bool:
    return any(
        one.get("value") == identifier["value"] and one.get("system") == identifier.get("system")
        for one in resource.get("identifier", [])
    )


def _only(kind: str, found: Sequence[JsonObject]) -> JsonObject | None:
    """The one resource that was found, fit to be written over."""
    if len(found) > 1:
        raise Refused(f"The FHIR server has several of {kind} with the same identifier")
    if not found:
        return None
    resource = found[0]
    if not resource.get("id") or not resource.get("meta", {}).get("versionId"):
        raise Refused(f"The FHIR server gives a {kind} without id or version")
    return resource

"""A tenant whose studies go into a real FHIR server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydicom.dataset import Dataset

from shared.adapters.fhir.client import FhirClient
from shared.cast.archive import Archive
from shared.cast.picture import Problem
from shared.cast.sync import StudySync
from shared.cast_settings import CastSettings
from tests.support import dicom
from tests.support.fhir import FhirServer
from tests.unit.store.conftest import URL, Tenant, tenant

__all__ = ["tenant"]

PARTITION = "Microsoft.Default"
ENDPOINT = f"{URL}/"


async def no_token() -> str:
    """A server that lets everybody in."""
    return ""


@dataclass
class Cast:
    """What a test drives, and what it looks at."""

    tenant: Tenant
    server: FhirServer
    client: FhirClient
    settings: CastSettings

    def with_settings(self, **changes: Any) -> Cast:
        """The same with other settings."""
        return replace(self, settings=replace(self.settings, **changes))

    async def store(self, *data_sets: Any, partition: str = PARTITION) -> None:
        """Store data sets, or files."""
        files = [one if isinstance(one, bytes) else dicom.part10(one) for one in data_sets]
        result = await self.tenant.store(*files, upsert=True)
        assert not result.refused, result

    async def sync(self, study: str, partition: str = PARTITION) -> list[Problem]:
        """Bring a study up to date."""
        archive = Archive(self.tenant.documents, self.tenant.blobs)
        return await StudySync(archive, self.client, self.settings, URL).sync(partition, study)

    async def sync_at(self, partition: str, study: str) -> list[Problem]:
        """The same as a worker calls it."""
        return await self.sync(study, partition)

    async def cast(self, *data_sets: Any) -> list[Problem]:
        """Store data sets of one study and bring it up to date."""
        await self.store(*data_sets)
        return await self.sync(str(data_sets[0].StudyInstanceUID))

    def one(self, kind: str) -> dict[str, Any]:
        """The only resource of a type."""
        (found,) = self.server.all(kind)
        return found


@pytest.fixture
async def cast(tenant: Tenant, fhir: FhirServer) -> AsyncIterator[Cast]:
    """A tenant, and an empty FHIR server."""
    client = FhirClient(fhir.url, no_token)
    yield Cast(tenant, fhir, client, CastSettings(fhir.url, patient_system="urn:hospital"))
    await client.close()


def like(first: Dataset, **attributes: Any) -> Dataset:
    """Another instance of the same series."""
    same = {
        name: str(getattr(first, name))
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID")
    }
    return dicom.ct(**{**same, **attributes})


def methods(bundle: dict[str, Any]) -> list[str]:
    """Method and address of each entry."""
    return [f"{one['request']['method']} {one['request']['url']}" for one in bundle["entry"]]

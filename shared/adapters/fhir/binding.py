"""DICOMcast of one tenant, from its settings and stores."""

from __future__ import annotations

from shared.adapters.fhir.client import FhirClient
from shared.adapters.fhir.tokens import FhirSignIn
from shared.cast.archive import Archive
from shared.cast.dispatch import Dispatcher
from shared.cast.failures import Failures
from shared.cast.resync import Resync
from shared.cast.service import CastService
from shared.cast.sync import StudySync
from shared.cast.worker import Worker
from shared.cast_settings import CastSettings
from shared.feed.sequencer import Sequencer
from shared.index.partitions import Partitions
from shared.ports import Blobs, Clock, Documents, Queue


def cast_service(
    tenant: str,
    settings: CastSettings | None,
    *,
    service_url: str,
    documents: Documents,
    blobs: Blobs,
    partitions: Partitions,
    sequencer: Sequencer,
    queue: Queue,
    clock: Clock,
    failures: Failures,
) -> CastService | None:
    """The service; ``None`` if the tenant has no FHIR server.

    ``service_url`` is the public address of the tenant's version 2, without trailing slash.
    """
    if settings is None:
        return None
    fhir = FhirClient(settings.fhir_url, FhirSignIn(settings))
    sync = StudySync(Archive(documents, blobs), fhir, settings, service_url)
    dispatcher = Dispatcher(documents, sequencer, queue, clock, tenant)
    return CastService(
        tenant,
        settings,
        dispatcher=dispatcher,
        worker=Worker(tenant, sync.sync, failures, queue, clock),
        failures=failures,
        resync=Resync(
            tenant, documents, partitions=partitions, dispatcher=dispatcher, sync=sync, fhir=fhir
        ),
        queue=queue,
        fhir=fhir,
    )

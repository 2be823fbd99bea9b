"""What is delivered, as CloudEvents, and their signature.

Those of the change feed are as spec change-feed.md §7 has them; those of work items have the event
report as their data.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from shared.index.documents import iso
from shared.ports import JsonObject, time_of
from shared.worklist.events import EventType, message

SIGNATURE_HEADER: Final = "X-Dicom-Signature"
MEDIA_TYPE: Final = "application/cloudevents-batch+json"

_TYPES: Final = {
    "Create": "Microsoft.HealthcareApis.DicomImageCreated",
    "Update": "Microsoft.HealthcareApis.DicomImageUpdated",
    "Delete": "Microsoft.HealthcareApis.DicomImageDeleted",
}
_REPORT_TYPES: Final = {
    EventType.STATE_REPORT: "Dicom.UpsStateReport",
    EventType.CANCEL_REQUESTED: "Dicom.UpsCancelRequested",
    EventType.PROGRESS_REPORT: "Dicom.UpsProgressReport",
    EventType.ASSIGNED: "Dicom.UpsAssigned",
}


def cloud_event(entry: JsonObject, service_url: str) -> JsonObject:
    """One entry; its ``id`` is the same whenever it is sent.

    Parameters
    ----------
    entry : JsonObject
        Of the change feed.
    service_url : str
        Public address of the tenant, without a version.
    """
    host = urlsplit(service_url).netloc
    place = (
        f"partitions/{entry['partition']}/studies/{entry['study']}/series/{entry['series']}"
        f"/instances/{entry['instance']}"
    )
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{service_url}#{entry['sequence']}")),
        "type": _TYPES[entry["action"]],
        "source": service_url,
        "subject": f"{service_url.partition('://')[2]}/v2/{place}",
        "time": entry["timestamp"],
        "data": {
            "partitionName": entry["partition"],
            "imageStudyInstanceUid": entry["study"],
            "imageSeriesInstanceUid": entry["series"],
            "imageSopInstanceUid": entry["instance"],
            "serviceHostName": host,
            "sequenceNumber": entry["sequence"],
        },
    }


def report_event(report: JsonObject, service_url: str) -> JsonObject:
    """An event report of a work item; its ``id`` is the event id of the report.

    Parameters
    ----------
    report : JsonObject
        As a mailbox has it.
    service_url : str
        Public address of the tenant, without a version.
    """
    place = f"partitions/{report['partition']}/workitems/{report['uid']}"
    return {
        "specversion": "1.0",
        "id": report["id"],
        "type": _REPORT_TYPES[EventType(report["event"])],
        "source": service_url,
        "subject": f"{service_url.partition('://')[2]}/v2/{place}",
        "time": iso(time_of(report["id"])),
        "datacontenttype": "application/dicom+json",
        "data": message(report),
    }


def signature(body: bytes, secrets: Sequence[str], seconds: int) -> str:
    """The value of ``X-Dicom-Signature``: ``t={seconds},v1={hex}``, one ``v1`` for each secret.

    Each is HMAC-SHA256 over the seconds, a dot, and the body.
    """
    signed = f"{seconds}.".encode() + body
    parts = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={seconds}", *(f"v1={part}" for part in parts)])

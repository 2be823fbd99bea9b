"""Entries of the change feed as CloudEvents (spec change-feed.md §7), and their signature."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from shared.ports import JsonObject

SIGNATURE_HEADER: Final = "X-Dicom-Signature"
MEDIA_TYPE: Final = "application/cloudevents-batch+json"

_TYPES: Final = {
    "Create": "Microsoft.HealthcareApis.DicomImageCreated",
    "Update": "Microsoft.HealthcareApis.DicomImageUpdated",
    "Delete": "Microsoft.HealthcareApis.DicomImageDeleted",
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


def signature(body: bytes, secrets: Sequence[str], seconds: int) -> str:
    """The value of ``X-Dicom-Signature``: ``t={seconds},v1={hex}``, one ``v1`` for each secret.

    Each is HMAC-SHA256 over the seconds, a dot, and the body.
    """
    signed = f"{seconds}.".encode() + body
    parts = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={seconds}", *(f"v1={part}" for part in parts)])

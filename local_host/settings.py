"""What the host reads: ``host.json``, app settings in the environment, connections by name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEFAULT_BODY_LIMIT = 104_857_600
"""Kestrel's limit in the real host, in bytes, where the app sets none."""

HOST_STORAGE = "AzureWebJobsStorage"

_DEVELOPMENT_STORAGE = "UseDevelopmentStorage=true"
# The account that Azurite has built in; its key is public knowledge.
_AZURITE = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey="
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;"
    "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)


class HostError(Exception):
    """The app cannot be hosted as it is; the message says what to change."""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """``extensions.queues`` of host.json. Times in seconds."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout_s: float = 0.0
    max_polling_interval_s: float = 60.0
    base64: bool = True


@dataclass(frozen=True, slots=True)
class BlobOptions:
    """``extensions.blobs`` of host.json."""

    poison_threshold: int = 5
    parallelism: int = field(default_factory=lambda: 8 * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class HostSettings:
    """``host.json``, as far as one machine obeys it. A timeout of ``None`` is no limit."""

    route_prefix: str = "api"
    function_timeout_s: float | None = 1800.0
    log_level: str = "Information"
    queues: QueueOptions = field(default_factory=QueueOptions)
    blobs: BlobOptions = field(default_factory=BlobOptions)


@dataclass(frozen=True, slots=True)
class StorageConnection:
    """One storage account: a connection string, or service addresses for an identity."""

    connection_string: str | None = None
    blob_uri: str | None = None
    queue_uri: str | None = None
    client_id: str | None = None


def seconds(text: str) -> float:
    """Seconds of a .NET time span: ``hh:mm:ss[.f]`` or ``d.hh:mm:ss``."""
    found = re.fullmatch(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)", text.strip())
    if not found:
        raise HostError(f"host.json: {text!r} is not a time span hh:mm:ss")
    days, hours, minutes, rest = found.groups()
    return int(days or 0) * 86_400 + int(hours) * 3_600 + int(minutes) * 60 + float(rest)


def load_host_settings(path: Path) -> HostSettings:
    """Read ``host.json``; absent settings have the real host's defaults."""
    document: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    extensions = document.get("extensions", {})
    timeout = str(document.get("functionTimeout", "00:30:00"))
    return HostSettings(
        route_prefix=str(extensions.get("http", {}).get("routePrefix", "api")).strip("/"),
        function_timeout_s=None if timeout.startswith("-1") else seconds(timeout),
        log_level=str(document.get("logging", {}).get("logLevel", {}).get("default", "")),
        queues=_queue_options(extensions.get("queues", {})),
        blobs=_blob_options(extensions.get("blobs", {})),
    )


def _queue_options(queues: Mapping[str, Any]) -> QueueOptions:
    batch = int(queues.get("batchSize", 16))
    if not 1 <= batch <= 32:
        raise HostError("host.json: queues.batchSize must be from 1 to 32")
    encoding = str(queues.get("messageEncoding", "base64")).lower()
    if encoding not in ("base64", "none"):
        raise HostError("host.json: queues.messageEncoding must be base64 or none")
    return QueueOptions(
        batch_size=batch,
        new_batch_threshold=int(queues.get("newBatchThreshold", batch // 2)),
        max_dequeue_count=int(queues.get("maxDequeueCount", 5)),
        visibility_timeout_s=seconds(str(queues.get("visibilityTimeout", "00:00:00"))),
        max_polling_interval_s=max(0.1, seconds(str(queues.get("maxPollingInterval", "00:01:00")))),
        base64=encoding == "base64",
    )


def _blob_options(blobs: Mapping[str, Any]) -> BlobOptions:
    default = BlobOptions()
    return BlobOptions(
        poison_threshold=int(blobs.get("poisonBlobThreshold", default.poison_threshold)),
        parallelism=int(blobs.get("maxDegreeOfParallelism", default.parallelism)),
    )


def body_limit(environment: Mapping[str, str]) -> int:
    """Most bytes of one request body (``FUNCTIONS_REQUEST_BODY_SIZE_LIMIT``)."""
    text = environment.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "")
    return int(text) if text.isdigit() else DEFAULT_BODY_LIMIT


def resolve_names(text: str, environment: Mapping[str, str]) -> str:
    """Replace each ``%NAME%`` by the app setting NAME.

    Raises
    ------
    HostError
        The setting is absent; the message names it.
    """

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in environment:
            raise HostError(f"{text!r} names the app setting {name}, which is not set")
        return environment[name]

    return re.sub(r"%([^%]+)%", value, text)


def resolve_connection(name: str | None, environment: Mapping[str, str]) -> StorageConnection:
    """The storage account behind a binding's ``connection``.

    A setting of exactly this name wins over the group ``<name>__…``; a name may be written
    without its prefix ``AzureWebJobs``.

    Raises
    ------
    HostError
        No such setting.
    """
    name = name or HOST_STORAGE
    for candidate in (name, f"AzureWebJobs{name}"):
        text = environment.get(candidate)
        if text:
            development = text.strip().rstrip(";").lower() == _DEVELOPMENT_STORAGE.lower()
            return StorageConnection(connection_string=_AZURITE if development else text)
        blob_uri = environment.get(f"{candidate}__blobServiceUri")
        queue_uri = environment.get(f"{candidate}__queueServiceUri")
        if blob_uri or queue_uri:
            client_id = environment.get(f"{candidate}__clientId")
            return StorageConnection(None, blob_uri, queue_uri, client_id)
    raise HostError(
        f"the connection {name} is not set: give a connection string, or "
        f"{name}__blobServiceUri and {name}__queueServiceUri"
    )

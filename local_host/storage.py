"""Storage clients for a binding's connection."""

from __future__ import annotations

from typing import Any

from azure.storage.blob import BlobServiceClient
from azure.storage.queue.aio import QueueServiceClient

from local_host.settings import HostError, StorageConnection

# looking is repeated anyway: it need not outlast the SDK's minutes of retries
_RETRY: dict[str, Any] = {
    "retry_total": 1,
    "initial_backoff": 1,
    "connection_timeout": 5,
    "read_timeout": 10,
}


def queue_service(connection: StorageConnection) -> QueueServiceClient:
    """An asynchronous queue client; the caller closes it."""
    if connection.connection_string is not None:
        return QueueServiceClient.from_connection_string(connection.connection_string, **_RETRY)
    if connection.queue_uri is None:
        raise HostError("the connection has no __queueServiceUri")
    from azure.identity.aio import DefaultAzureCredential

    credential = DefaultAzureCredential(managed_identity_client_id=connection.client_id)
    return QueueServiceClient(connection.queue_uri, credential=credential, **_RETRY)


def blob_service(connection: StorageConnection) -> BlobServiceClient:
    """A synchronous blob client, for use in threads; the caller closes it."""
    if connection.connection_string is not None:
        return BlobServiceClient.from_connection_string(connection.connection_string, **_RETRY)
    if connection.blob_uri is None:
        raise HostError("the connection has no __blobServiceUri")
    from azure.identity import DefaultAzureCredential

    credential: Any = DefaultAzureCredential(managed_identity_client_id=connection.client_id)
    return BlobServiceClient(connection.blob_uri, credential=credential, **_RETRY)

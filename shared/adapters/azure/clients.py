"""SDK clients from the settings. Each is made once a process, and closed by what it is given to.

The SDKs are imported here on first use: importing them costs more than the rest of the app.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from shared.adapters.azure.identity import token_credential
from shared.config import CosmosConnection, SettingMissing, StorageConnection
from shared.resilience import Patience

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver
    from azure.core.credentials import AzureSasCredential
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.cosmos.aio import CosmosClient
    from azure.data.tables.aio import TableServiceClient
    from azure.storage.blob.aio import BlobServiceClient
    from azure.storage.queue.aio import QueueServiceClient

    from shared.adapters.azure.transport import Transport

PIECE = 4 * 1024 * 1024
"""Bytes of a blob that one request writes at most."""

_TRANSPORTS: WeakKeyDictionary[BlobServiceClient, Transport] = WeakKeyDictionary()
_LONGEST_THROTTLE_S = 5
_PATIENCE = Patience()


def blob_service(
    connection: StorageConnection, patience: Patience = _PATIENCE
) -> BlobServiceClient:
    """A client of the blob service."""
    from azure.storage.blob.aio import BlobServiceClient

    options: dict[str, Any] = {
        "max_single_put_size": PIECE,
        **_retries(patience),
    }
    if connection.connection_string is not None:
        transport = _transport(patience)
        client = BlobServiceClient.from_connection_string(
            connection.connection_string, transport=transport, **options
        )
    else:
        uri = _address(connection.blob_uri, "blobServiceUri")
        credential = token_credential(connection.client_id)
        transport = _transport(patience, credential)
        client = BlobServiceClient(uri, credential, transport=transport, **options)
    _TRANSPORTS[client] = transport
    return client


def transport_of(client: BlobServiceClient) -> Transport:
    """The transport of a client of ``blob_service``; it closes with the client."""
    return _TRANSPORTS[client]


def foreign_blob_service(
    account_address: str,
    credential: AzureSasCredential | AsyncTokenCredential | dict[str, str],
    resolver: AbstractResolver,
) -> BlobServiceClient:
    """A client of a blob service that is not ours. It follows no redirects."""
    from azure.core.credentials import AzureSasCredential
    from azure.storage.blob.aio import BlobServiceClient

    own = None if isinstance(credential, AzureSasCredential | dict) else credential
    return BlobServiceClient(
        account_address,
        credential,
        transport=_transport(_PATIENCE, own, resolver, "foreign blob"),
        max_single_put_size=PIECE,
        permit_redirects=False,
        **_retries(_PATIENCE),
    )


def queue_service(
    connection: StorageConnection, patience: Patience = _PATIENCE
) -> QueueServiceClient:
    """A client of the queue service."""
    from azure.storage.queue.aio import QueueServiceClient

    if connection.connection_string is not None:
        return QueueServiceClient.from_connection_string(
            connection.connection_string,
            transport=_transport(patience, service="queue"),
            **_retries(patience),
        )
    uri, identity = _address(connection.queue_uri, "queueServiceUri"), connection.client_id
    credential = token_credential(identity)
    transport = _transport(patience, credential, service="queue")
    return QueueServiceClient(uri, credential, transport=transport, **_retries(patience))


def table_service(
    connection: StorageConnection, patience: Patience = _PATIENCE
) -> TableServiceClient:
    """A client of the table service."""
    from azure.data.tables.aio import TableServiceClient

    options: dict[str, Any] = {
        "retry_total": patience.tries - 1,
        "retry_backoff_factor": patience.pause_s,
        "retry_backoff_max": 2 * patience.pause_s,
    }
    if connection.connection_string is not None:
        return TableServiceClient.from_connection_string(
            connection.connection_string, transport=_transport(patience, service="table"), **options
        )
    uri = _address(connection.table_uri, "tableServiceUri")
    credential = token_credential(connection.client_id)
    transport = _transport(patience, credential, service="table")
    return TableServiceClient(uri, credential=credential, transport=transport, **options)


def cosmos_client(connection: CosmosConnection, patience: Patience = _PATIENCE) -> CosmosClient:
    """A client of the Cosmos account. One a process: its session token gives read-your-write.

    An emulator, which is what a key is for, reports addresses that only itself can reach.
    """
    from azure.cosmos.aio import CosmosClient

    options: dict[str, Any] = {
        "enable_compact_utf8_item_writes": True,  # else each "ä" counts six bytes of the 2 MB
        "connection_timeout": patience.connect_s,
        "read_timeout": patience.silence_s,
        "retry_total": patience.tries - 1,
        "retry_connect": patience.tries - 1,
        "retry_read": patience.tries - 1,
        "retry_backoff_factor": patience.pause_s / 2,
        "retry_backoff_max": 2 * patience.pause_s,
        "retry_throttle_total": patience.tries,
        "retry_throttle_backoff_max": _LONGEST_THROTTLE_S,
    }
    if connection.key is not None:
        options |= {
            "enable_endpoint_discovery": False,
            "transport": _transport(patience, service="cosmos"),
        }
        return CosmosClient(connection.endpoint, connection.key, **options)
    credential = token_credential(connection.client_id)
    transport = _transport(patience, credential, service="cosmos")
    return CosmosClient(connection.endpoint, credential, transport=transport, **options)


def _retries(patience: Patience) -> dict[str, Any]:
    """For the clients of blobs and queues.

    The SDK's own pauses, of 15 s and more, outlast the patience of those who wait for us.
    """
    return {
        "retry_total": patience.tries - 1,
        "initial_backoff": patience.pause_s,
        "increment_base": patience.pause_s,
        "random_jitter_range": patience.pause_s,
    }


def _address(uri: str | None, setting: str) -> str:
    if uri is None:
        raise SettingMissing(f"DicomStorage__{setting} is missing")
    return uri


def _transport(
    patience: Patience,
    credential: AsyncTokenCredential | None = None,
    resolver: AbstractResolver | None = None,
    service: str = "blob",
) -> Transport:
    from shared.adapters.azure.transport import Transport

    # at the level INFO the SDK logs the address of each request, and with it the UIDs
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    return Transport(credential, resolver, patience, service)

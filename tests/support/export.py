"""Containers that tests export to, on Azurite, entered with real signatures."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    generate_container_sas,
)

from shared.ports import JsonObject

ALL = "racwdl"


@dataclass(frozen=True)
class Place:
    """A container.

    Parameters
    ----------
    client : ContainerClient
        With all rights, for what a test looks at.
    """

    client: ContainerClient

    @property
    def address(self) -> str:
        """Its address, without signature."""
        return str(self.client.url).partition("?")[0]

    def sas(self, permissions: str = ALL, *, lasts: timedelta = timedelta(hours=1)) -> str:
        """A signature."""
        credential = self.client.credential
        return str(
            generate_container_sas(
                credential.account_name,
                self.client.container_name,
                credential.account_key,
                permission=ContainerSasPermissions.from_string(permissions),
                expiry=datetime.now(UTC) + lasts,
            )
        )

    def destination(self, permissions: str = ALL) -> JsonObject:
        """The destination of a request."""
        uri = f"{self.address}?{self.sas(permissions)}"
        return {"type": "azureblob", "settings": {"blobContainerUri": uri}}

    def content(self, prefix: str = "") -> dict[str, bytes]:
        """Names below the prefix, and what they hold."""
        return {
            blob.name.removeprefix(prefix): self.client.download_blob(blob.name).readall()
            for blob in self.client.list_blobs(name_starts_with=prefix)
        }

    def etags(self) -> dict[str, str]:
        """Names, and what tells one writing from another."""
        return {blob.name: str(blob.etag) for blob in self.client.list_blobs()}


def new_place(connection: str) -> Place:
    """A new container in a storage account."""
    service = BlobServiceClient.from_connection_string(connection)
    return Place(service.create_container(f"export-{secrets.token_hex(6)}"))


def lines(log: bytes) -> list[JsonObject]:
    """The lines of a log."""
    return [json.loads(line) for line in log.splitlines()]


def check_manifest(content: dict[str, bytes]) -> Iterator[str]:
    """What is wrong with the manifest of an export's folder."""
    noted = lines(content["manifest.jsonl"])
    names = [line["file"] for line in noted]
    files = {name for name in content if name.endswith(".dcm")}
    if sorted(names) != sorted(files):
        yield f"{len(names)} lines of {len(set(names))} files, and {len(files)} files"
    for line in noted:
        data = content.get(line["file"], b"")
        if (len(data), hashlib.sha256(data).hexdigest()) != (line["size"], line["sha256"]):
            yield f"{line['file']} is not what its line says"

"""Whom the service signs in as, where no key is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


def token_credential(client_id: str | None) -> AsyncTokenCredential:
    """The credential of a user-assigned identity, or else the default one.

    Parameters
    ----------
    client_id : str, optional
        Client id of the identity. Absent outside Azure: the default credential takes what the
        environment or a developer's own sign-in offers.
    """
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

    if client_id is not None:
        return ManagedIdentityCredential(client_id=client_id)
    return DefaultAzureCredential()


def client_credential(tenant: str, client_id: str, secret: str) -> AsyncTokenCredential:
    """The credential of a client of another service, by its secret."""
    from azure.identity.aio import ClientSecretCredential

    return ClientSecretCredential(tenant, client_id, secret)

"""How the service signs in to a FHIR server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shared.adapters.azure.identity import client_credential, token_credential
from shared.cast.failures import Away
from shared.cast_settings import CastSettings

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential


class FhirSignIn:
    """Tokens for a tenant's FHIR server; the credential keeps them until they are old.

    Parameters
    ----------
    settings : CastSettings
        How, as whom, and for which audience.
    """

    def __init__(self, settings: CastSettings) -> None:
        self._settings = settings
        self._credential: AsyncTokenCredential | None = None

    async def __call__(self) -> str:
        """See ``Token``."""
        if self._settings.auth == "none":
            return ""
        from azure.core.exceptions import AzureError

        if self._credential is None:
            self._credential = self._new_credential()
        audience = self._settings.audience or self._settings.fhir_url
        try:
            token = await self._credential.get_token(f"{audience.rstrip('/')}/.default")
        except AzureError as error:
            raise Away(f"No token for the FHIR server: {type(error).__name__}") from error
        return f"Bearer {token.token}"

    async def close(self) -> None:
        """Close the credential."""
        if self._credential is not None:
            await self._credential.close()

    def _new_credential(self) -> AsyncTokenCredential:
        settings = self._settings
        if settings.auth == "managedIdentity":
            return token_credential(settings.client_id or None)
        secret = os.environ.get(settings.secret_setting, "")
        if not secret:
            raise Away(f"The setting {settings.secret_setting} has no secret")
        return client_credential(settings.authority_tenant, settings.client_id, secret)

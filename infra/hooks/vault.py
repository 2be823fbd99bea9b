"""``DICOM_SECRETS_KEY``: made once, kept in Key Vault, shown to nobody.

It goes through Resource Manager, which reaches a vault whose network is closed, and which the role
that made the vault allows; reading the value there is not possible, and not needed.

References
----------
Resource Manager: Microsoft.KeyVault/vaults/secrets 2023-07-01.
"""

from __future__ import annotations

import base64
import secrets

from infra.hooks.azd import HookStopped
from infra.hooks.rest import Refused, Rest

SECRET = "dicom-secrets-key"  # noqa: S105 - its name
_VERSION = "api-version=2023-07-01"
_KEY_BYTES = 32


def ensure_key(management: Rest, group: str, vault: str) -> bool:
    """Make the key if there is none. Whether it was made.

    Parameters
    ----------
    management : Rest
        Resource Manager.
    group : str
        Path of the resource group: ``/subscriptions/{id}/resourceGroups/{name}``.
    vault : str
        Name of the vault.

    Raises
    ------
    HookStopped
        The caller may not; the message says what to run.
    """
    path = f"{group}/providers/Microsoft.KeyVault/vaults/{vault}/secrets/{SECRET}?{_VERSION}"
    try:
        if management.find(path) is not None:
            return False
        management.call("PUT", path, {"properties": {"value": _new_key()}})
    except Refused as refused:
        raise HookStopped(_by_hand(vault, refused)) from None
    return True


def _new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")


def _by_hand(vault: str, refused: Refused) -> str:
    if refused.status == 409:  # deleted, and not purged yet: exports that ran need that one
        return (
            f"The vault has a deleted secret of that name ({refused}). Take it back, and run "
            f"azd provision again:\n\naz keyvault secret recover --vault-name {vault} "
            f"--name {SECRET}"
        )
    return (
        f"{SECRET} could not be made in the vault ({refused}); without it the service does not "
        "start. Whoever may write secrets there (Key Vault Secrets Officer) runs:\n\n"
        f"az keyvault secret set --vault-name {vault} --name {SECRET} --value "
        '"$(openssl rand -base64 32 | tr +/ -_)" --output none'
    )

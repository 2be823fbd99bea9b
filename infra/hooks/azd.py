"""The environment that ``azd`` gives to its hooks, and how a hook ends."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential

CLIENT_IDS = "DICOM_API_CLIENT_IDS"
_LEAST_LEFT_S = 300


class HookStopped(Exception):
    """A hook cannot go on; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The variables of an ``azd`` environment: outputs of ``main.bicep``, and what hooks set.

    Parameters
    ----------
    values : Mapping
        Names and values, as of ``os.environ``.
    """

    values: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        """A variable that has to be there.

        Raises
        ------
        HookStopped
            It is not.
        """
        found = self.values.get(name, "").strip()
        if not found:
            raise HookStopped(
                f"{name} is not set. azd sets it when it provisions: run azd up, or azd provision."
            )
        return found

    def get(self, name: str, default: str = "") -> str:
        """A variable, or the default."""
        return self.values.get(name, "").strip() or default

    @property
    def tenants(self) -> tuple[str, ...]:
        """Names of the tenants of the service; the first one is the deployment's own."""
        names = self.get("DICOM_TENANTS", "main").replace(" ", "").split(",")
        return tuple(name for name in names if name)

    @property
    def client_ids(self) -> dict[str, str]:
        """The application id in Entra ID of each tenant that has one."""
        found = dict(pair.split("=", 1) for pair in self.get(CLIENT_IDS).split(",") if "=" in pair)
        own = self.get("DICOM_API_CLIENT_ID")
        return {**found, **({self.tenants[0]: own} if own else {})}


def group_path(deployment: Deployment) -> str:
    """Path of the resource group in Resource Manager."""
    subscription, group = deployment["AZURE_SUBSCRIPTION_ID"], deployment["AZURE_RESOURCE_GROUP"]
    return f"/subscriptions/{subscription}/resourceGroups/{group}"


def set_variable(name: str, value: str) -> None:
    """Store a variable in the ``azd`` environment.

    Raises
    ------
    HookStopped
        ``azd`` is not there, or refuses.
    """
    command = ["azd", "env", "set", name, value]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise HookStopped(
            f"azd could not store {name} ({type(error).__name__}); run: {' '.join(command)}"
        ) from None


def credential(directory: str) -> TokenCredential:
    """Who is signed in to ``azd`` or the Azure CLI. ``directory`` may be empty: their own."""
    from azure.identity import (
        AzureCliCredential,
        AzureDeveloperCliCredential,
        ChainedTokenCredential,
    )

    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)  # what it says is shown below
    return ChainedTokenCredential(
        AzureDeveloperCliCredential(tenant_id=directory),
        AzureCliCredential(tenant_id=directory),
    )


def token_source(identity: TokenCredential, scope: str) -> Callable[[], str]:
    """A function that gives a token for ``scope``. It is kept: each new one starts a program."""
    kept: list[AccessToken] = []

    def token() -> str:
        from azure.core.exceptions import ClientAuthenticationError

        if kept and kept[0].expires_on - time.time() > _LEAST_LEFT_S:
            return kept[0].token
        try:
            kept[:] = [identity.get_token(scope)]
        except ClientAuthenticationError as error:
            reason = " ".join(str(error.message).split())[:600]
            raise HookStopped(
                f"No token for {scope}. Sign in with azd auth login (or az login), in the "
                f"directory of the subscription, and run it again. What was said: {reason}"
            ) from None
        return kept[0].token

    return token


def run(work: Callable[[], None]) -> int:
    """Run a hook. Its exit status: 1 where it has to stop, with the reason on the error output."""
    try:
        work()
    except HookStopped as stopped:
        print(f"\n{stopped}\n", file=sys.stderr)
        return 1
    return 0

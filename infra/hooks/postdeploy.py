"""After the functions are deployed: event subscriptions where they need one, and the smoke test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.hooks import azd, events, smoke
from infra.hooks.rest import MANAGEMENT, Rest

_PATIENCE_S = 300.0
_OFF = "DICOM_SMOKE_TEST"


def work(
    environment: Mapping[str, str],
    management: Rest,
    token: Callable[[], str],
    patience_s: float = _PATIENCE_S,
) -> None:
    """Subscribe, and try the service.

    Parameters
    ----------
    environment : Mapping
        Variables of ``azd``.
    management : Rest
        Resource Manager.
    token : Callable
        Gives a token of an owner of the first tenant.
    patience_s : float
        Seconds that the service may take to answer at all.

    Raises
    ------
    HookStopped
        Something does not hold; the message says what.
    """
    deployment = azd.Deployment(environment)
    address, tenants = deployment["SERVICE_API_URI"].rstrip("/"), deployment.tenants
    if deployment.get("DICOM_BLOB_EVENTS", "queue") == "blobTrigger":
        made = events.subscribe(
            management,
            azd.group_path(deployment),
            site=deployment["SERVICE_API_NAME"],
            address=address,
            topic=deployment["DICOM_BLOB_EVENT_TOPIC"],
            tenants=tenants,
        )
        print("event subscriptions: " + ", ".join(made))
    if deployment.get(_OFF) == "off":
        print(f"{_OFF} is off: the service was not tried\n\n{address}/{tenants[0]}/v2\n")
        return
    print(f"smoke test of {address}")
    smoke.run(smoke.SmokeTest(address, tenants[0], token), patience_s)


def main() -> None:
    """The hook."""
    deployment = azd.Deployment(os.environ)
    who = azd.credential(deployment["AZURE_TENANT_ID"])
    scope = f"api://{deployment['DICOM_API_CLIENT_ID']}/.default"
    management = Rest(MANAGEMENT, azd.token_source(who, f"{MANAGEMENT}/.default"))
    work(os.environ, management, azd.token_source(who, scope))


if __name__ == "__main__":
    sys.exit(azd.run(main))

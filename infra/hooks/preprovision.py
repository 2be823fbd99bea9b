"""Before Azure's resources are made: the registrations in Entra ID, whose ids Bicep is given."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.hooks import azd, entra
from infra.hooks.rest import GRAPH, Refused, Rest
from shared.auth.directory import is_tenant_name


def work(environment: Mapping[str, str], graph: Rest, person: str) -> None:
    """Register what is not registered, and store the ids.

    Parameters
    ----------
    environment : Mapping
        Variables of ``azd``.
    graph : Rest
        Microsoft Graph.
    person : str
        Object id of the caller, who gets the first roles.

    Raises
    ------
    HookStopped
        Rights lack, or a name breaks its rules; the message says how to go on.
    """
    deployment = azd.Deployment(environment)
    name, tenants = deployment["AZURE_ENV_NAME"], deployment.tenants
    for tenant in tenants:
        if not is_tenant_name(tenant):
            raise azd.HookStopped(f"DICOM_TENANTS: {tenant} cannot be the name of a tenant.")
    known = deployment.client_ids
    for tenant in tenants:
        try:
            if tenant in known and not _is_ours(graph, name, tenant, known[tenant]):
                print(f"{tenant}: the registration {known[tenant]} is not ours and stays as it is")
                continue
            administers = tenant == tenants[0]
            client_id = entra.register(graph, name, tenant, administers=administers)
        except Refused as refused:
            if tenant not in known:
                raise azd.HookStopped(_by_hand(name, tenants, known, refused)) from None
            print(f"{tenant}: the registration {known[tenant]} is taken as it is ({refused})")
            continue
        print(f"{tenant}: registered in Entra ID as {client_id}")
        known[tenant] = client_id
        _store(tenants, known)
        _let_in(graph, client_id, person, administers)


def _is_ours(graph: Rest, name: str, tenant: str, client_id: str) -> bool:
    """Whether a registration was made by this hook, or by the commands that it shows."""
    found = graph.find(f"/v1.0/applications(uniqueName='{entra.unique_name(name, tenant)}')")
    return found is not None and found["appId"] == client_id


def _let_in(graph: Rest, client_id: str, person: str, administers: bool) -> None:
    roles = (entra.OWNER, entra.ADMINISTRATOR) if administers else (entra.OWNER,)
    try:
        if entra.let_in_first(graph, client_id, person, roles):
            print(f"  you are the first to have {' and '.join(roles)} there")
    except Refused as refused:
        print(
            f"  nobody was given a role ({refused}); an administrator of the directory can: "
            "Enterprise applications, Users and groups"
        )


def _store(tenants: tuple[str, ...], known: Mapping[str, str]) -> None:
    if tenants[0] in known:
        azd.set_variable("DICOM_API_CLIENT_ID", known[tenants[0]])
    others = [f"{tenant}={known[tenant]}" for tenant in tenants[1:] if tenant in known]
    if others:
        azd.set_variable(azd.CLIENT_IDS, ",".join(others))


def _by_hand(
    name: str, tenants: tuple[str, ...], known: Mapping[str, str], refused: Refused
) -> str:
    lines = [
        f"You may not register applications in this directory ({refused}).",
        "An administrator of the directory (role Application Developer or more) runs, in bash:",
    ]
    missing = [tenant for tenant in tenants if tenant not in known]
    for tenant in missing:
        lines += ["", f"# {tenant}"]
        lines += entra.commands(name, tenant, administers=tenant == tenants[0])
    lines += ["", "and tells you the ids that are printed. Then go on with:", ""]
    if tenants[0] in missing:
        lines.append("azd env set DICOM_API_CLIENT_ID <id>")
    others = [f"{tenant}={known.get(tenant, '<id>')}" for tenant in tenants[1:]]
    if others:
        lines.append(f"azd env set {azd.CLIENT_IDS} {','.join(others)}")
    return "\n".join([*lines, "azd up"])


def main() -> None:
    """The hook."""
    deployment = azd.Deployment(os.environ)
    token = azd.token_source(azd.credential(deployment.get("AZURE_TENANT_ID")), f"{GRAPH}/.default")
    try:
        person = entra.caller(token())
    except azd.HookStopped as stopped:
        if not set(deployment.tenants) <= deployment.client_ids.keys():
            raise
        print(f"the registrations are taken as they are: {stopped}")  # a pipeline, perhaps
        return
    work(os.environ, Rest(GRAPH, token), person)


if __name__ == "__main__":
    sys.exit(azd.run(main))

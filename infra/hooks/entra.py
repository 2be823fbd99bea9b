"""The registrations of the service in Entra ID: one for each tenant, so that roles do not mix.

An app role belongs to a registration: with one for all tenants, an owner in one would be an owner
in all. The registration of the first tenant is also that of the service's administrators.

References
----------
Microsoft Graph v1.0: application (upsert, update), servicePrincipal, appRoleAssignedTo.
"""

from __future__ import annotations

import base64
import json
import shlex
import uuid
from typing import Any

from infra.hooks.rest import Refused, Rest

_APP = "/v1.0/applications"
_SERVICE = "/v1.0/servicePrincipals"
_IDS = uuid.UUID("5c1d9f0a-6f0d-5d0e-9a63-0d2f6f1b7a11")
_CLI = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
"""Client id of the Azure CLI, which azd uses too."""

OWNER = "Dicom.DataOwner"
READER = "Dicom.DataReader"
ADMINISTRATOR = "Dicom.ServiceAdministrator"
_ROLES = {
    OWNER: ("DICOM Data Owner", "Store, search, retrieve, change and delete"),
    READER: ("DICOM Data Reader", "Search and retrieve"),
}
_ADMIN_ROLE = {ADMINISTRATOR: ("DICOM Service Administrator", "Add, suspend and remove tenants")}
_SCOPE = "Dicom.ReadWrite"
_TRIES, _PAUSE_S = 12, 5.0
_NOT_YET = (400, 404)
_THERE_ALREADY = ("Request_MultipleObjectsWithSameKeyValue", "Permission_EntryExists")


def unique_name(environment: str, tenant: str) -> str:
    """The name by which a registration is found again."""
    return f"dicom-{environment}-{tenant}"


def audiences(client_id: str) -> list[str]:
    """What tokens for a registration say in ``aud``: its id in version 2, its address in 1."""
    return [client_id, f"api://{client_id}"]


def wanted(environment: str, tenant: str, *, administers: bool) -> dict[str, Any]:
    """A registration as it is to be, but for the address that needs its id."""
    roles = {**_ROLES, **(_ADMIN_ROLE if administers else {})}
    scope = {
        "id": _id("scope", _SCOPE),
        "value": _SCOPE,
        "type": "User",
        "isEnabled": True,
        "adminConsentDisplayName": "Use the DICOM service",
        "adminConsentDescription": "Use the DICOM service as the person who is signed in.",
        "userConsentDisplayName": "Use the DICOM service",
        "userConsentDescription": "Use the DICOM service as you.",
    }
    return {
        "displayName": f"DICOM {environment} {tenant}",
        "signInAudience": "AzureADMyOrg",
        "api": {
            "requestedAccessTokenVersion": 2,
            "oauth2PermissionScopes": [scope],
            "preAuthorizedApplications": [{"appId": _CLI, "delegatedPermissionIds": [scope["id"]]}],
        },
        "appRoles": [
            {
                "id": _id("role", value),
                "value": value,
                "displayName": name,
                "description": description,
                "allowedMemberTypes": ["User", "Application"],
                "isEnabled": True,
            }
            for value, (name, description) in roles.items()
        ],
    }


def register(graph: Rest, environment: str, tenant: str, *, administers: bool) -> str:
    """Make a tenant's registration, or complete the one that is there. Its application id.

    Each step is repeated at no harm, so a call after one that was cut off ends in the same state.
    What an administrator has added (roles, addresses, clients) stays.

    Raises
    ------
    Refused
        Graph does not let the caller.
    """
    name = unique_name(environment, tenant)
    path = f"{_APP}(uniqueName='{name}')"
    plan = wanted(environment, tenant, administers=administers)
    found = graph.find(path)
    if found is None:
        # the first write without the client that is let in: it names a scope that has to exist
        first = {**plan, "api": {**plan["api"], "preAuthorizedApplications": []}}
        graph.call("PATCH", path, first, {"Prefer": "create-if-missing"})
        found = _in_time(graph, "GET", path)
    changes = _changes(found, plan)
    if changes:
        _in_time(graph, "PATCH", f"{_APP}/{found['id']}", changes)
    client_id: str = found["appId"]
    if graph.find(f"{_SERVICE}(appId='{client_id}')") is None:
        _in_time(graph, "POST", _SERVICE, {"appId": client_id})
    return client_id


def let_in_first(graph: Rest, client_id: str, person: str, roles: tuple[str, ...]) -> bool:
    """Give roles to ``person`` (object id) if nobody has any. Whether it was done.

    Raises
    ------
    Refused
        Graph does not let the caller.
    """
    principal = _in_time(graph, "GET", f"{_SERVICE}(appId='{client_id}')")
    path = f"{_SERVICE}/{principal['id']}/appRoleAssignedTo"
    if graph.call("GET", path)["value"]:
        return False
    for role in roles:
        assignment = {
            "principalId": person,
            "resourceId": principal["id"],
            "appRoleId": _id("role", role),
        }
        _in_time(graph, "POST", path, assignment)
    return True


def caller(token: str) -> str:
    """Object id of whom a token of our own is for. Nothing is decided by it: Graph decides."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["oid"])


def commands(environment: str, tenant: str, *, administers: bool) -> list[str]:
    """What an administrator of the directory runs instead of ``register``; bash, Azure CLI."""
    plan = wanted(environment, tenant, administers=administers)
    late = {"api": {"preAuthorizedApplications": plan["api"].pop("preAuthorizedApplications")}}
    name = unique_name(environment, tenant)
    address = shlex.quote(f"https://graph.microsoft.com{_APP}(uniqueName='{name}')")
    json_type = "--headers Content-Type=application/json"
    patch = f"az rest --method PATCH --url {address} {json_type}"
    return [
        f"{patch} Prefer=create-if-missing --body {shlex.quote(json.dumps(plan))}",
        f"APP=$(az rest --method GET --url {address} --query appId --output tsv)",
        f"{patch} --body {shlex.quote(json.dumps(late))}",
        f'{patch} --body "{{\\"identifierUris\\": [\\"api://$APP\\"]}}"',
        "az ad sp create --id $APP",
        "echo $APP",
    ]


def _in_time(graph: Rest, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """A call about what was made just now: the directory's copies may not have it yet."""
    for _ in range(_TRIES):
        try:
            return graph.call(method, path, body)
        except Refused as refused:
            if refused.code in _THERE_ALREADY:
                return None  # of a try whose answer was lost
            if refused.status not in _NOT_YET:
                raise
            last = refused
            graph.pause(_PAUSE_S)
    raise last


def _changes(found: dict[str, Any], plan: dict[str, Any]) -> dict[str, Any]:
    """What has to be written so that all that is planned is there."""
    api, planned = found.get("api") or {}, plan["api"]
    parts = {
        "requestedAccessTokenVersion": planned["requestedAccessTokenVersion"],
        "oauth2PermissionScopes": _with(
            api.get("oauth2PermissionScopes"), planned["oauth2PermissionScopes"], "id"
        ),
        "preAuthorizedApplications": _with(
            api.get("preAuthorizedApplications"), planned["preAuthorizedApplications"], "appId"
        ),
    }
    whole = {
        "appRoles": _with(found.get("appRoles"), plan["appRoles"], "id"),
        "identifierUris": list(
            dict.fromkeys([*(found.get("identifierUris") or []), f"api://{found['appId']}"])
        ),
    }
    changes: dict[str, Any] = {
        name: value for name, value in whole.items() if value != found.get(name)
    }
    different = {name: value for name, value in parts.items() if value != api.get(name)}
    return {**changes, **({"api": different} if different else {})}


def _with(
    there: list[dict[str, Any]] | None, planned: list[dict[str, Any]], key: str
) -> list[dict[str, Any]]:
    """The list that is there, and what it lacks of the planned one."""
    keys = {one[key] for one in there or []}
    return [*(there or []), *(one for one in planned if one[key] not in keys)]


def _id(kind: str, name: str) -> str:
    return str(uuid.uuid5(_IDS, f"{kind} {name}"))

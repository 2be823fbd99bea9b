"""Microsoft Graph and Azure Resource Manager, as far as the hooks use them, on this machine.

They answer as the documents say: what they do not say is not known here. Azure itself cannot be
had in tests; what only it can show is in the release checklist of ``docs/operations.md``.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "token-of-the-deployer"
GROUP = "/subscriptions/s-1/resourceGroups/rg-dicom"
_GRAPH = "/v1.0"
_APPLICATION = {
    "displayName", "signInAudience", "api", "appRoles", "identifierUris",
}  # fmt: skip
_API = {"requestedAccessTokenVersion", "oauth2PermissionScopes", "preAuthorizedApplications"}
_ROLE = {"id", "value", "displayName", "description", "allowedMemberTypes", "isEnabled"}

Answer = tuple[int, Any]


@dataclass
class Cloud:
    """What is there, what was asked, and how it is refused.

    ``refused`` are pairs of a method and a pattern of paths; ``missed`` counts how often what was
    made just now is not found yet; ``busy`` how many calls are answered 503.
    """

    url: str = ""
    applications: dict[str, dict[str, Any]] = field(default_factory=dict)
    principals: dict[str, dict[str, Any]] = field(default_factory=dict)
    assignments: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    deleted_secrets: set[str] = field(default_factory=set)
    system_keys: dict[str, str] = field(default_factory=dict)
    subscriptions: dict[str, dict[str, Any]] = field(default_factory=dict)
    subscription_states: list[str] = field(default_factory=lambda: ["Succeeded"])
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    missed: int = 0
    busy: int = 0
    on_call: Callable[[str, str], None] = lambda _method, _path: None

    def answer(self, method: str, path: str, query: dict[str, Any], sent: Any, head: Any) -> Answer:
        """The status and the body for a call."""
        self.on_call(method, path)
        if head.get("Authorization") != f"Bearer {TOKEN}":
            return _error(401, "InvalidAuthenticationToken")
        if self.busy:
            self.busy -= 1
            return _error(503, "ServiceUnavailable")
        if any(method == one and re.search(pattern, path) for one, pattern in self.refused):
            graph = path.startswith(_GRAPH)
            return _error(403, "Authorization_RequestDenied" if graph else "AuthorizationFailed")
        if path.startswith(_GRAPH):
            return self._graph(method, path.removeprefix(_GRAPH), sent, head)
        return self._management(method, path, query, sent)

    # Graph --------------------------------------------------------------------------------

    def _graph(self, method: str, path: str, sent: Any, head: Any) -> Answer:
        named = re.fullmatch(r"/applications\(uniqueName='([\w-]+)'\)", path)
        if named:
            return self._application(method, named[1], sent, head)
        by_id = re.fullmatch(r"/applications/([\w-]+)", path)
        if by_id and method == "PATCH":
            found = [one for one in self.applications.values() if one["id"] == by_id[1]]
            return self._changed(found[0], sent) if found else _error(404, "Request_NotFound")
        if path == "/servicePrincipals" and method == "POST":
            return self._new_principal(sent)
        by_app = re.fullmatch(r"/servicePrincipals\(appId='([\w-]+)'\)", path)
        if by_app and method == "GET":
            principal = self.principals.get(by_app[1])
            return (200, principal) if principal else _error(404, "Request_ResourceNotFound")
        roles = re.fullmatch(r"/servicePrincipals/([\w-]+)/appRoleAssignedTo", path)
        return self._roles(method, roles[1], sent) if roles else _error(400, "BadRequest")

    def _application(self, method: str, name: str, sent: Any, head: Any) -> Answer:
        found = self.applications.get(name)
        if found is None and method == "PATCH" and head.get("Prefer") == "create-if-missing":
            made = {"id": str(uuid.uuid4()), "appId": str(uuid.uuid4()), "uniqueName": name}
            blank: dict[str, Any] = {"api": {}, "appRoles": [], "identifierUris": []}
            status, body = self._changed({**made, **blank}, sent)
            if status == 204:
                self.applications[name] = body
                return 201, body
            return status, body
        if found is None or self._is_missed():
            return _error(404, "Request_ResourceNotFound")
        return (200, found) if method == "GET" else self._changed(found, sent)

    def _is_missed(self) -> bool:
        self.missed = max(0, self.missed - 1)
        return self.missed > 0

    def _changed(self, found: dict[str, Any], sent: dict[str, Any]) -> Answer:
        api = sent.get("api", {})
        if sent.keys() - _APPLICATION or api.keys() - _API:
            return _error(400, "Request_BadRequest")
        scopes = found["api"].get("oauth2PermissionScopes", [])
        known = {one["id"] for one in scopes}
        for client in api.get("preAuthorizedApplications", []):
            if set(client["delegatedPermissionIds"]) - known:
                return _error(400, "InvalidPermissionId")
        for role in sent.get("appRoles", []):
            if role.keys() != _ROLE or " " in role["value"] or str(uuid.UUID(role["id"])) == "":
                return _error(400, "Request_BadRequest")
        lost = {one["id"] for one in found["appRoles"]} - {
            one["id"] for one in sent.get("appRoles", found["appRoles"])
        }
        if lost:
            return _error(400, "CannotDeleteOrUpdateEnabledEntitlement")
        for uri in sent.get("identifierUris", []):
            if uri != f"api://{found['appId']}" and not uri.startswith("https://"):
                return _error(400, "HostNameNotOnVerifiedDomain")
        found.update({name: value for name, value in sent.items() if name != "api"})
        found["api"].update(api)
        return 204, found

    def _new_principal(self, sent: dict[str, Any]) -> Answer:
        apps = {one["appId"] for one in self.applications.values()}
        if sent.keys() != {"appId"} or sent["appId"] not in apps or self._is_missed():
            return _error(400, "Request_BadRequest")
        if sent["appId"] in self.principals:
            return _error(409, "Request_MultipleObjectsWithSameKeyValue")
        principal = {"id": str(uuid.uuid4()), "appId": sent["appId"]}
        self.principals[sent["appId"]] = principal
        return 201, principal

    def _roles(self, method: str, principal: str, sent: Any) -> Answer:
        own = [one for one in self.assignments if one["resourceId"] == principal]
        if method == "GET":
            return 200, {"value": own}
        if sent.keys() != {"principalId", "resourceId", "appRoleId"}:
            return _error(400, "Request_BadRequest")
        if sent in own:
            return _error(400, "Permission_EntryExists")
        self.assignments.append(sent)
        return 201, sent

    # Resource Manager ---------------------------------------------------------------------

    def _management(self, method: str, path: str, query: dict[str, Any], sent: Any) -> Answer:
        if not path.startswith(GROUP) or "api-version" not in query:
            return _error(400, "MissingApiVersionParameter")
        rest = path.removeprefix(f"{GROUP}/providers/")
        secret = re.fullmatch(r"Microsoft\.KeyVault/vaults/kv-1/secrets/([\w-]+)", rest)
        if secret:
            return self._secret(method, secret[1], sent)
        if rest == "Microsoft.Web/sites/func-1/host/default/listKeys" and method == "POST":
            return 200, {"masterKey": "m", "functionKeys": {}, "systemKeys": self.system_keys}
        pattern = r"Microsoft\.EventGrid/systemTopics/evgt-1/eventSubscriptions/([\w-]{3,64})"
        subscription = re.fullmatch(pattern, rest)
        if subscription:
            return self._subscription(method, subscription[1], sent)
        return _error(404, "ResourceNotFound")

    def _secret(self, method: str, name: str, sent: Any) -> Answer:
        if method == "PUT":
            if name in self.deleted_secrets:
                return _error(409, "Conflict")
            self.secrets[name] = sent["properties"]["value"]
        if name not in self.secrets:
            return _error(404, "SecretNotFound")
        return 200, {"name": name, "properties": {"attributes": {"enabled": True}}}

    def _subscription(self, method: str, name: str, sent: Any) -> Answer:
        if method == "PUT":
            self.subscriptions[name] = sent["properties"]
            return 201, {"properties": {"provisioningState": "Creating"}}
        states = self.subscription_states
        state = states.pop(0) if len(states) > 1 else states[0]
        return 200, {"properties": {"provisioningState": state}}


def _error(status: int, code: str) -> Answer:
    return status, {"error": {"code": code, "message": "what was sent, perhaps"}}


@contextmanager
def cloud_running() -> Iterator[Cloud]:
    """The interfaces on a free port."""
    cloud = Cloud()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = json.loads(body) if body else None
            parts = urlsplit(self.path)
            cloud.requests.append((self.command, parts.path, sent))
            status, found = cloud.answer(
                self.command, parts.path, parse_qs(parts.query), sent, self.headers
            )
            content = b"" if status == 204 else json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _do  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

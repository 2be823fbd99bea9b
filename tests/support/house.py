"""The service with sign-in on, its issuer, and its audit log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.support.issuer import Issuer
from tests.support.server import Server

OWNER, READER = ["Dicom.DataOwner"], ["Dicom.DataReader"]
ADMIN = ["Dicom.ServiceAdministrator"]


class House:
    """The service with sign-in, its issuer, and the audit log."""

    def __init__(self, server: Server, issuer: Issuer, audit: Path) -> None:
        self.server, self.issuer, self.audit = server, issuer, audit
        self.http = httpx.Client(base_url=server.base_url, timeout=60)
        for name, state in (("main", "active"), ("other", "active"), ("paused", "suspended")):
            answer = self.http.put(
                f"/tenants/{name}", json={"state": state}, headers=self.as_admin()
            )
            assert answer.is_success, answer.text

    def token(self, tenant: str = "main", **claims: Any) -> str:
        return self.issuer.token(
            **{"aud": f"{self.server.base_url}/{tenant}", "roles": OWNER, **claims}
        )

    def headers(self, **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(**claims)}"}

    def as_admin(self) -> dict[str, str]:
        token = self.issuer.token(aud=self.server.base_url, roles=ADMIN)
        return {"Authorization": f"Bearer {token}"}

    def entries(self, correlation: str) -> list[dict[str, Any]]:
        """The audit entries of a request."""
        return self.entries_of(lambda one: one["CorrelationId"] == correlation)

    def entries_of(self, chosen: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The audit entries of one request. The last is written after its answer was sent."""
        deadline = time.monotonic() + 10
        while True:
            lines = self.audit.read_text("utf-8").splitlines()
            found = [entry for entry in map(json.loads, lines) if chosen(entry)]
            if any(one["ActionType"] == "Executed" for one in found):
                return found
            assert time.monotonic() < deadline, "no entry"
            time.sleep(0.01)

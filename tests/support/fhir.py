"""A FHIR R4 server: Medplum's published engine behind HTTP, and its controls."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import (
    ProgramMissing,
    free_ports,
    node_modules,
    node_program,
    running,
)

_SCRIPT = Path(__file__).with_name("fhir_server.mjs")
_OLDEST_NODE = 20


class FhirServer:
    """The server of a session: ``url`` is what a service is given, the rest is for tests."""

    def __init__(self, address: str) -> None:
        self.url = f"{address}/fhir/R4"
        self._http = httpx.Client(base_url=address, timeout=60)

    def reset(self) -> None:
        """Forget everything."""
        self._control("reset")

    def trouble(self, **how: Any) -> None:
        """Let requests fail; see the script. Without arguments: no more."""
        self._control("trouble", **how)

    def settings(self, **how: Any) -> None:
        """Change what the server says of itself, asks for, or how long it takes."""
        self._control("settings", **how)

    def answer(self, body: Any, status: int = 200) -> None:
        """Answer the next bundle with this."""
        self._control("answer", status=status, body=body)

    def log(self) -> list[dict[str, Any]]:
        """The requests since the last time."""
        found: list[dict[str, Any]] = self._http.get("/$log").json()
        return found

    def bundles(self) -> list[dict[str, Any]]:
        """The bundles among the requests since the last time."""
        bodies = [one["body"] for one in self.log() if one["method"] == "POST"]
        return [body for body in bodies if body["resourceType"] == "Bundle"]

    def create(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Write a resource past the service."""
        answer = self._http.post(f"/fhir/R4/{resource['resourceType']}", json=resource)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def update(self, resource: dict[str, Any]) -> None:
        """Write over a resource past the service."""
        path = f"/fhir/R4/{resource['resourceType']}/{resource['id']}"
        assert self._http.put(path, json=resource).status_code == 200

    def all(self, kind: str) -> list[dict[str, Any]]:
        """All resources of a type."""
        bundle = self._http.get(f"/fhir/R4/{kind}", params={"_count": 100_000}).json()
        return [entry["resource"] for entry in bundle.get("entry", [])]

    def versions(self) -> dict[str, str]:
        """The version of each resource that the service may write."""
        kinds = ("Patient", "Endpoint", "ImagingStudy", "Observation")
        return {
            f"{kind}/{one['id']}": one["meta"]["versionId"]
            for kind in kinds
            for one in self.all(kind)
        }

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _control(self, name: str, **body: Any) -> None:
        assert self._http.post(f"/${name}", json=body).status_code == 204


@contextlib.contextmanager
def fhir_server_running(folder: Path) -> Iterator[FhirServer]:
    """Run the server until the end of the block.

    Raises
    ------
    ProgramMissing
        There is no Node.js, or the engine is not installed.
    """
    if not (node_modules() / "@medplum" / "fhir-router").is_dir():
        raise ProgramMissing("@medplum/fhir-router is not installed: run python3 dev.py setup")
    node = node_program()
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").partition(".")[0]) < _OLDEST_NODE:
        raise ProgramMissing(f"the FHIR engine needs Node.js {_OLDEST_NODE}")
    (port,) = ports = free_ports(1)
    with running([node, str(_SCRIPT), str(port)], ports, folder / "fhir.log", {}):
        server = FhirServer(f"http://127.0.0.1:{port}")
        try:
            yield server
        finally:
            server.close()

"""The service over real HTTP, under the local host and under Microsoft's worker library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.house import House
from tests.support.issuer import Issuer
from tests.support.patients import PATIENT
from tests.support.server import NoWorker, Server

DICOM = {"Content-Type": "application/dicom"}
VIEWER = "https://viewer.example"


@pytest.fixture(scope="session", autouse=True)
def _no_patient_in_errors() -> Iterator[None]:
    """Each error that any test gets is looked through for the patients of the tests."""
    send = httpx.Client.send

    def look(response: httpx.Response) -> None:
        found = PATIENT.search(response.text)
        assert found is None, f"{response.request.url}: the error has {found}"

    def checked(self: httpx.Client, *arguments: Any, **options: Any) -> httpx.Response:
        response = send(self, *arguments, **options)
        if response.status_code >= 400 and not options.get("stream"):
            look(response)
        return response

    send_beside = httpx.AsyncClient.send

    async def checked_beside(
        self: httpx.AsyncClient, *arguments: Any, **options: Any
    ) -> httpx.Response:
        response = await send_beside(self, *arguments, **options)
        if response.status_code >= 400 and not options.get("stream"):
            look(response)
        return response

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "send", checked)
        patch.setattr(httpx.AsyncClient, "send", checked_beside)
        yield


@pytest.fixture(
    scope="session",
    params=["local", pytest.param("worker", marks=pytest.mark.real_worker)],
)
def server(
    request: pytest.FixtureRequest,
    new_account: Callable[[], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """The service, with the tenants ``main`` and ``other``; one run of the tests on each host."""
    tenants = {"local": "main,other", "worker": "wmain,wother"}[request.param]
    try:
        started = Server(
            connection=new_account(),
            data=tmp_path_factory.mktemp(f"server-{request.param}"),
            host=request.param,
            seed=True,
            environment={"DICOM_TENANTS": tenants, "DICOM_CORS_ORIGINS": VIEWER},
        )
    except NoWorker as reason:
        pytest.skip(str(reason))
    with started as running:
        yield running


@pytest.fixture(scope="session")
def house(
    new_account: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """The service with sign-in on, with the tenants main, other, and paused (suspended)."""
    folder = tmp_path_factory.mktemp("sign-in")
    audit = folder / "audit.jsonl"
    roles = folder / "roles.json"
    roles.write_text(
        json.dumps(
            [
                {
                    "name": "keeper",
                    "dataActions": ["*"],
                    "notDataActions": ["delete"],
                    "scopes": ["/"],
                },
                {"name": "ward", "dataActions": ["*"], "scopes": ["/partitions/ward"]},
            ]
        ),
        "utf-8",
    )
    with (
        Issuer() as issuer,
        Server(
            connection=new_account(),
            data=folder,
            seed=True,
            environment={
                "DICOM_SIGN_IN": "required",
                "DICOM_ISSUERS": issuer.url,
                "DICOM_TENANTS": "main,other",
                "DICOM_ROLES_FILE": str(roles),
                "DICOM_AUDIT_FILE": str(audit),
                "DICOM_CORS_ORIGINS": VIEWER,
                # a FHIR server that is turned off: what is asked for waits
                "DICOM_CAST": '{"main": {"fhirUrl": "http://127.0.0.1:1", "enabled": false}}',
            },
        ) as server,
    ):
        house = House(server, issuer, audit)
        yield house
        house.http.close()


@pytest.fixture(scope="session")
def tenants(server: Server) -> tuple[str, str]:
    """Names of two tenants."""
    first, second = server.environment["DICOM_TENANTS"].split(",")
    return first, second


@pytest.fixture(scope="session")
def http(server: Server, tenants: tuple[str, str]) -> Iterator[httpx.Client]:
    """A client of the first tenant's version 2."""
    with httpx.Client(base_url=f"{server.base_url}/{tenants[0]}/v2", timeout=120) as client:
        yield client

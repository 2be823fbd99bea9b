"""Health and failures, where a store is away or the code is wrong."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions import health, search
from functions._http import respond
from shared import container
from shared.errors import Unavailable


async def _well() -> None:
    """A store that answers."""


async def _away() -> None:
    raise Unavailable


@pytest.mark.spec("partitions-and-security", 24)
@pytest.mark.parametrize(("index", "status"), [(_well, 200), (_away, 503)])
async def test_health_is_that_of_the_stores(
    monkeypatch: pytest.MonkeyPatch, index: Any, status: int
) -> None:
    async def services() -> Any:
        return SimpleNamespace(checks=lambda: [("registry", _well), ("index", index)])

    monkeypatch.setattr(health, "services", services)
    answer = await health._check()
    found = json.loads(bytes(answer.body))
    words = {200: "Healthy", 503: "Unhealthy"}
    assert (answer.status_code, found["overallStatus"]) == (status, words[status])
    assert [one["status"] for one in found["details"]] == ["Healthy", words[status]]


@pytest.mark.spec("partitions-and-security", 33)
async def test_a_defect_is_500_without_its_cause() -> None:
    async def work() -> Response:
        raise RuntimeError("SECRET")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    answer = await respond("store", Request(scope), work)
    assert answer.status_code == 500
    assert bytes(answer.body).startswith(b"The service failed. Give this id")
    assert b"SECRET" not in bytes(answer.body)
    assert b"Traceback" not in bytes(answer.body)


async def test_an_app_whose_settings_are_wrong_serves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither data nor health: whoever deploys it sees that it does not run."""
    for name, value in {
        "DicomStorage": "UseDevelopmentStorage=true",
        "DICOM_SQLITE_DIRECTORY": "unused",
        "DICOM_PUBLIC_BASE_URL": "https://dicom.example",
        "DICOM_SIGN_IN": "",
        "DICOM_ISSUERS": "",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(container, "_services", None)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    assert (await health.health(Request(scope))).status_code == 500
    path = {"tenant": "main", "version": "2"}
    trigger = function_named("search_studies")
    assert (await trigger(Request({**scope, "path_params": path}))).status_code == 500


def function_named(name: str) -> Any:
    """A trigger of the app, as the host would call it."""
    found = [
        builder._function
        for builder in search.bp._function_builders
        if builder._function._name == name
    ]
    return found[0].get_user_function()

"""Services that the tests run against: one of each a session, on free ports of this machine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import NoReturn

import hypothesis
import pytest

from shared.config import CosmosConnection
from tests.support.azurite import account_of, azurite_running
from tests.support.cosmos_server import KEY, cosmos_server_running
from tests.support.fhir import FhirServer, fhir_server_running
from tests.support.processes import ProgramMissing

# no test is timed: machines are shared
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of an Azurite that keeps everything in memory."""
    try:
        with azurite_running(tmp_path_factory.mktemp("azurite")) as connection_string:
            yield connection_string
    except ProgramMissing as missing:
        _without(missing)


@pytest.fixture(scope="session")
def new_account(azurite: str) -> Callable[[], str]:
    """Makes storage accounts: each service of a test that handles messages needs its own."""
    numbers = itertools.count(1)
    return lambda: account_of(azurite, next(numbers))


@pytest.fixture
def account(new_account: Callable[[], str]) -> str:
    """Connection string of a storage account that only this test uses."""
    return new_account()


@pytest.fixture(scope="session")
def cosmos_connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CosmosConnection]:
    """A Cosmos account: that of ``COSMOS_ENDPOINT`` and ``COSMOS_KEY``, else the npm emulator.

    Without a key the account is signed in to with the default credential.
    """
    endpoint = os.environ.get("COSMOS_ENDPOINT")
    if endpoint:
        yield CosmosConnection(endpoint, key=os.environ.get("COSMOS_KEY") or None)
        return
    try:
        with cosmos_server_running(tmp_path_factory.mktemp("cosmos")) as own:
            yield CosmosConnection(own, key=KEY)
    except ProgramMissing as missing:
        _without(missing)


@pytest.fixture(scope="session")
def cosmos_endpoint(cosmos_connection: CosmosConnection) -> str:
    """Endpoint of ``cosmos_connection``."""
    return cosmos_connection.endpoint


@pytest.fixture(scope="session")
def fhir_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FhirServer]:
    """A FHIR R4 server; see ``fhir`` for one that is empty."""
    try:
        with fhir_server_running(tmp_path_factory.mktemp("fhir")) as server:
            yield server
    except ProgramMissing as missing:
        _without(missing)


@pytest.fixture
def fhir(fhir_server: FhirServer) -> FhirServer:
    """The session's FHIR server, emptied."""
    fhir_server.reset()
    return fhir_server


def _without(missing: ProgramMissing) -> NoReturn:
    """Skip on a developer's machine; in CI what is missing is a failure."""
    if os.environ.get("CI"):
        raise missing
    pytest.skip(str(missing))

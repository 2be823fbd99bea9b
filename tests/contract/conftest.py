"""The bodies of each port. A test of a suite runs once on each of them."""

from __future__ import annotations

import itertools
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.adapters.azure.blobs import AzureBlobs, ensure_container
from shared.adapters.azure.clients import blob_service, cosmos_client, queue_service, table_service
from shared.adapters.azure.cosmos import CosmosDocuments, create_containers
from shared.adapters.azure.transport import Transport
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.config import CosmosConnection, StorageConnection
from shared.ports import Documents, JsonObject
from shared.where import Eq, Where
from tests.support.docker import docker_runs

NPM_EMULATOR_LACKS = {
    "test_get_of_an_absent_document_is_none": "answers 500",
    "test_get_in_a_partition_that_was_never_written_is_none": "answers 500",
    "test_put_below_an_absent_parent_is_a_value_error": "puts it into the root",
    "test_refused_operation_leaves_nothing_of_its_commit": "a batch is not atomic",
    "test_hundred_operations_with_a_bad_one_at_each_position": "a batch is not atomic",
    "test_first_refused_operation_is_named": "a batch is not atomic",
    "test_patches_and_other_operations_are_one_commit": "no patch in a batch",
    "test_several_patches_of_one_document_apply_in_order": "no patch in a batch",
    "test_patch_of_more_than_ten_members": "no patch in a batch",
    "test_patch_condition_reads_what_the_patch_writes": "no patch in a batch",
    "test_refused_patch_of_more_than_ten_members_changes_nothing": "no patch in a batch",
    "test_patch_condition_compares_text_by_case": "lower-cases the condition of a patch",
    "test_skip_leaves_out_documents_at_the_beginning": "no OFFSET … LIMIT",
    "test_skip_reaches_into_the_documents_that_lack_the_sort_key": "no OFFSET … LIMIT",
    "test_path_does_not_lead_into_an_array": "takes an index for a name",
    "test_wildcard_inside_a_pattern": "no LIKE",
    "test_negated_wildcard": "no LIKE",
}
"""Tests that ``@vercel/cosmosdb-server`` 1.0.1 cannot pass, and why. The only such list."""

_numbers = itertools.count()


@dataclass(slots=True)
class Space:
    """A corner of a database that no other test uses: its own type and its own partitions."""

    documents: Documents
    body: str
    mark: str = field(default_factory=lambda: f"t{secrets.token_hex(6)}")

    def pk(self, name: str = "p") -> str:
        return f"{self.mark}|{name}"

    def doc(self, identifier: str, *, pk: str = "p", **members: Any) -> JsonObject:
        return {"id": identifier, "pk": self.pk(pk), "type": self.mark, **members}

    @property
    def mine(self) -> Where:
        return Eq(("type",), self.mark)


def _cosmos_body() -> str:
    return "cosmos" if os.environ.get("COSMOS_ENDPOINT") else "npm-emulator"


DOCUMENT_BODIES = [
    "sqlite",
    pytest.param(_cosmos_body(), marks=pytest.mark.cosmos),
    *([pytest.param("linux-emulator", marks=pytest.mark.cosmos)] if docker_runs() else []),
]


@pytest.fixture(scope="session")
async def sqlite_documents(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Documents]:
    documents = SqliteDocuments(tmp_path_factory.mktemp("sqlite") / "tenant.db")
    yield documents
    await documents.close()


async def _cosmos_documents(client: Any) -> CosmosDocuments:
    await create_containers(client, "contract")
    return CosmosDocuments(client, "contract")


@pytest.fixture(scope="session")
async def cosmos_documents(cosmos_connection: CosmosConnection) -> AsyncIterator[Documents]:
    documents = await _cosmos_documents(cosmos_client(cosmos_connection))
    yield documents
    await documents.close()


@pytest.fixture(scope="session")
async def linux_emulator_documents() -> AsyncIterator[Documents]:
    from testcontainers.community.cosmosdb import CosmosDBNoSQLEndpointContainer

    with CosmosDBNoSQLEndpointContainer() as container:
        documents = await _cosmos_documents(container.insecure_async_client())
        yield documents
        await documents.close()


_FIXTURES = {
    "sqlite": "sqlite_documents",
    "npm-emulator": "cosmos_documents",
    "cosmos": "cosmos_documents",
    "linux-emulator": "linux_emulator_documents",
}


@pytest.fixture(params=DOCUMENT_BODIES)
def space(request: pytest.FixtureRequest) -> Space:
    """A fresh corner of each body of ``Documents``."""
    name = getattr(request.node, "originalname", request.node.name)
    if request.param == "npm-emulator" and name in NPM_EMULATOR_LACKS:
        pytest.skip(f"the npm emulator: {NPM_EMULATOR_LACKS[name]}")
    return Space(request.getfixturevalue(_FIXTURES[request.param]), request.param)


# Azurite ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def azurite_container() -> Iterator[str]:
    from testcontainers.community.azurite import AzuriteContainer

    hosts = "--blobHost 0.0.0.0 --queueHost 0.0.0.0 --tableHost 0.0.0.0"
    with AzuriteContainer().with_command(f"azurite {hosts} --skipApiVersionCheck") as container:
        yield container.get_connection_string()


STORAGE_BODIES = [
    pytest.param("azurite", marks=pytest.mark.azurite),
    *([pytest.param("azurite_container", marks=pytest.mark.azurite)] if docker_runs() else []),
]


@pytest.fixture(params=STORAGE_BODIES)
def storage(request: pytest.FixtureRequest) -> StorageConnection:
    """A storage account."""
    return StorageConnection(connection_string=request.getfixturevalue(request.param))


@pytest.fixture
async def blob_client(storage: StorageConnection) -> AsyncIterator[Any]:
    async with blob_service(storage) as client:
        yield client


@pytest.fixture
async def queue_client(storage: StorageConnection) -> AsyncIterator[Any]:
    async with queue_service(storage) as client:
        yield client


@pytest.fixture
async def table_client(storage: StorageConnection) -> AsyncIterator[Any]:
    async with table_service(storage) as client:
        yield client


@pytest.fixture
def fresh_name() -> str:
    """A name for a container or a queue that no other test uses."""
    return f"c{next(_numbers)}-{secrets.token_hex(4)}"


@pytest.fixture
async def blobs(blob_client: Any, fresh_name: str) -> AzureBlobs:
    await ensure_container(blob_client, fresh_name)
    return AzureBlobs(blob_client, fresh_name)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the HTTP requests by method."""
    counted: Counter[str] = Counter()
    send = Transport.send

    async def counting(self: Transport, request: Any, **options: Any) -> Any:
        counted[request.method] += 1
        return await send(self, request, **options)

    monkeypatch.setattr(Transport, "send", counting)
    return counted

"""The ``Documents`` port on Cosmos DB for NoSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from shared.adapters.azure.cosmos_sql import (
    PageRequest,
    Query,
    count_query,
    indexing_policy,
    lacking_query,
    page_query,
    patch_condition,
    patch_pointer,
)
from shared.adapters.azure.failures import translated
from shared.adapters.commits import (
    PATCH_MEMBERS,
    check_commit,
    check_size,
    encode,
    own_members,
)
from shared.errors import OperationRefused, Refusal, Throttled
from shared.index.schema import CONTAINERS
from shared.ports import (
    Create,
    Delete,
    Document,
    JsonObject,
    Operation,
    Patch,
    Replace,
    Upsert,
)
from shared.where import Order, Scalar, Where

if TYPE_CHECKING:
    from azure.cosmos.aio import ContainerProxy, CosmosClient

_REFUSALS = {409: Refusal.EXISTS, 404: Refusal.MISSING, 412: Refusal.CHANGED}
_BAD_REQUESTS = {400, 413}
_TOO_MANY_REQUESTS = 429
_RETRY_WITH = 449
_NOT_FOUND = 404

_NOT_TWICE: dict[str, Any] = {"retry_read": 0}
"""For writes: where the answer is lost, the SDK would send them again, and call what it finds done
a conflict, or do it twice. Whoever writes is told ``Unavailable`` instead, and looks."""

BatchOperation = tuple[str, tuple[Any, ...], dict[str, Any]]


class CosmosDocuments:
    """Documents of one tenant: one database.

    Parameters
    ----------
    client : CosmosClient
        The client; ``close`` closes it. All bodies of a process share one: a read sees what this
        process wrote through the session token that the client keeps.
    database_name : str
        Name of the database.
    """

    def __init__(self, client: CosmosClient, database_name: str) -> None:
        self._client = client
        database = client.get_database_client(database_name)
        self._containers: dict[str, ContainerProxy] = {
            name: database.get_container_client(name) for name in CONTAINERS
        }

    async def get(self, container: str, partition: str, document_id: str) -> Document | None:
        """One document. See ``Documents.get``."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            with translated():
                found = await self._containers[container].read_item(document_id, partition)
        except ResourceNotFoundError:
            return None
        return Document(own_members(found), str(found["_etag"]))

    async def query(
        self,
        container: str,
        where: Where,
        *,
        order: Sequence[Order] = (),
        limit: int,
        after: Sequence[Scalar] | None = None,
        skip: int = 0,
        partition: str | None = None,
        members: Sequence[str] | None = None,
    ) -> list[JsonObject]:
        """One page of documents. See ``Documents.query``."""
        request = PageRequest(
            schema=CONTAINERS[container],
            where=where,
            order=tuple(order),
            after=None if after is None else tuple(after),
            partition=partition,
            members=None if members is None else tuple(members),
        )
        found = await self._run(container, request, page_query(request, limit, skip), limit)
        missing = limit - len(found)
        if missing and lacking_query(request, missing) is not None:
            rest_skip = await self._skip_rest(container, request, skip) if not found else 0
            rest = lacking_query(request, missing, rest_skip)
            if rest is not None:
                found += await self._run(container, request, rest, missing)
        return found

    async def count(self, container: str, where: Where, *, partition: str | None = None) -> int:
        """How many documents match. See ``Documents.count``."""
        request = PageRequest(schema=CONTAINERS[container], where=where, partition=partition)
        return await self._count(container, request)

    async def commit(self, container: str, partition: str, operations: Sequence[Operation]) -> None:
        """Apply all operations or none. See ``Documents.commit``."""
        check_commit(CONTAINERS[container], partition, operations)
        check_size(_size(operation) for operation in operations)
        batch: list[BatchOperation] = []
        origin: list[int] = []  # which operation each part of the batch is of
        for number, operation in enumerate(operations):
            parts = batch_operations(operation)
            batch += parts
            origin += [number] * len(parts)
        client = self._containers[container]
        if len(batch) == 1:
            await _commit_one(client, partition, operations[0])
        else:
            await _commit_batch(client, partition, batch, origin)

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    async def _run(
        self, container: str, request: PageRequest, query: Query, limit: int
    ) -> list[JsonObject]:
        options: dict[str, Any] = {"max_item_count": limit}
        if request.partition is not None:
            options["partition_key"] = request.partition
        items = self._containers[container].query_items(
            query.text, parameters=query.parameters, **options
        )
        with _plain_failures():
            found: list[JsonObject] = [item async for item in items]
        if request.members is None:
            return [own_members(body) for body in found]
        return [{name: body[name] for name in request.members if name in body} for body in found]

    async def _skip_rest(self, container: str, request: PageRequest, skip: int) -> int:
        """How many of the documents that come last are still to be skipped."""
        if not skip:
            return 0
        return max(0, skip - await self._count(container, request))

    async def _count(self, container: str, request: PageRequest) -> int:
        query = count_query(request)
        options: dict[str, Any] = {}
        if request.partition is not None:
            options["partition_key"] = request.partition
        counts = self._containers[container].query_items(
            query.text, parameters=query.parameters, **options
        )
        with _plain_failures():
            return sum([_number(count) async for count in counts])


def _number(count: Any) -> int:
    return int(count)


async def create_containers(client: CosmosClient, database_name: str) -> None:
    """Make a database and its containers. For emulators and tests: Azure has them from Bicep."""
    from azure.cosmos import PartitionKey

    database = await client.create_database_if_not_exists(database_name)
    for schema in CONTAINERS.values():
        await database.create_container_if_not_exists(
            schema.name,
            partition_key=PartitionKey(f"/{schema.partition_key}"),
            indexing_policy=indexing_policy(schema),
        )


# Commits ----------------------------------------------------------------------------------


def batch_operations(operation: Operation) -> list[BatchOperation]:
    """The parts of a transactional batch that do one operation.

    A patch of more members than Cosmos DB takes becomes several. Only the first has the
    condition: the members that it reads may be those that the patch writes.
    """
    if isinstance(operation, Patch):
        changes = patch_changes(operation)
        filtered = patch_condition(operation.when)
        first: dict[str, Any] = {} if filtered is None else {"filter_predicate": filtered}
        return [
            ("patch", (operation.id, changes[at : at + PATCH_MEMBERS]), {} if at else first)
            for at in range(0, len(changes), PATCH_MEMBERS)
        ]
    if isinstance(operation, Delete):
        return [("delete", (operation.id,), _if_match(operation.etag))]
    body = own_members(operation.body)
    if isinstance(operation, Replace):
        return [("replace", (body["id"], body), _if_match(operation.etag))]
    return [("create" if isinstance(operation, Create) else "upsert", (body,), {})]


def patch_changes(patch: Patch) -> list[JsonObject]:
    """The changes of a patch as Cosmos DB spells them."""
    changes: list[JsonObject] = [
        {"op": "set", "path": patch_pointer(path), "value": value}
        for path, value in patch.put.items()
    ]
    changes += [
        {"op": "incr", "path": patch_pointer(path), "value": number}
        for path, number in patch.add.items()
    ]
    return changes


def _if_match(etag: str | None) -> dict[str, Any]:
    return {} if etag is None else {"if_match_etag": etag}


def _size(operation: Operation) -> int:
    if isinstance(operation, Delete):
        return 0
    if isinstance(operation, Patch):
        return len(encode(patch_changes(operation)).encode("utf-8", "replace"))
    return len(encode(own_members(operation.body)).encode("utf-8", "replace"))


async def _commit_batch(
    client: ContainerProxy, partition: str, batch: list[BatchOperation], origin: list[int]
) -> None:
    from azure.cosmos.exceptions import CosmosBatchOperationError

    try:
        with _plain_failures():
            await client.execute_item_batch(batch, partition, **_NOT_TWICE)
    except CosmosBatchOperationError as error:
        status = int(error.status_code or 0)
        if status in _REFUSALS:
            raise OperationRefused(origin[error.error_index], _REFUSALS[status]) from error
        raise


async def _commit_one(client: ContainerProxy, partition: str, operation: Operation) -> None:
    """One operation alone: cheaper than a batch of one, and with fewer bytes in the answer."""
    from azure.core.exceptions import HttpResponseError

    try:
        with _plain_failures():
            await _apply(client, partition, operation)
    except HttpResponseError as error:
        status = int(error.status_code or 0)
        if status in _REFUSALS:
            raise OperationRefused(0, _REFUSALS[status]) from error
        raise


async def _apply(client: ContainerProxy, partition: str, operation: Operation) -> None:
    if isinstance(operation, Create):
        await client.create_item(own_members(operation.body), no_response=True, **_NOT_TWICE)
    elif isinstance(operation, Upsert):
        await client.upsert_item(own_members(operation.body), no_response=True, **_NOT_TWICE)
    elif isinstance(operation, Replace):
        body = own_members(operation.body)
        await client.replace_item(
            body["id"], body, no_response=True, **_match(operation.etag), **_NOT_TWICE
        )
    elif isinstance(operation, Delete):
        await client.delete_item(operation.id, partition, **_match(operation.etag), **_NOT_TWICE)
    else:
        await client.patch_item(
            operation.id,
            partition,
            patch_changes(operation),
            filter_predicate=patch_condition(operation.when),
            no_response=True,
            **_NOT_TWICE,
        )


def _match(etag: str | None) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {} if etag is None else {"etag": etag, "match_condition": MatchConditions.IfNotModified}


@contextlib.contextmanager
def _plain_failures() -> Iterator[None]:
    """Raise for what Cosmos DB means by its own codes what ``translated`` cannot know."""
    from azure.core.exceptions import HttpResponseError

    try:
        with translated():
            yield
    except HttpResponseError as error:
        status = int(error.status_code or 0)
        if status in {_TOO_MANY_REQUESTS, _RETRY_WITH}:
            raise Throttled from error
        if status in _BAD_REQUESTS:
            raise ValueError("Cosmos DB takes an operation for malformed") from error
        raise

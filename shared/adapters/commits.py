"""What both bodies of the ``Documents`` port check before a commit reaches a store.

A breach is a defect of the caller, not of a request, so it is a ``ValueError``. Checking the
limits of Cosmos DB in the local body too makes a commit that Azure would refuse fail at home.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence

from shared.index.schema import ContainerSchema
from shared.ports import (
    MAX_COMMIT_BYTES,
    MAX_OPERATIONS,
    Create,
    Delete,
    Json,
    JsonObject,
    Operation,
    Patch,
    Replace,
    Upsert,
)

PATCH_MEMBERS = 10
"""Most members that one patch operation of Cosmos DB changes."""

_MOST_ID_BYTES = 1_023
_MOST_KEY_BYTES = 2_048
_NOT_IN_ID = frozenset("/\\?#")


def document_id(operation: Operation) -> str:
    """Id of the document that an operation concerns."""
    if isinstance(operation, Patch | Delete):
        return operation.id
    identifier = operation.body.get("id")
    if not isinstance(identifier, str):
        raise ValueError("a document has no id")
    return identifier


def own_members(body: JsonObject) -> JsonObject:
    """A body without the members that belong to the store."""
    if any(name.startswith("_") for name in body):
        return {name: value for name, value in body.items() if not name.startswith("_")}
    return body


def encode(value: Json) -> str:
    """Compact JSON text; characters outside ASCII stand for themselves."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def weight(operation: Operation) -> int:
    """How many of the ``MAX_OPERATIONS`` an operation uses."""
    if isinstance(operation, Patch):
        return max(1, -(-(len(operation.put) + len(operation.add)) // PATCH_MEMBERS))
    return 1


def check_commit(schema: ContainerSchema, partition: str, operations: Sequence[Operation]) -> None:
    """Check all that does not need the encoded bodies.

    Raises
    ------
    ValueError
        The caller breaks the promises of ``Documents.commit``.
    """
    if not 1 <= sum(weight(operation) for operation in operations) <= MAX_OPERATIONS:
        raise ValueError(f"a commit has 1 to {MAX_OPERATIONS} operations")
    if not 0 < len(partition.encode("utf-8", "replace")) <= _MOST_KEY_BYTES:
        raise ValueError(f"a partition key has 1 to {_MOST_KEY_BYTES} bytes")
    written: set[str] = set()
    patched: set[str] = set()
    for operation in operations:
        identifier = document_id(operation)
        _check_id(identifier)
        if identifier in written or (identifier in patched and not isinstance(operation, Patch)):
            raise ValueError("an id occurs twice in one commit")
        if isinstance(operation, Patch):
            patched.add(identifier)
            _check_patch(operation)
        else:
            written.add(identifier)
        if (
            isinstance(operation, Create | Replace | Upsert)
            and operation.body.get(schema.partition_key) != partition
        ):
            raise ValueError(f"{schema.partition_key} of a document is not the partition key")


def check_size(sizes: Iterable[int]) -> None:
    """Check the bytes of JSON of one commit."""
    if sum(sizes) > MAX_COMMIT_BYTES:
        raise ValueError(f"a commit has at most {MAX_COMMIT_BYTES} bytes of JSON")


def _check_id(identifier: str) -> None:
    if not 0 < len(identifier.encode("utf-8", "replace")) <= _MOST_ID_BYTES:
        raise ValueError(f"an id has 1 to {_MOST_ID_BYTES} bytes")
    if not _NOT_IN_ID.isdisjoint(identifier):
        raise ValueError("an id has none of the characters / \\ ? #")


def _check_patch(patch: Patch) -> None:
    paths = [*patch.put, *patch.add]
    if not paths:
        raise ValueError("a patch changes nothing")
    ordered = sorted(paths)
    for first, second in itertools.pairwise(ordered):
        if second[: len(first)] == first:
            raise ValueError("a path of a patch is a prefix of another")

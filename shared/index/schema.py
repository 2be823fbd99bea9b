"""The containers of one tenant's database (architecture §5). Read by both bodies of the port.

Kept in step with the Cosmos containers that ``infra`` provisions.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.where import Order, Path


@dataclass(frozen=True, slots=True)
class ContainerSchema:
    """One container.

    Parameters
    ----------
    name : str
        Name of the container.
    partition_key : str
        The member that holds the partition key.
    indexed : tuple[Path, ...]
        Paths that queries filter or sort by; everything below each path is indexed.
    composite : tuple[tuple[Order, ...], ...]
        Sort orders over several members that queries use.
    """

    name: str
    partition_key: str
    indexed: tuple[Path, ...]
    composite: tuple[tuple[Order, ...], ...] = ()


INDEX = ContainerSchema(
    name="index",
    partition_key="pk",
    indexed=(
        ("type",),
        ("partition",),
        ("version",),
        ("id",),
        ("series",),
        ("due",),
        ("spreading",),
        ("q",),
        ("tagErrors",),
    ),
    composite=(
        (Order(("version",), descending=True), Order(("id",))),
        (Order(("series",)), Order(("version",))),
    ),
)
CHANGES = ContainerSchema(
    name="changes",
    partition_key="bucket",
    indexed=(("type",), ("id",), ("bucket",), ("sequence",), ("timestamp",)),
)
WORKLIST = ContainerSchema(
    name="worklist",
    partition_key="pk",
    indexed=(("type",), ("partition",), ("version",), ("id",), ("due",), ("q",)),
    composite=((Order(("version",), descending=True), Order(("id",))),),
)
CONTROL = ContainerSchema(
    name="control", partition_key="kind", indexed=(("kind",), ("id",), ("key",))
)

CONTAINERS: dict[str, ContainerSchema] = {
    schema.name: schema for schema in (INDEX, CHANGES, WORKLIST, CONTROL)
}

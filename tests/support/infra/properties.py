"""Properties of resources, by the names that Azure's own models have for them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tree_sitter import Node

from tests.support.infra.source import Infra, members, resources

KNOWN = Path(__file__).with_name("properties.json")
_BICEP_OWN = {"name", "parent", "scope", "dependsOn", "tags"}
_FREE = {
    "Microsoft.Consumption/budgets": "properties/notifications/",
    "Microsoft.Storage/storageAccounts": "identity/userAssignedIdentities/",
    "Microsoft.DocumentDB/databaseAccounts": "identity/userAssignedIdentities/",
    "Microsoft.Web/sites": "identity/userAssignedIdentities/",
}
"""Where keys are the deployment's own."""


def properties(infra: Infra) -> dict[str, set[str]]:
    """Of each type of resource that is made: paths of all its properties, arrays left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in resources(infra):
        if not one.is_existing:
            for key, value in members(one.body).items():
                if key not in _BICEP_OWN:
                    found[one.type] |= {key, *_below(value, f"{key}/", _FREE.get(one.type, "-"))}
    return found


def _below(node: Node, prefix: str, free: str) -> Iterator[str]:
    """Also what stands in arrays, loops, choices and calls."""
    if node.type != "object":
        for child in node.named_children:
            yield from _below(child, prefix, free)
        return
    for key, value in members(node).items():
        path = f"{prefix}{'*' if prefix == free else key}"
        yield path
        yield from _below(value, f"{path}/", free)


@cache
def _known() -> dict[str, list[str]]:
    found: dict[str, list[str]] = json.loads(KNOWN.read_text("utf-8"))
    return found


def check_properties(infra: Infra) -> list[str]:
    """Each property is spelt as in Azure's models, as far as they were compared (``models.py``)."""
    return [
        f"{kind}: {path} was not compared with the models"
        for kind, paths in sorted(properties(infra).items())
        for path in sorted(paths - set(_known().get(kind, ())))
    ]

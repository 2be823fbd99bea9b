"""The index policy of Cosmos: the schema of the code, and what each query needs."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import Any

from shared.adapters.azure.cosmos_sql import indexing_policy
from shared.index.schema import CONTAINERS
from tests.support.infra.source import ROOT, Infra

_FILE = "infra/cosmos.json"
_GOLDEN = ("cosmos_pages.sql", "cosmos_searches.sql")
_MEMBER = re.compile(r'c((?:\["[^"]+"\])+)')
_WITHIN_A_PARTITION = {
    "/operation": "beside /type: what one update has prepared in one study",
    "/state": "beside /operation",
    "/subscription": "beside /kind: what was given up for one subscription",
    "/versions": "beside /type: deletions and updates under way in one study",
}
"""Compared without an index, after one has left few documents of one partition."""
_PREDICATES = {"Eq", "Range", "Prefix", "Like", "In", "Contains", "Member", "Exists", "Order"}

Sort = tuple[tuple[str, bool], ...]
"""Members (``/version``) and whether they descend."""


@cache
def golden_statements() -> tuple[tuple[str, frozenset[str], Sort], ...]:
    """Of each pinned statement: the text, the members that it compares, and how it sorts."""
    found = []
    for file in _GOLDEN:
        text = (ROOT / "tests/contract/golden" / file).read_text("utf-8")
        for line in text.splitlines():
            if line.startswith("SELECT"):
                where, _, order = line.partition(" WHERE ")[2].partition(" ORDER BY ")
                found.append(
                    (line, frozenset(_paths(where)), _sort(order.partition(" OFFSET ")[0]))
                )
    return tuple(found)


def _paths(clause: str) -> list[str]:
    return ["/" + "/".join(re.findall(r'\["([^"]+)"\]', one)) for one in _MEMBER.findall(clause)]


def _sort(clause: str) -> Sort:
    keys = [one for one in clause.split(", ") if one]
    return tuple((_paths(one)[0], one.endswith(" DESC")) for one in keys)


@cache
def code_sorts() -> frozenset[Sort]:
    """Each sequence of ``Order`` in the code of the app, as a tuple that is handed to a query."""
    found = set()
    for node in _code():
        if isinstance(node, ast.Tuple | ast.List) and node.elts:
            keys = [_order(one) for one in node.elts]
            if all(keys):
                found.add(tuple(key for key in keys if key))
    return frozenset(found)


@cache
def _code() -> tuple[ast.AST, ...]:
    """Every node of the app's code, but for the schema itself."""
    files = [path for path in (ROOT / "shared").rglob("*.py") if path.name != "schema.py"]
    return tuple(node for path in files for node in ast.walk(ast.parse(path.read_text("utf-8"))))


def _order(node: ast.expr) -> tuple[str, bool] | None:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return None
    path = _path(node) if node.func.id == "Order" else None
    descends = any(
        one.arg == "descending" and isinstance(one.value, ast.Constant) and one.value.value is True
        for one in node.keywords
    )
    return None if path is None else (path, descends)


@cache
def code_paths() -> frozenset[str]:
    """Members that predicates in the code name in full."""
    found = set()
    for node in _code():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            path = _path(node) if node.func.id in _PREDICATES else None
            if path is not None:
                found.add(path)
    return frozenset(found)


def _path(call: ast.Call) -> str | None:
    """The first argument of a predicate, as far as it is written out."""
    if not call.args or not isinstance(call.args[0], ast.Tuple) or not call.args[0].elts:
        return None
    first = call.args[0].elts[0]
    if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
        return None
    return f"/{first.value}"


def check_schema(infra: Infra) -> list[str]:
    """The file that Bicep loads says what ``shared/index/schema.py`` says, and nothing else."""
    stated = {one["name"]: one for one in infra.json(_FILE)["containers"]}
    found = [f"{one}: not in cosmos.json" for one in CONTAINERS.keys() - stated.keys()]
    found += [f"{one}: not in the schema" for one in stated.keys() - CONTAINERS.keys()]
    for name in stated.keys() & CONTAINERS.keys():
        schema, one = CONTAINERS[name], stated[name]
        if one["partitionKey"] != f"/{schema.partition_key}":
            found.append(f"{name}: partition key {one['partitionKey']}")
        if one["indexingPolicy"] != indexing_policy(schema):
            found.append(f"{name}: another indexing policy")
        if one["uniqueKeys"]:  # ids are what is unique: docs/adr/0011
            found.append(f"{name}: has unique keys, which SQLite has not")
        if set(one) != {"name", "partitionKey", "uniqueKeys", "indexingPolicy"}:
            found.append(f"{name}: has more than Bicep reads")
    return found


def check_queries(infra: Infra) -> list[str]:
    """What is compared is indexed, and what is sorted by several members has its composite."""
    containers = {one["name"]: one for one in infra.json(_FILE)["containers"]}
    found = []
    for statement, paths, sort in golden_statements():
        container = containers[_container_of(statement)]
        found += [
            f"not indexed: {path} in {statement}"
            for path in sorted(paths)
            if not _covers(container, path)
        ]
        if not _sorts(container, sort):
            found.append(f"cannot be sorted: {statement}")
    for sort in sorted(code_sorts()):
        if not any(_sorts(one, sort) for one in containers.values()):
            found.append(f"no container can be sorted by {sort}")
    found += [f"no query compares {one}" for one in _WITHIN_A_PARTITION.keys() - code_paths()]
    for path in sorted(code_paths() - _WITHIN_A_PARTITION.keys()):
        if not any(_covers(one, path) for one in containers.values()):
            found.append(f"no container has an index of {path}")
    return found


def _container_of(statement: str) -> str:
    if 'c["bucket"]' in statement:
        return "changes"
    return "control" if 'c["kind"]' in statement else "index"


def _covers(container: dict[str, Any], path: str) -> bool:
    if path == container["partitionKey"]:
        return True
    included = [
        one["path"].removesuffix("/*") for one in container["indexingPolicy"]["includedPaths"]
    ]
    return any(path == one or path.startswith(f"{one}/") for one in included)


def _sorts(container: dict[str, Any], sort: Sort) -> bool:
    """By a composite index of the same sequence, in the same or all opposite directions."""
    if len(sort) < 2:
        return all(_covers(container, path) for path, _ in sort)
    for composite in container["indexingPolicy"]["compositeIndexes"]:
        has = tuple((one["path"], one["order"] == "descending") for one in composite)
        if sort in (has, tuple((path, not descends) for path, descends in has)):
            return True
    return False

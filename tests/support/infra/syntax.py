"""What a compiler would say of the Bicep files: syntax, names, modules, files that are loaded."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import PurePosixPath

from tree_sitter import Node

from tests.support.infra.source import Bicep, Infra, members, name, plain, pycep_error, text, walk

_FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """
        allowed any batchSize concat contains description empty environment filter flatten guid
        join last length loadJsonContent loadTextContent map maxLength maxValue metadata minLength
        minValue replace resourceGroup resourceId split subscription subscriptionResourceId tenant
        toLower union uniqueString utcNow
        """,
    )
)
"""Of Bicep, as far as they are used."""

_LOADS = re.compile(r"load(?:Json|Text)Content\('([^']+)'\)")
_OWN = frozenset({"targetScope", "string", "int", "bool", "object", "array"})
_VALUE = re.compile(r"\$\{(\w+)(?:=([^}]*))?\}")
_NOT_ASKED = {"thisMonth"}


def check_syntax(infra: Infra) -> list[str]:
    """Both parsers read each file: what one of them forgives is not written."""
    return [problem for file in infra.bicep.values() for problem in _syntax(file)]


@cache
def _syntax(file: Bicep) -> list[str]:
    found = [
        f"{file.path}:{node.start_point[0] + 1}: no Bicep"
        for node in walk(file.root)
        if node.type == "ERROR" or node.is_missing
    ]
    error = pycep_error(file.text)
    return [*found, f"{file.path}: {error}"] if error else found


def check_names(infra: Infra) -> list[str]:
    """Each name is declared once, and what is declared is used."""
    return [problem for file in infra.bicep.values() for problem in _names(file)]


@cache
def _names(file: Bicep) -> list[str]:
    kinds = ("parameter", "variable", "resource", "module")
    declared = [one for kind in kinds for one in file.declarations(kind)]
    whole = [name(node) for node in file.root.children if node.type.endswith("_declaration")]
    names = [one for one in whole if one not in file.declarations("output")]
    found = [f"{file.path}: {one} is declared twice" for one in set(names) if names.count(one) > 1]
    used = set()
    for node in walk(file.root):
        if node.type != "identifier" or _is_key(node):
            continue
        word, parent = text(node), node.parent
        if parent is not None and parent.type == "call_expression" and parent.children[0] == node:
            if word not in _FUNCTIONS:
                found.append(f"{file.path}: {word}() is no function that is known here")
        elif word in declared:
            used.add(word)
        elif word not in _local_names(node) and word not in _OWN:
            line = node.start_point[0] + 1
            found.append(f"{file.path}:{line}: {word} is not declared")
    for kind in ("parameter", "variable"):
        unused = file.declarations(kind).keys() - used
        found += [f"{file.path}: the {kind} {one} is not used" for one in sorted(unused)]
    return found


def _is_key(node: Node) -> bool:
    """Whether an identifier names a member or a declaration, and refers to nothing."""
    parent = node.parent
    if parent is None:
        return False
    if parent.type == "object_property":
        return parent.named_children[0] == node
    return parent.type.endswith("_declaration") and node == next(
        child for child in parent.children if child.type == "identifier"
    )


def _local_names(node: Node) -> set[str]:
    """Names of the loops and lambdas around a node."""
    found: set[str] = set()
    above: Node | None = node
    while above is not None:
        if above.type == "lambda_expression":
            found.add(text(above.named_children[0]))
        if above.type == "for_statement":
            first = above.named_children[0]
            found |= set(re.findall(r"\w+", text(first)))
        above = above.parent
    return found


def check_modules(infra: Infra) -> list[str]:
    """Each module gets the parameters that it has, and has the outputs that are asked of it."""
    found = []
    for file in infra.bicep.values():
        modules = file.declarations("module")
        targets = {}
        for symbol, node in modules.items():
            literal = plain(next(child for child in node.children if child.type == "string"))
            path = str(PurePosixPath(file.path).parent / literal)
            target = targets[symbol] = infra.bicep.get(path)
            if target is None:
                found.append(f"{file.path}: there is no {path}")
                continue
            found += _parameters(file, symbol, node, target)
        for symbol, output in re.findall(r"\b(\w+)\.outputs\.(\w+)", file.text):
            target = targets.get(symbol)
            if target is None or output not in target.declarations("output"):
                found.append(f"{file.path}: {symbol} has no output {output}")
    used = {path for file in infra.bicep.values() for path in _module_paths(file)}
    alone = infra.bicep.keys() - used - {"infra/main.bicep"}
    return found + [f"{path}: no module uses it" for path in sorted(alone)]


def _module_paths(file: Bicep) -> set[str]:
    folder = PurePosixPath(file.path).parent
    return {str(folder / path) for path in re.findall(r"^module \w+ '([^']+)'", file.text, re.M)}


def _parameters(file: Bicep, symbol: str, node: Node, target: Bicep) -> list[str]:
    body = next(one for one in walk(node) if one.type == "object")
    given = members(members(body)["params"]).keys()
    wanted = target.declarations("parameter")
    missing = [
        one for one, declaration in wanted.items() if one not in given and _must(declaration)
    ]
    return [f"{file.path}: {symbol} lacks {one}" for one in missing] + [
        f"{file.path}: {symbol} has no parameter {one}" for one in given if one not in wanted
    ]


def _must(declaration: Node) -> bool:
    return "=" not in [text(child) for child in declaration.children]


def check_files(infra: Infra) -> list[str]:
    """What is loaded is there, and has the members that are asked of it."""
    found = []
    for file in infra.bicep.values():
        folder = PurePosixPath(file.path).parent
        for path in _LOADS.findall(file.text):
            whole = _normal(folder / path)
            if whole not in infra.texts:
                found.append(f"{file.path}: there is no {whole}")
        for symbol, node in file.declarations("variable").items():
            loaded = re.fullmatch(r"var \w+ = loadJsonContent\('([^']+)'\)", text(node))
            if loaded is None:
                continue
            content = json.loads(infra.texts[_normal(folder / loaded[1])])
            asked = set(re.findall(rf"\b{symbol}\.(?!json\b)(\w+)", file.text))
            asked |= set(re.findall(rf"\b{symbol}\['([^']+)'\]", file.text))
            found += [
                f"{file.path}: {symbol} has no {one}" for one in sorted(asked - content.keys())
            ]
    return found


def _normal(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def check_parameters(infra: Infra) -> list[str]:
    """``main.parameters.json`` has each parameter, with the default that Bicep states."""
    declared = infra.bicep["infra/main.bicep"].declarations("parameter")
    given = infra.json("infra/main.parameters.json")["parameters"]
    found = [f"{one}: not in main.parameters.json" for one in declared.keys() - given - _NOT_ASKED]
    found += [f"{one}: not in main.bicep" for one in given.keys() - declared.keys()]
    for parameter in given.keys() & declared.keys():
        match = _VALUE.fullmatch(given[parameter]["value"])
        if match is None:
            found.append(f"{parameter}: its value is no variable of azd")
            continue
        default = match[2] or ""
        stated = text(declared[parameter]).rpartition(" = ")[2].strip("'")
        if _must(declared[parameter]):
            stated = ""
        if default != stated:
            found.append(f"{parameter}: {default!r} there, {stated!r} in main.bicep")
    return found


def azd_variables(infra: Infra) -> dict[str, str]:
    """Variables of the ``azd`` environment that parameters take, and their defaults."""
    return dict(_VALUE.findall(infra.texts["infra/main.parameters.json"]))

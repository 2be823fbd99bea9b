"""The files of the deployment in memory, and the syntax trees of those in Bicep."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pycep
import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).resolve().parents[3]
_FILES = ("azure.yaml", "host.json", ".funcignore", "infra/*.json", "infra/*.bicep")
_PARSER = Parser(Language(tree_sitter_bicep.language()))
_OTHER_PARSER = pycep.BicepParser()


@dataclass(frozen=True)
class Infra:
    """Texts by path, as in the repository.

    Parameters
    ----------
    texts : Mapping[str, str]
        Path from the root, and content.
    """

    texts: Mapping[str, str]

    def changed(self, path: str, old: str, new: str) -> Infra:
        """A copy in which ``old``, which has to be there once, is ``new``."""
        text = self.texts[path]
        if text.count(old) != 1:
            raise ValueError(f"{path} has {text.count(old)} of {old!r}")
        return Infra({**self.texts, path: text.replace(old, new)})

    def json(self, path: str) -> Any:
        """The content of a JSON file."""
        return json.loads(self.texts[path])

    @cached_property
    def bicep(self) -> dict[str, Bicep]:
        """Files in Bicep by path."""
        return {
            path: _bicep(path, text)
            for path, text in sorted(self.texts.items())
            if path.endswith(".bicep")
        }


@dataclass(frozen=True)
class Bicep:
    """One file with its tree."""

    path: str
    text: str
    root: Node

    def declarations(self, kind: str) -> dict[str, Node]:
        """Declarations by name; ``kind`` is parameter, variable, resource, module or output."""
        return {
            name(node): node for node in self.root.children if node.type == f"{kind}_declaration"
        }


@dataclass(frozen=True)
class Resource:
    """One resource: where it is declared, its type without the version, and what it has."""

    file: Bicep
    symbol: str
    type: str
    is_existing: bool
    node: Node

    @property
    def body(self) -> Node:
        """The object with its properties."""
        return next(node for node in walk(self.node) if node.type == "object")

    @property
    def declaration(self) -> str:
        """Its first line, decorators aside."""
        lines = text(self.node).splitlines()
        return next(line for line in lines if line.startswith("resource "))

    def get(self, *path: str) -> str | None:
        """The text of a property, or ``None``."""
        found: Node | None = self.body
        for key in path:
            found = None if found is None else members(found).get(key)
        return None if found is None else text(found)


@cache
def _bicep(path: str, content: str) -> Bicep:
    return Bicep(path, content, _PARSER.parse(content.encode()).root_node)


@cache
def pycep_error(content: str) -> str:
    """What the other parser says of a text; empty if it reads it."""
    try:
        _OTHER_PARSER.parse(text=content)
    except Exception as error:  # it raises whatever its grammar raises
        return str(error).splitlines()[0]
    return ""


@cache
def the_infra() -> Infra:
    """The deployment as it is in this checkout."""
    paths = [*(ROOT / "infra/app").glob("*.bicep")]
    for pattern in _FILES:
        paths += ROOT.glob(pattern)
    return Infra({str(path.relative_to(ROOT)): path.read_text("utf-8") for path in paths})


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it, in the order of the text."""
    yield node
    for child in node.children:
        yield from walk(child)


def text(node: Node) -> str:
    """The text of a node."""
    return (node.text or b"").decode()


def plain(node: Node) -> str:
    """The value of a string without interpolation, or the text of an identifier."""
    return (
        "".join(text(child) for child in node.named_children)
        if node.type == "string"
        else text(node)
    )


def name(declaration: Node) -> str:
    """What a declaration declares."""
    return next(text(child) for child in declaration.children if child.type == "identifier")


def members(node: Node) -> dict[str, Node]:
    """The properties of an object by name."""
    pairs = [child for child in node.named_children if child.type == "object_property"]
    return {plain(pair.named_children[0]): pair.named_children[1] for pair in pairs}


def resources(infra: Infra) -> list[Resource]:
    """All resources, also those that are only referred to."""
    found = []
    for file in infra.bicep.values():
        for symbol, node in file.declarations("resource").items():
            literal = next(child for child in node.children if child.type == "string")
            words = [text(child) for child in node.children if not child.is_named]
            kind = plain(literal).partition("@")[0]
            found.append(Resource(file, symbol, kind, "existing" in words, node))
    return found


def reads(content: str, pattern: str) -> set[str]:
    """All first groups of a pattern in a text."""
    return set(re.findall(pattern, content))

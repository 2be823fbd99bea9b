"""No regular expression of the product can be made slow: what callers send meets them all."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import functions
import shared

_LENGTH = 12_000  # an address has at most 8 KiB, a header 64 KiB; quadratic cost shows far below
_MOST_S = 0.25
_ALPHABET = "a0A .,-_=\"'\\^*?/;:<&\t\r\0é1+"
_RUNS = [character * _LENGTH for character in _ALPHABET]
_PAIRS = [f"{a}{b}" * (_LENGTH // 2) for a in '0a."-, \\;' for b in '0a."-, \\;' if a != b]
_INPUTS = [text + end for text in (*_RUNS, *_PAIRS) for end in ("", "!", "\n")]


def _patterns() -> Iterator[tuple[str, list[Callable[[Any], object]]]]:
    """Each pattern with the ways in which it is used; to be used whole is taken for granted."""
    for package in (shared, functions):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            source = inspect.getsource(module)
            for name, value in vars(module).items():
                pattern = getattr(value, "__self__", value)  # also a bound fullmatch
                if isinstance(pattern, re.Pattern) and name in source:
                    uses = [pattern.fullmatch, pattern.match]
                    if re.search(rf"\b{name}\.(search|sub|finditer|findall|split)\b", source):
                        uses.append(pattern.search)
                    yield f"{found.name}.{name}", uses


_FOUND = dict(_patterns())


def test_they_are_found() -> None:
    assert len(_FOUND) > 40


@pytest.mark.parametrize("name", sorted(_FOUND))
def test_its_cost_is_linear(name: str) -> None:
    for use in _FOUND[name]:
        takes_bytes = isinstance(use.__self__.pattern, bytes)  # type: ignore[attr-defined]
        for text in _INPUTS:
            began = time.process_time()
            use(text.encode("latin-1") if takes_bytes else text)
            took = time.process_time() - began
            assert took < _MOST_S, f"{took:.2f} s for {text[:8]!r}…"

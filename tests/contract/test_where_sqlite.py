"""The SQLite body against the reference in ``tests.support.where_reference``, on chance input."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.sqlite.sql import matches as wildcard_matches
from shared.ports import Create, Documents, JsonObject
from shared.where import (
    And,
    Contains,
    Eq,
    Exists,
    In,
    Like,
    Member,
    Not,
    Or,
    Order,
    Path,
    Prefix,
    Range,
    Where,
)
from tests.support import where_reference

PATHS: list[Path] = [
    ("version",),  # has a column
    ("q", "00100020"),  # has a column
    ("q", "00080061"),  # has a column
    ("q", "00100010", "full"),  # has a column
    ("q", "00400275.00400009"),  # in the terms
    ("q", 'a"b'),  # no path of SQLite's
    ("x", "y"),  # in the body
    ("x", "\\ü\x00"),  # no path of SQLite's
]
_numbers = itertools.count()

texts = st.text(alphabet="ab*?[]%_\\'\"\x00é😀\U0010ffff\ud7ff", max_size=5)
numbers = (
    st.integers(-(2**53), 2**53) | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.25, 1e300])
)
scalars = texts | numbers | st.booleans()
values: st.SearchStrategy[Any] = (
    scalars | st.none() | st.lists(scalars | st.none(), max_size=3) | st.just({"full": "a"})
)
paths = st.sampled_from(PATHS)
simple: st.SearchStrategy[Where] = st.one_of(
    st.builds(Eq, paths, scalars),
    st.builds(Range, paths, st.none() | texts, st.none() | texts),
    st.builds(Range, paths, st.none() | numbers, st.none() | numbers),
    st.builds(Prefix, paths, texts),
    st.builds(Like, paths, texts),
    st.builds(Contains, paths, texts),
    st.builds(In, paths, st.lists(scalars, min_size=1, max_size=4).map(tuple)),
    st.builds(Member, paths, scalars),
    st.builds(Exists, paths),
)
wheres: st.SearchStrategy[Where] = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds(And, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, max_size=3).map(tuple)),
        st.builds(Not, inner),
    ),
    max_leaves=5,
)


@st.composite
def bodies(draw: st.DrawFn) -> list[JsonObject]:
    found = []
    for number in range(draw(st.integers(1, 5))):
        body: JsonObject = {"id": f"d{number}", "n": number}
        for path in draw(st.lists(paths, max_size=5, unique=True)):
            parent = body
            for name in path[:-1]:
                parent = parent.setdefault(name, {})
                if not isinstance(parent, dict):
                    break
            else:
                parent[path[-1]] = draw(values)
        found.append(body)
    return found


async def _store(documents: Documents, found: list[JsonObject]) -> str:
    pk = f"hypothesis|{next(_numbers)}"
    await documents.commit("index", pk, [Create(body | {"pk": pk}) for body in found])
    return pk


_EXAMPLES = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_EXAMPLES
@given(found=bodies(), where=wheres)
async def test_predicates_agree(
    sqlite_documents: Documents, found: list[JsonObject], where: Where
) -> None:
    pk = await _store(sqlite_documents, found)
    got = await sqlite_documents.query("index", where, limit=10, partition=pk, members=["id"])
    expected = [body["id"] for body in found if where_reference.matches(where, body)]
    assert sorted(body["id"] for body in got) == expected


@_EXAMPLES
@given(data=st.data())
async def test_pages_agree(sqlite_documents: Documents, data: st.DataObject) -> None:
    keys: list[Path] = [("version",), ("due",), ("x", "y")]
    kinds = {path: data.draw(st.sampled_from([texts, numbers])) for path in keys}
    found: list[JsonObject] = []
    for number in range(data.draw(st.integers(1, 8))):
        body: JsonObject = {"id": f"d{number}", "x": {}}
        for path in keys:
            if data.draw(st.booleans()):
                parent = body["x"] if len(path) > 1 else body
                parent[path[-1]] = data.draw(kinds[path])
        found.append(body)
    pk = await _store(sqlite_documents, found)
    found = [body | {"pk": pk} for body in found]
    sort = data.draw(st.permutations(keys))[: data.draw(st.integers(0, 3))]
    order = [*(Order(path, data.draw(st.booleans())) for path in sort), Order(("id",))]
    whole = where_reference.page(found, And(()), order, limit=100)
    skip = data.draw(st.integers(0, 3))
    after = None
    if data.draw(st.booleans()):
        last = data.draw(st.sampled_from(whole))
        after = [where_reference.value_at(last, key.path) for key in order]
        if None in after:
            after = None
    where = data.draw(st.sampled_from([And(()), Exists(("version",)), Exists(("due",))]))
    options: dict[str, Any] = {"limit": data.draw(st.integers(1, 9)), "skip": skip, "after": after}
    got = await sqlite_documents.query("index", where, order=order, partition=pk, **options)
    assert got == where_reference.page(found, where, order, **options)


@settings(max_examples=500, deadline=None)
@given(text=st.text("ab\x00\n", max_size=8), pattern=st.text("ab\x00\n*?", max_size=8))
def test_own_wildcard_function_agrees(text: str, pattern: str) -> None:
    body = {"t": text}
    assert wildcard_matches(text, pattern) == where_reference.matches(Like(("t",), pattern), body)


async def test_hard_patterns_take_no_time(sqlite_documents: Documents) -> None:
    body = {"q": {"00100020": "a" * 5_000, "00100010": {"full": "a" * 5_000 + "\x00"}}, "id": "a"}
    pk = await _store(sqlite_documents, [body])
    for path in (("q", "00100020"), ("q", "00100010", "full")):
        where = Like(path, "*a" * 40 + "b")
        assert await sqlite_documents.query("index", where, limit=1, partition=pk) == []


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud800\x00"])
async def test_lone_surrogate_is_kept(sqlite_documents: Documents, text: str) -> None:
    body = {"id": "a", "version": text, "q": {"00100020": text, text: [text]}}
    pk = await _store(sqlite_documents, [body])
    found = await sqlite_documents.get("index", pk, "a")
    assert found is not None
    assert found.body == body | {"pk": pk}
    for where in (Eq(("q", text), text), Not(Member(("q", text), text)), Like(("version",), text)):
        await sqlite_documents.query("index", where, limit=1, partition=pk)

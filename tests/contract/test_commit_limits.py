"""What a caller of ``Documents.commit`` promises: each breach is a ``ValueError`` everywhere."""

from __future__ import annotations

import pytest

from shared.ports import MAX_COMMIT_BYTES, MAX_OPERATIONS, Create, Delete, Patch, Replace, Upsert
from tests.contract.conftest import Space

BREACHES = {
    "no operation": lambda space: [],
    "too many operations": lambda space: [
        Create(space.doc(f"d{number}")) for number in range(MAX_OPERATIONS + 1)
    ],
    "too many changed members": lambda space: [
        Patch(f"d{number}", put={(f"m{member}",): 0 for member in range(11)})
        for number in range(51)
    ],
    "too many bytes": lambda space: [Create(space.doc("a", text="x" * MAX_COMMIT_BYTES))],
    "too many bytes together": lambda space: [
        Create(space.doc(f"d{number}", text="ä" * (MAX_COMMIT_BYTES // 20))) for number in range(10)
    ],
    "another partition": lambda space: [Create(space.doc("a", pk="q"))],
    "no partition key": lambda space: [Create({"id": "a"})],
    "no id": lambda space: [Create({"pk": space.pk()})],
    "empty id": lambda space: [Create(space.doc(""))],
    "long id": lambda space: [Create(space.doc("ä" * 512))],
    "slash in an id": lambda space: [Create(space.doc("a/b"))],
    "id twice": lambda space: [Create(space.doc("a")), Delete("a")],
    "patch and replace": lambda space: [Patch("a", put={("n",): 1}), Replace(space.doc("a"))],
    "replace and patch": lambda space: [Upsert(space.doc("a")), Patch("a", put={("n",): 1})],
    "patch of nothing": lambda space: [Patch("a", when={("n",): 1})],
    "path within a path": lambda space: [Patch("a", put={("q",): {}, ("q", "x"): 1})],
    "not a number": lambda space: [Create(space.doc("a", n=float("nan")))],
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_breach_is_a_value_error(space: Space, breach: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        await space.documents.commit("index", space.pk(), BREACHES[breach](space))
    assert await space.documents.query("index", space.mine, limit=1, partition=space.pk()) == []


async def test_put_below_an_absent_parent_is_a_value_error(space: Space) -> None:
    await space.documents.commit("index", space.pk(), [Create(space.doc("a", n=1))])
    for path in (("absent", "x"), ("n", "x")):
        with pytest.raises(ValueError, match=r"."):
            await space.documents.commit("index", space.pk(), [Patch("a", put={path: 1})])
    found = await space.documents.get("index", space.pk(), "a")
    assert found is not None
    assert found.body == space.doc("a", n=1)


async def test_addition_to_a_text_is_a_value_error(space: Space) -> None:
    await space.documents.commit("index", space.pk(), [Create(space.doc("a", n="1"))])
    with pytest.raises(ValueError, match=r"."):
        await space.documents.commit("index", space.pk(), [Patch("a", add={("n",): 1})])

"""The ``Documents`` port: reading by id, and commits. Queries are in ``test_queries.py``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from shared.adapters.commits import weight
from shared.errors import OperationRefused, Refusal
from shared.ports import (
    MAX_COMMIT_BYTES,
    MAX_OPERATIONS,
    Create,
    Delete,
    Operation,
    Patch,
    Replace,
    Upsert,
)
from tests.contract.conftest import Space

INDEX = "index"


async def _refused(space: Space, *operations: Operation) -> tuple[int, Refusal]:
    with pytest.raises(OperationRefused) as caught:
        await space.documents.commit(INDEX, space.pk(), operations)
    return caught.value.index, caught.value.refusal


async def _commit(space: Space, *operations: Operation) -> None:
    await space.documents.commit(INDEX, space.pk(), operations)


async def _body(space: Space, identifier: str) -> dict:
    found = await space.documents.get(INDEX, space.pk(), identifier)
    assert found is not None
    return found.body


async def _etag(space: Space, identifier: str) -> str:
    found = await space.documents.get(INDEX, space.pk(), identifier)
    assert found is not None
    return found.etag


async def _ids(space: Space) -> list[str]:
    found = await space.documents.query(INDEX, space.mine, limit=200, partition=space.pk())
    return sorted(body["id"] for body in found)


# Reading ------------------------------------------------------------------------------------


async def test_get_of_an_absent_document_is_none(space):
    await _commit(space, Create(space.doc("a")))
    assert await space.documents.get(INDEX, space.pk(), "b") is None


async def test_get_in_a_partition_that_was_never_written_is_none(space):
    assert await space.documents.get(INDEX, space.pk("never"), "a") is None


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**53),
        1.5,
        "",
        "Müller^Jörg=山田^太郎 😀",
        "a\x00b\x1f\u2028'\"\\/",
        {"a.b": [{"c\"d'": [1, None, {}]}], "": 1, "$": "x", "ключ": []},
    ],
)
async def test_what_was_created_is_read_back(space, value):
    await _commit(space, Create(space.doc("a", value=value)))
    assert await _body(space, "a") == space.doc("a", value=value)


async def test_id_may_have_any_character_but_the_four_that_cosmos_forbids(space):
    identifier = "instance|1.2.3|ä'\"%;--[x]"
    await _commit(space, Create(space.doc(identifier)))
    assert await _body(space, identifier) == space.doc(identifier)


async def test_etag_changes_with_each_write(space):
    etags = []
    for operation in (
        Create(space.doc("a", n=1)),
        Patch("a", add={("n",): 1}),
        Replace(space.doc("a", n=1)),
        Replace(space.doc("a", n=1)),
        Upsert(space.doc("a", n=1)),
    ):
        await _commit(space, operation)
        etags.append(await _etag(space, "a"))
    assert len(set(etags)) == len(etags)


async def test_members_of_the_store_are_not_in_the_body(space):
    await _commit(space, Create(space.doc("a")))
    assert not [name for name in await _body(space, "a") if name.startswith("_")]
    (found,) = await space.documents.query(INDEX, space.mine, limit=1, partition=space.pk())
    assert found == space.doc("a")


async def test_document_as_big_as_a_commit_may_be(space):
    text = "ä" * ((MAX_COMMIT_BYTES - 1_000) // 2)
    await _commit(space, Create(space.doc("a", text=text)))
    assert (await _body(space, "a"))["text"] == text


# Each operation ---------------------------------------------------------------------------


async def test_create_of_an_id_that_is_there_is_refused(space):
    await _commit(space, Create(space.doc("a", n=1)))
    assert await _refused(space, Create(space.doc("a", n=2))) == (0, Refusal.EXISTS)
    assert (await _body(space, "a"))["n"] == 1


async def test_same_id_in_another_partition_is_another_document(space):
    await _commit(space, Create(space.doc("a", n=1)))
    other = space.doc("a", pk="q", n=2)
    await space.documents.commit(INDEX, space.pk("q"), [Create(other)])
    assert (await _body(space, "a"))["n"] == 1


async def test_replace(space):
    await _commit(space, Create(space.doc("a", n=1, gone=True)))
    await _commit(space, Replace(space.doc("a", n=2)))
    assert await _body(space, "a") == space.doc("a", n=2)


async def test_replace_of_a_missing_document_is_refused(space):
    await _commit(space, Create(space.doc("a")))
    assert await _refused(space, Replace(space.doc("b"))) == (0, Refusal.MISSING)
    assert await _refused(space, Replace(space.doc("b"), etag='"x"')) == (0, Refusal.MISSING)


async def test_replace_under_an_etag(space):
    await _commit(space, Create(space.doc("a", n=1)))
    etag = await _etag(space, "a")
    await _commit(space, Replace(space.doc("a", n=2), etag=etag))
    assert await _refused(space, Replace(space.doc("a", n=3), etag=etag)) == (0, Refusal.CHANGED)
    assert (await _body(space, "a"))["n"] == 2


async def test_upsert_writes_whether_or_not_it_is_there(space):
    for n in (1, 2):
        await _commit(space, Upsert(space.doc("a", n=n)))
        assert (await _body(space, "a"))["n"] == n


async def test_delete(space):
    await _commit(space, Create(space.doc("a")), Create(space.doc("b")))
    await _commit(space, Delete("a"))
    assert await _ids(space) == ["b"]
    assert await _refused(space, Delete("a")) == (0, Refusal.MISSING)
    etag = await _etag(space, "b")
    await _commit(space, Upsert(space.doc("b", n=1)))
    assert await _refused(space, Delete("b", etag=etag)) == (0, Refusal.CHANGED)
    await _commit(space, Delete("b", etag=await _etag(space, "b")))
    assert await _ids(space) == []


async def test_patch_puts_and_adds(space):
    weird = "a/b~c.d\"e'"
    await _commit(space, Create(space.doc("a", n=1, q={"old": 1, weird: 1}, kept=[1])))
    await _commit(
        space,
        Patch(
            "a",
            put={("q", "old"): None, ("q", "00100020"): "P1", ("new",): {"x": [1]}},
            add={("n",): 41, ("q", weird): -2},
        ),
    )
    assert await _body(space, "a") == space.doc(
        "a", n=42, q={"old": None, "00100020": "P1", weird: -1}, kept=[1], new={"x": [1]}
    )


async def test_patch_of_a_missing_document_is_refused(space):
    await _commit(space, Create(space.doc("a")))
    assert await _refused(space, Patch("b", put={("n",): 1})) == (0, Refusal.MISSING)


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({("n",): 1}, True),
        ({("n",): 2}, False),
        ({("n",): "1"}, False),
        ({("n",): True}, False),
        ({("flag",): True}, True),
        ({("flag",): 1}, False),
        ({("q", "x.y"): 'it\'s "so"'}, True),
        ({("q", "x.y"): "it's"}, False),
        ({("q", "absent"): "x"}, False),
        ({("n",): 1, ("flag",): False}, False),
        ({("n",): 1, ("flag",): True}, True),
    ],
)
async def test_patch_with_a_condition(space, when, holds):
    one = f"only{space.mark}"  # the npm emulator looks for the id in all partitions
    await _commit(space, Create(space.doc(one, n=1, flag=True, q={"x.y": 'it\'s "so"'})))
    patch = Patch(one, put={("done",): True}, when=when)
    if holds:
        await _commit(space, patch)
    else:
        assert await _refused(space, patch) == (0, Refusal.CHANGED)
    assert ("done" in await _body(space, one)) is holds


async def test_patch_condition_compares_text_by_case(space):
    await _commit(space, Create(space.doc("a", termsVersion="Ab")))
    patch = Patch("a", put={("done",): True}, when={("termsVersion",): "ab"})
    assert await _refused(space, patch) == (0, Refusal.CHANGED)
    await _commit(space, Patch("a", put={("done",): True}, when={("termsVersion",): "Ab"}))


async def test_several_patches_of_one_document_apply_in_order(space):
    await _commit(space, Create(space.doc("a", n=1)))
    await _commit(
        space,
        Patch("a", put={("m",): "first"}, add={("n",): 1}),
        Patch("a", put={("m",): "second"}, add={("n",): 1}, when={("n",): 2}),
    )
    assert await _body(space, "a") == space.doc("a", n=3, m="second")


async def test_patch_of_more_than_ten_members(space):
    await _commit(space, Create(space.doc("a", q={}, n=0)))
    put = {("q", f"{number:08}"): number for number in range(25)}
    patch = Patch("a", put=put, add={("n",): 7}, when={("n",): 0})
    assert weight(patch) == 3
    await _commit(space, patch, Create(space.doc("b")))
    body = await _body(space, "a")
    assert body["q"] == {f"{number:08}": number for number in range(25)}
    assert body["n"] == 7


async def test_patch_condition_reads_what_the_patch_writes(space):
    await _commit(space, Create(space.doc("a", n=0, q={})))
    put = {("q", f"{number:08}"): number for number in range(20)}
    await _commit(space, Patch("a", put=put | {("n",): 1}, when={("n",): 0}))
    assert (await _body(space, "a"))["n"] == 1


async def test_refused_patch_of_more_than_ten_members_changes_nothing(space):
    await _commit(space, Create(space.doc("a", n=0, q={})))
    put = {("q", f"{number:08}"): number for number in range(20)}
    patches = [Patch("a", put={("m",): 1}), Patch("a", put=put, when={("n",): 1})]
    assert await _refused(space, *patches) == (1, Refusal.CHANGED)
    assert await _body(space, "a") == space.doc("a", n=0, q={})


# Together ---------------------------------------------------------------------------------


async def test_refused_operation_leaves_nothing_of_its_commit(space):
    await _commit(space, Create(space.doc("a", n=1)), Create(space.doc("gone")))
    before = await _etag(space, "a")
    operations = [
        Create(space.doc("b")),
        Replace(space.doc("a", n=2)),
        Delete("gone"),
        Upsert(space.doc("c")),
        Create(space.doc("a2")),
        Delete("missing"),
    ]
    assert await _refused(space, *operations) == (5, Refusal.MISSING)
    assert await _ids(space) == ["a", "gone"]
    assert await _etag(space, "a") == before


async def test_hundred_operations_with_a_bad_one_at_each_position(space):
    await _commit(space, Create(space.doc("there", n=0)))
    for bad in range(MAX_OPERATIONS):
        operations: list[Operation] = [
            Create(space.doc(f"new{number}")) for number in range(MAX_OPERATIONS)
        ]
        operations[bad] = Create(space.doc("there"))
        assert await _refused(space, *operations) == (bad, Refusal.EXISTS)
    assert await _ids(space) == ["there"]


async def test_hundred_operations_are_one_commit(space):
    await _commit(space, *(Create(space.doc(f"d{number}")) for number in range(MAX_OPERATIONS)))
    assert len(await _ids(space)) == MAX_OPERATIONS


async def test_first_refused_operation_is_named(space):
    await _commit(space, Create(space.doc("a")))
    operations = [Upsert(space.doc("b")), Delete("x"), Create(space.doc("a")), Delete("y")]
    assert await _refused(space, *operations) == (1, Refusal.MISSING)


async def test_patches_and_other_operations_are_one_commit(space):
    await _commit(space, Create(space.doc("study", n=0)), Create(space.doc("old")))
    await _commit(
        space,
        Create(space.doc("instance")),
        Patch("study", add={("n",): 1}),
        Delete("old"),
        Upsert(space.doc("outbox")),
    )
    assert await _ids(space) == ["instance", "outbox", "study"]
    assert (await _body(space, "study"))["n"] == 1


async def test_concurrent_additions_sum_up(space):
    await _commit(space, Create(space.doc("a", n=0)))
    await asyncio.gather(*(_commit(space, Patch("a", add={("n",): 1})) for _ in range(50)))
    assert (await _body(space, "a"))["n"] == 50


async def _race(space: Space, make: Callable[[int], Operation]) -> list[Refusal | None]:
    """What became of twenty commits at once: ``None`` where it was applied."""

    async def run(number: int) -> Refusal | None:
        try:
            await _commit(space, make(number))
        except OperationRefused as refused:
            return refused.refusal
        return None

    return await asyncio.gather(*(run(number) for number in range(20)))


async def test_of_concurrent_creates_one_wins(space):
    outcomes = await _race(space, lambda number: Create(space.doc("a", n=number)))
    assert sorted(outcomes, key=str) == [None] + [Refusal.EXISTS] * 19
    assert (await _body(space, "a"))["n"] == outcomes.index(None)


async def test_of_concurrent_replaces_under_one_etag_one_wins(space):
    await _commit(space, Create(space.doc("a", n=-1)))
    etag = await _etag(space, "a")
    outcomes = await _race(space, lambda number: Replace(space.doc("a", n=number), etag=etag))
    assert sorted(outcomes, key=str) == [None] + [Refusal.CHANGED] * 19
    assert (await _body(space, "a"))["n"] == outcomes.index(None)


async def test_refused_commit_does_not_harm_those_beside_it(space):
    await _commit(space, Create(space.doc("taken")))
    good = [_commit(space, Create(space.doc(f"g{number}"))) for number in range(20)]
    bad = [_commit(space, Create(space.doc("taken"))) for _ in range(20)]
    pairs = zip(good, bad, strict=True)
    outcomes = await asyncio.gather(
        *(commit for pair in pairs for commit in pair), return_exceptions=True
    )
    assert outcomes[0::2] == [None] * 20
    assert all(isinstance(outcome, OperationRefused) for outcome in outcomes[1::2])

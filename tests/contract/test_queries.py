"""``Documents.query``: predicates, order, pages, on every body of the port."""

from __future__ import annotations

import pytest

from shared.ports import MAX_OPERATIONS, Create
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
    Prefix,
    Range,
    Where,
)
from tests.contract.conftest import Space
from tests.support import where_reference

INDEX = "index"
NAME = ("q", "00100010", "full")
PRIVATE = ("q", "00400275.00400009")
WEIRD = ("odd", 'a"b\\c.d[0]$ü\n')
NEWEST = [Order(("version",), descending=True), Order(("id",))]

MEMBERS = {
    "a": {
        "q": {
            "00100010": {"full": "smith^john", "words": " smith john"},
            "00100020": "100%_[x]\\",
            "00080020": "2024-01-31",
            "00080061": ["CT", "MR"],
            "00400275.00400009": "a",
        },
        "n": 1,
        "odd": {'a"b\\c.d[0]$ü\n': "x"},
    },
    "b": {
        "q": {
            "00100010": {"full": "smythe^jane", "words": " smythe jane"},
            "00100020": "1",
            "00080020": "2024-02-01",
            "00080061": ["MR", 1, True],
            "00400275.00400009": "b",
        },
        "n": 2.5,
        "flag": True,
    },
    "c": {
        "q": {
            "00100010": {"full": "müller^jörg=山田^太郎", "words": " müller jörg 山田 太郎"},
            "00100020": 1,
            "00080020": "2023-12-31",
            "00080061": "CT",
            "00400275.00400009": None,
        },
        "n": "1",
        "flag": False,
        "odd": {'a"b\\c.d[0]$ü\n': 1},
    },
    "d": {"q": {"00100020": "a\x00b"}, "n": True, "flag": 1, "odd": {'a"b\\c.d[0]$ü\n': ["x"]}},
    "e": {"n": None, "odd": "x"},
    "f": {},
}

EXAMPLES: dict[str, Where] = {
    "text": Eq(NAME, "smith^john"),
    "text is case-sensitive": Eq(NAME, "Smith^John"),
    "no conversion of text": Eq(("n",), "1"),
    "number": Eq(("n",), 1),
    "whole number as float": Eq(("n",), 1.0),
    "fraction": Eq(("n",), 2.5),
    "true is not one": Eq(("n",), True),
    "one is not true": Eq(("flag",), 1),
    "false": Eq(("flag",), False),
    "object is no text": Eq(("q", "00100010"), '{"full":"smith^john","words":" smith john"}'),
    "special characters": Eq(("q", "00100020"), "100%_[x]\\"),
    "NUL": Eq(("q", "00100020"), "a\x00b"),
    "before NUL": Eq(("q", "00100020"), "a"),
    "injection": Eq(("q", "00100020"), "' OR 1=1 --"),
    "name with a dot": Eq(PRIVATE, "a"),
    "name with quotes": Eq(WEIRD, "x"),
    "number at a name with quotes": Eq(WEIRD, 1),
    "element at a name with quotes": Member(WEIRD, "x"),
    "path through a text": Eq(("odd", "x"), "x"),
    "range": Range(("q", "00080020"), "2024-01-01", "2024-01-31"),
    "range open above": Range(("q", "00080020"), "2024-01-31"),
    "range open below": Range(("q", "00080020"), None, "2024-01-30"),
    "range of text leaves numbers out": Range(("n",), "0"),
    "range of numbers leaves text and true out": Range(("n",), 1),
    "range of numbers up to": Range(("n",), None, 2),
    "range without ends": Range(("n",)),
    "range by code point": Range(NAME, "s", "t"),
    "prefix": Prefix(NAME, "sm"),
    "empty prefix is any text": Prefix(("n",), ""),
    "prefix of a special character": Prefix(("q", "00100020"), "100%_["),
    "prefix with an accent": Prefix(NAME, "mü"),
    "wildcard behind": Like(NAME, "smi*"),
    "wildcard before": Like(NAME, "*john"),
    "wildcard on both sides": Like(NAME, "*ü*"),
    "wildcard alone": Like(NAME, "*"),
    "no wildcard": Like(NAME, "smith^john"),
    "wildcard and special characters": Like(("q", "00100020"), "*%_[x]\\"),
    "contains": Contains(NAME, "^j"),
    "contains a word": Contains(("q", "00100010", "words"), " 太郎"),
    "contains in a number": Contains(("q", "00100020"), "1"),
    "contains NUL": Contains(("q", "00100020"), "\x00"),
    "in": In(NAME, ("smith^john", "smythe^jane", "nobody")),
    "in is strict": In(("n",), (1, "x")),
    "in with true": In(("n",), (True, "1")),
    "member": Member(("q", "00080061"), "MR"),
    "member is no substring": Member(("q", "00080061"), "M"),
    "member of a text": Member(("q", "00080061"), "CTX"),
    "member one": Member(("q", "00080061"), 1),
    "member true": Member(("q", "00080061"), True),
    "exists": Exists(("n",)),
    "exists, an object": Exists(("q", "00100010")),
    "exists, an array": Exists(("q", "00080061")),
    "exists, rare path": Exists(PRIVATE),
    "exists, strange name": Exists(WEIRD),
    "and": And((Prefix(NAME, "s"), Range(("q", "00080020"), "2024-02-01"))),
    "and of nothing": And(()),
    "or": Or((Eq(("flag",), True), Eq(PRIVATE, "a"))),
    "or of nothing": Or(()),
    "not": Not(Eq(("n",), 1)),
    "not of a rare path": Not(Eq(PRIVATE, "a")),
    "not of a range": Not(Range(("q", "00080020"), "2024-01-01", "2024-12-31")),
    "not of a prefix": Not(Prefix(NAME, "s")),
    "not of an element": Not(Member(("q", "00080061"), "MR")),
    "not exists": Not(Exists(("n",))),
    "not not": Not(Not(Eq(("n",), 1))),
    "not and": Not(And((Eq(("n",), 1), Prefix(NAME, "s")))),
    "not or": Not(Or((Eq(("n",), 1), Eq(("flag",), True)))),
    "not of everything": Not(And(())),
}


async def _store(space: Space, members: dict[str, dict]) -> list[dict]:
    bodies = [space.doc(identifier, **rest) for identifier, rest in members.items()]
    for at in range(0, len(bodies), MAX_OPERATIONS):
        creates = [Create(body) for body in bodies[at : at + MAX_OPERATIONS]]
        await space.documents.commit(INDEX, space.pk(), creates)
    return bodies


async def _ids(space: Space, where: Where) -> list[str]:
    both = And((space.mine, where))
    found = await space.documents.query(INDEX, both, order=[Order(("id",))], limit=100)
    return [body["id"] for body in found]


@pytest.mark.parametrize("example", EXAMPLES)
async def test_predicate(space, example):
    bodies = await _store(space, MEMBERS)
    expected = [body["id"] for body in bodies if where_reference.matches(EXAMPLES[example], body)]
    assert await _ids(space, EXAMPLES[example]) == expected


@pytest.mark.parametrize("pattern", ["s?ith^john", "s*h^j*n", "*m?t*", "?*%_[?]\\", "s??????^*"])
async def test_wildcard_inside_a_pattern(space, pattern):
    bodies = await _store(space, MEMBERS)
    for path in (NAME, ("q", "00100020")):
        where = Like(path, pattern)
        expected = [body["id"] for body in bodies if where_reference.matches(where, body)]
        assert await _ids(space, where) == expected


async def test_negated_wildcard(space):
    await _store(space, MEMBERS)
    assert await _ids(space, Not(Like(NAME, "s?i*"))) == ["b", "c", "d", "e", "f"]


async def test_wildcard_for_one_character_takes_one_code_point(space):
    await _store(space, {"a": {"q": {"x": "😀"}}, "b": {"q": {"x": "ab"}}})
    if space.body == "sqlite":
        assert await _ids(space, Like(("q", "x"), "?")) == ["a"]


async def test_path_does_not_lead_into_an_array(space):
    await _store(space, MEMBERS)
    assert await _ids(space, Eq(("q", "00080061", "0"), "CT")) == []


async def test_list_of_a_thousand_values(space):
    await _store(space, {f"d{number}": {"q": {"0020000D": f"1.{number}"}} for number in range(5)})
    uids = tuple(f"1.{number}" for number in range(3, 1_003))
    assert await _ids(space, In(("q", "0020000D"), uids)) == ["d3", "d4"]


# Order and pages --------------------------------------------------------------------------


def _versions(count: int) -> dict[str, dict]:
    return {f"d{number:04}": {"version": f"{number % 7:019}"} for number in range(count)}


async def _pages(space: Space, order: list[Order], limit: int, **more: object) -> list[dict]:
    found: list[dict] = []
    after = None
    while True:
        page = await space.documents.query(
            INDEX, space.mine, order=order, limit=limit, after=after, **more
        )
        found += page
        if len(page) < limit:
            return found
        after = [where_reference.value_at(page[-1], key.path) for key in order]


async def test_order_by_two_keys(space):
    bodies = await _store(space, _versions(30))
    found = await space.documents.query(INDEX, space.mine, order=NEWEST, limit=100)
    assert found == where_reference.page(bodies, space.mine, NEWEST, limit=100)


@pytest.mark.parametrize("limit", [1, 7, 29, 30, 31])
async def test_pages_give_each_document_once_and_in_order(space, limit):
    bodies = await _store(space, _versions(30))
    expected = where_reference.page(bodies, space.mine, NEWEST, limit=100)
    assert await _pages(space, NEWEST, limit) == expected
    assert await _pages(space, NEWEST, limit, partition=space.pk()) == expected


@pytest.mark.parametrize("descending", [False, True])
async def test_documents_that_lack_the_sort_key_come_last(space, descending):
    members = {"a": {"due": 2}, "b": {}, "c": {"due": 1}, "d": {}, "e": {"due": 3}}
    await _store(space, members)
    order = [Order(("due",), descending=descending)]
    found = await space.documents.query(INDEX, space.mine, order=order, limit=10)
    ids = [body["id"] for body in found]
    assert ids[:3] == (["e", "a", "c"] if descending else ["c", "a", "e"])
    assert sorted(ids[3:]) == ["b", "d"]
    first = await space.documents.query(INDEX, space.mine, order=order, limit=4)
    assert first == found[:4]
    rest = await space.documents.query(INDEX, space.mine, order=order, limit=10, after=[2])
    assert sorted(body["id"] for body in rest) == sorted(["b", "c" if descending else "e", "d"])


async def test_page_ends_at_the_limit(space):
    await _store(space, _versions(5))
    assert len(await space.documents.query(INDEX, space.mine, limit=3)) == 3


async def test_skip_leaves_out_documents_at_the_beginning(space):
    bodies = await _store(space, _versions(30))
    for skip in (1, 10, 29, 30, 100):
        found = await space.documents.query(
            INDEX, space.mine, order=NEWEST, limit=10, skip=skip, partition=space.pk()
        )
        assert found == where_reference.page(bodies, space.mine, NEWEST, limit=10, skip=skip)


async def test_skip_reaches_into_the_documents_that_lack_the_sort_key(space):
    await _store(space, {"a": {"due": 2}, "b": {}, "c": {"due": 1}, "d": {}})
    order = [Order(("due",))]
    all_of_them = await space.documents.query(INDEX, space.mine, order=order, limit=10)
    for skip in range(5):
        page = await space.documents.query(INDEX, space.mine, order=order, limit=10, skip=skip)
        assert page == all_of_them[skip:]


async def test_partition_narrows_the_search(space):
    await _store(space, {"a": {}})
    other = space.doc("a", pk="q")
    await space.documents.commit(INDEX, space.pk("q"), [Create(other)])
    assert await space.documents.query(INDEX, space.mine, limit=9, partition=space.pk("q")) == [
        other
    ]
    assert len(await space.documents.query(INDEX, space.mine, limit=9)) == 2


async def test_members_are_those_asked_for(space):
    await _store(
        space,
        {
            "a": {
                "d": {"x": "a\x00ü"},
                "n": 1.5,
                "none": None,
                "t": "a\x00b",
                "l": [1, "x"],
                "o": {},
            }
        },
    )
    for members in (["d"], ["id", "d", "absent"], ["none", "t", "l"], ["o", "n"], []):
        (found,) = await space.documents.query(INDEX, space.mine, limit=1, members=members)
        (whole,) = await space.documents.query(INDEX, space.mine, limit=1)
        assert found == {name: whole[name] for name in members if name in whole}


async def test_thousand_documents_in_one_page(space):
    bodies = await _store(space, _versions(1_000))
    found = await space.documents.query(INDEX, space.mine, order=NEWEST, limit=1_000)
    assert found == where_reference.page(bodies, space.mine, NEWEST, limit=1_000)


@pytest.mark.parametrize("container", ["changes", "worklist", "control"])
async def test_other_containers_have_their_own_partition_key(space, container):
    key = {"changes": "bucket", "worklist": "pk", "control": "kind"}[container]
    body = {"id": "a", key: space.mark, "type": "entry", "sequence": 1}
    await space.documents.commit(container, space.mark, [Create(body)])
    found = await space.documents.query(
        container, Eq((key,), space.mark), order=[Order((key,))], limit=5
    )
    assert found == [body]
    assert (await space.documents.get(container, space.mark, "a")).body == body


async def test_count_is_of_all_that_match(space):
    await _store(space, {f"d{number}": {"n": number % 2} for number in range(5)})
    where = And((space.mine, Eq(("n",), 1)))
    assert await space.documents.count(INDEX, where) == 2
    assert await space.documents.count(INDEX, space.mine, partition=space.pk()) == 5
    assert await space.documents.count(INDEX, where, partition=space.pk("other")) == 0

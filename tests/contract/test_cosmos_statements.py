"""What is sent to Cosmos DB, pinned in ``golden/`` for reviewers. ``UPDATE_GOLDEN=1`` rewrites."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from shared.adapters.azure.cosmos import batch_operations
from shared.adapters.azure.cosmos_sql import (
    PageRequest,
    Query,
    count_query,
    indexing_policy,
    lacking_query,
    member_path,
    page_query,
    patch_condition,
    patch_pointer,
)
from shared.adapters.commits import weight
from shared.adapters.sqlite.layout import TABLES, create_table
from shared.index.schema import CONTAINERS, INDEX
from shared.ports import Create, Delete, Operation, Patch, Replace, Upsert
from shared.search.matching import conditions
from shared.web.query import STUDIES as STUDIES_SCOPE
from shared.web.query import parse_search_query
from shared.where import And, Contains, Eq, Like, Member, Not, Order, Range
from tests.contract.conftest import NPM_EMULATOR_LACKS
from tests.contract.test_queries import EXAMPLES

GOLDEN = Path(__file__).parent / "golden"
NEWEST = (Order(("version",), descending=True), Order(("id",)))
STUDIES = And((Eq(("type",), "study"), Eq(("partition",), "microsoft.default")))


def _pinned(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def _sql(title: str, query: Query) -> str:
    parameters = "".join(
        f"-- {one['name']} = {json.dumps(one['value'], ensure_ascii=False)}\n"
        for one in query.parameters
    )
    return f"-- {title}\n{parameters}{query.text}\n\n"


WILDCARDS = {
    "wildcard for one character": Like(("q", "00100020"), "A?C"),
    "wildcards and special characters": Like(("q", "00100020"), "5%_[a-z]^\\!*?"),
    "negated wildcard": Not(Like(("q", "00100020"), "a*b")),
}


def test_predicates():
    text = ""
    for title, where in (EXAMPLES | WILDCARDS).items():
        text += _sql(title, page_query(PageRequest(INDEX, where), limit=10))
    _pinned("cosmos_predicates.sql", text)


SEARCH = And(
    (
        STUDIES,
        Range(("q", "00080020"), "2024-01-01", "2024-12-31"),
        Contains(("q", "00100010", "words"), " smith"),
        Member(("q", "00080061"), "CT"),
    )
)
PAGES: dict[str, tuple[PageRequest, int, int]] = {
    "search, first page": (PageRequest(INDEX, SEARCH, NEWEST, members=("d",)), 101, 0),
    "search, next page": (
        PageRequest(INDEX, SEARCH, NEWEST, after=("0900", "study|1.2"), members=("d",)),
        101,
        0,
    ),
    "search, offset": (PageRequest(INDEX, SEARCH, NEWEST, members=("d",)), 101, 200),
    "instances of a study": (
        PageRequest(INDEX, Eq(("type",), "instance"), NEWEST, partition="p|1.2"),
        1_000,
        0,
    ),
    "outbox": (PageRequest(INDEX, Eq(("type",), "outbox"), (Order(("version",)),)), 100, 0),
    "feed": (
        PageRequest(
            CONTAINERS["changes"], Range(("sequence",), 5), (Order(("sequence",)),), partition="0"
        ),
        100,
        0,
    ),
    "newest partition": (
        PageRequest(
            CONTAINERS["control"],
            Eq(("kind",), "partition"),
            (Order(("key",), descending=True),),
            partition="partition",
            members=("key",),
        ),
        1,
        0,
    ),
}


def test_pages():
    text = ""
    for title, (request, limit, skip) in PAGES.items():
        text += _sql(title, page_query(request, limit, skip))
        lacking = lacking_query(request, limit)
        if lacking is not None:
            text += _sql(f"{title}: those that lack the sort key", lacking)
            text += _sql(f"{title}: how many have it", count_query(request))
    _pinned("cosmos_pages.sql", text)


SEARCHES = [
    "StudyDate=20240101-20241231",
    "StudyDate=20240101-20240103&StudyTime=2200-0600&combineddatetime=true",
    "StudyTime=10",
    "PatientID=P1&ModalitiesInStudy=CT",
    "PatientID=P*1?&AccessionNumber=*",
    "PatientID=a%5Cb&multiplevaluematching=true",
    'PatientID=""&emptyvaluematching=true',
    "PatientName=doe^john",
    "PatientName=doe*",
    "PatientName=doe%20jo&fuzzymatching=true",
    "StudyInstanceUID=1.2,1.3",
]


def test_searches():
    """Each search is one statement over documents of one type."""
    text = ""
    for asked in SEARCHES:
        query = parse_search_query(parse_qsl(asked), STUDIES_SCOPE, most=200)
        where = And((*STUDIES.terms, *conditions(query)))
        request = PageRequest(INDEX, where, NEWEST, members=("d",))
        assert lacking_query(request, 101) is None
        text += _sql(asked, page_query(request, 101))
        text += _sql("counted", count_query(PageRequest(INDEX, where)))
    _pinned("cosmos_searches.sql", text)


OPERATIONS: dict[str, Operation] = {
    "create": Create({"id": "a", "pk": "p", "_etag": "the store's"}),
    "replace": Replace({"id": "a", "pk": "p"}),
    "replace under an etag": Replace({"id": "a", "pk": "p"}, etag='"1"'),
    "upsert": Upsert({"id": "a", "pk": "p"}),
    "delete": Delete("a"),
    "delete under an etag": Delete("a", etag='"1"'),
    "patch": Patch(
        "study|1.2",
        put={("q", "00100020"): "P1", ("d", "a/b~c"): {"vr": "LO"}},
        add={("instanceCount",): 2},
        when={("termsVersion",): 3, ("q", "x.y"): 'it\'s "so"', ("flag",): True},
    ),
    "patch of twelve members": Patch(
        "a", put={(f"m{number}",): number for number in range(12)}, when={("n",): 1}
    ),
}


def test_commits():
    sent = {title: batch_operations(operation) for title, operation in OPERATIONS.items()}
    _pinned("cosmos_commits.json", json.dumps(sent, indent=1, ensure_ascii=False) + "\n")


def test_indexing_policies():
    policies = {name: indexing_policy(schema) for name, schema in CONTAINERS.items()}
    _pinned("cosmos_indexing.json", json.dumps(policies, indent=1) + "\n")


def test_sqlite_layout():
    text = "".join(
        f"{statement};\n" for table in TABLES.values() for statement in create_table(table)
    )
    _pinned("sqlite_layout.sql", text)


@pytest.mark.parametrize("count", [1, 10, 11, 20, 21])
def test_weight_of_a_patch_is_how_many_parts_it_has(count):
    patch = Patch("a", put={(f"m{number}",): 0 for number in range(count)})
    assert len(batch_operations(patch)) == weight(patch)


def test_values_are_never_in_the_text():
    evil = "'\"] OR 1=1 --"
    query = page_query(PageRequest(INDEX, Eq(("q", "x"), evil), partition=evil), limit=1)
    assert evil not in query.text
    assert [one["value"] for one in query.parameters] == [evil, evil]


def test_names_and_literals_are_quoted():
    assert member_path(('a"]b', "c\\")) == 'c["a\\"]b"]["c\\\\"]'
    assert patch_condition({('a"b',): 'x" OR true'}) == 'from c where c["a\\"b"] = "x\\" OR true"'
    assert patch_condition({}) is None
    assert patch_pointer(("a/b", "~c")) == "/a~1b/~0c"


def test_as_many_values_as_sort_keys():
    with pytest.raises(ValueError, match="as many"):
        page_query(PageRequest(INDEX, And(()), NEWEST, after=("1",)), limit=1)


def test_list_of_what_the_emulator_lacks_names_tests_that_are_there():
    here = Path(__file__).parent
    text = "".join(file.read_text(encoding="utf-8") for file in here.glob("test_*.py"))
    assert [name for name in NPM_EMULATOR_LACKS if f"def {name}(" not in text] == []


def test_bodies_that_need_docker_can_be_imported():
    pytest.importorskip("testcontainers.community.cosmosdb")
    pytest.importorskip("testcontainers.community.azurite")

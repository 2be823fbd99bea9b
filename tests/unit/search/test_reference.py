"""Any archive, any query: the index answers as a plain look at all instances does."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.sqlite.documents import SqliteDocuments
from shared.dicom import attributes as dicom
from shared.web import query as scopes
from tests.support import search_reference as reference
from tests.support.search import SCOPES, Archive, instance, values

_NAMES = ["Müller^Jörg", "Muller^Anna", "Wang^Xiao=王^小", "ANNA", "Anna^Lee^^"]
_VALUES: dict[str, st.SearchStrategy[str]] = {
    "StudyDate": st.sampled_from(["", "20240101", "20240102", "20240105"]),
    "StudyTime": st.sampled_from(["", "10", "1030", "103015", "235959"]),
    "AccessionNumber": st.sampled_from(["", "A1", "a1", "A2", "B[1]", "A%_"]),
    "PatientID": st.sampled_from(["", "P1", "p10", "Q"]),
    "PatientName": st.sampled_from(["", *_NAMES]),
    "Modality": st.sampled_from(["", "CT", "MR", "SEG"]),
    "SeriesNumber": st.sampled_from(["", "1", "2", "10"]),
    "InstanceNumber": st.sampled_from(["", "1", "2", "10"]),
}
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_INSTANCES = st.lists(
    st.fixed_dictionaries(
        {
            "StudyInstanceUID": st.sampled_from(["1.1", "1.2", "1.3"]),
            "SeriesInstanceUID": st.sampled_from(["2.1", "2.2"]),
            "SOPInstanceUID": st.sampled_from(["3.1", "3.2", "3.3"]),
            **_VALUES,
        }
    ),
    min_size=1,
    max_size=10,
    unique_by=lambda each: tuple(each[uid] for uid in _UIDS),
)
_ASKED: dict[str, st.SearchStrategy[str]] = {
    "StudyInstanceUID": st.sampled_from(["1.1", "1.1,1.3", "9", ""]),
    "SeriesInstanceUID": st.sampled_from(["2.1", "2.1,2.2"]),
    "SOPInstanceUID": st.sampled_from(["3.1", "3.2,3.3"]),
    "StudyDate": st.sampled_from(["20240101", "20240102-", "-20240102", "20240102-20240104", ""]),
    "StudyTime": st.sampled_from(["10", "1030", "09-1030", "-10", "103015-"]),
    "AccessionNumber": st.sampled_from(["a1", "A*", "?2", "*[1]", "a%_", "*", "A"]),
    "PatientID": st.sampled_from(["P1", "p*", "*1*", "q", "?"]),
    "PatientName": st.sampled_from(
        [*_NAMES, "muller^jorg", "mu*", "*a", "anna", "anna le", "wang", "王*", "小", "王^小", "*"]
    ),
    "ModalitiesInStudy": st.sampled_from(["CT", "mr", "C", ""]),
    "Modality": st.sampled_from(["ct", "S*", "M?", "CT"]),
    "SeriesNumber": st.sampled_from(["1", "+1", "10", "01"]),
    "InstanceNumber": st.sampled_from(["1", "2", "3"]),
}
_QUERIES = st.tuples(
    st.sampled_from(["studies", "series", "instances"]),
    st.lists(st.sampled_from(list(_ASKED)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: _ASKED[name] for name in names})
    ),
    st.booleans(),
)
_LEVELS = {"studies": "study", "series": "series", "instances": "instance"}


def _allowed(keyword: str, scope: scopes.Scope) -> bool:
    levels = {key.keyword: key.level for key in dicom.SEARCH_KEYS.values()}
    return levels[keyword] in scope.levels


async def _agree(
    stored: list[dict[str, str]], queries: list[tuple[str, dict[str, str], bool]], path: Path
) -> None:
    documents = SqliteDocuments(path / "index.sqlite")
    try:
        archive = Archive(documents)
        for each in stored:
            uids = [each[uid] for uid in _UIDS]
            rest = {name: value or None for name, value in each.items() if name in _VALUES}
            await archive.store(instance(*uids, **rest))
        for resource, asked, fuzzy in queries:
            level = _LEVELS[resource]
            keys = {
                name: value for name, value in asked.items() if _allowed(name, SCOPES[resource,])
            }
            wanted = [
                entity.uid
                for entity in reference.entities(stored, level)
                if all(reference.matches(entity, *key, fuzzy=fuzzy) for key in keys.items())
            ]
            assert await _found(archive, resource, keys, fuzzy=fuzzy) == wanted, (
                keys,
                fuzzy,
            )
    finally:
        await documents.close()


async def _found(
    archive: Archive, resource: str, keys: dict[str, str], *, fuzzy: bool
) -> list[str]:
    """All results, two to a page, by the links."""
    parameters = [*keys.items(), ("fuzzymatching", str(fuzzy)), ("limit", "2")]
    address: str | None = f"/{resource}?{urlencode(parameters)}"
    uid = _UIDS[list(_LEVELS).index(resource)]
    found: list[str] = []
    while address is not None:
        response = await archive.get(address)
        assert response.status_code in (200, 204), response.body
        if response.status_code == 200:
            found += values(json.loads(bytes(response.body)), uid)
        link = response.headers.get("link")
        address = link and link[1:].partition(">")[0]
    return found


@given(stored=_INSTANCES, queries=st.lists(_QUERIES, min_size=4, max_size=8))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_index_agrees_with_the_reference(
    stored: list[dict[str, str]], queries: list[tuple[str, dict[str, str], bool]]
) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_agree(stored, queries, Path(folder)))


# Anything at all --------------------------------------------------------------------------

_PATHS = (
    "/studies", "/series", "/instances", "/studies/1/series", "/studies/1/instances",
    "/studies/1/series/2/instances", "/studies/x/series",
)  # fmt: skip
_PARAMETERS = st.sampled_from(
    [
        *(key.keyword for key in dicom.SEARCH_KEYS.values()),
        "00100010", "00400275.00400009", "0020000D", "12050010", "ImageType", "a.b", ".", "limit",
        "offset", "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching",
        "combineddatetime", "continuation", "q", "",
    ]
)  # fmt: skip
_TEXTS = (
    st.text(max_size=30)
    | st.text(alphabet='*?-\\,=^"%_[]0123456789.', max_size=30)
    | st.sampled_from(["true", "false", "all", "1", '""', "20240101-", "10-", "PatientSex,all"])
)


async def _answers(queries: list[tuple[str, list[tuple[str, str]]]], path: Path) -> list[Any]:
    documents = SqliteDocuments(path / "index.sqlite")
    try:
        archive = Archive(documents)
        await archive.store(
            instance("1", "2", "3", PatientName="A^B=王", StudyDate="20240101", StudyTime="10")
        )
        return [
            (await archive.get(f"{where}?{urlencode(items, errors='replace')}")).status_code
            for where, items in queries
        ]
    finally:
        await documents.close()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(_PATHS),
            st.lists(st.tuples(_PARAMETERS | st.text(max_size=8), _TEXTS), max_size=4),
        ),
        min_size=10,
        max_size=20,
    )
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_query_string_is_answered(queries: list[tuple[str, list[tuple[str, str]]]]) -> None:
    with TemporaryDirectory() as folder:
        assert set(asyncio.run(_answers(queries, Path(folder)))) <= {200, 204, 400}


@given(st.binary(max_size=40))
@settings(max_examples=25, deadline=None)
def test_any_bytes_behind_the_question_mark_are_answered(raw: bytes) -> None:
    text = raw.decode("latin-1").replace("#", "")

    async def answer(path: Path) -> int:
        documents = SqliteDocuments(path / "index.sqlite")
        try:
            return (await Archive(documents).get(f"/studies?{text}")).status_code
        finally:
            await documents.close()

    with TemporaryDirectory() as folder:
        assert asyncio.run(answer(Path(folder))) in (200, 204, 400)

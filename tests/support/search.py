"""A search archive without a server: real index, real service, real responses of the trigger."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from functions import search as trigger
from functions._http import Call, respond
from shared.adapters.sqlite.documents import SqliteDocuments
from shared.adapters.system import RandomIds, SystemClock
from shared.config import Limits
from shared.container import TenantServices
from shared.dicom import attributes as dicom
from shared.dicom.instance import MetadataChunk
from shared.dicom.tags import key as tag_key
from shared.dicom.tags import tag_of
from shared.index.commit import Committer, Outcome
from shared.index.documents import NewInstance
from shared.index.metadata import deflate_chunk, place_inline
from shared.index.partitions import DEFAULT
from shared.index.shapes import InstanceKey
from shared.search.service import SearchService
from shared.tags.registry import TagRegistry
from shared.web import query as scopes
from shared.web.query import Scope, parse_search_query
from tests.support.fakes import MemoryBlobs

BASE = "https://dicom.example/main/v2"
PARTITION = "Microsoft.Default"
SCOPES: dict[tuple[str, ...], Scope] = {
    ("studies",): scopes.STUDIES,
    ("series",): scopes.SERIES,
    ("instances",): scopes.INSTANCES,
    ("studies", "series"): scopes.SERIES_OF_STUDY,
    ("studies", "instances"): scopes.INSTANCES_OF_STUDY,
    ("studies", "series", "instances"): scopes.INSTANCES_OF_SERIES,
}
_INDEXED = frozenset(map(tag_key, dicom.INDEXED_ATTRIBUTES))
_ids = RandomIds()


def element(keyword: str, value: Any) -> tuple[str, dict[str, Any]]:
    """An element of the DICOM JSON model, by keyword; a list is of several values."""
    tag = tag_of(keyword)
    assert tag is not None
    vr = dicom.vr_of(tag) or "UN"
    if value is None:
        return tag_key(tag), {"vr": vr}
    if vr == "PN" and isinstance(value, str):
        groups = ("Alphabetic", "Ideographic", "Phonetic")
        value = {name: text for name, text in zip(groups, value.split("="), strict=False) if text}
    if vr == "SQ":
        value = dict(element(*item) for item in value.items())
    return tag_key(tag), {"vr": vr, "Value": value if isinstance(value, list) else [value]}


def instance(study: str, series: str, uid: str, **attributes: Any) -> NewInstance:
    """An instance as a store adds it: indexed attributes, and all of them as metadata."""
    values = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": series,
        "SOPInstanceUID": uid,
        "PatientID": "P",
        **attributes,
    }
    elements = dict(element(keyword, value) for keyword, value in values.items())
    text = json.dumps(elements, ensure_ascii=False, separators=(",", ":")).encode()
    chunk = MetadataChunk(deflate_chunk(text), len(text), zlib.crc32(text))
    return NewInstance(
        InstanceKey(PARTITION, study, series, uid),
        _ids.version(),
        {tag: value for tag, value in elements.items() if tag in _INDEXED},
        {"blob": "x", "metadata": place_inline(chunk, BASE).to_json()},
    )


class Archive:
    """An index that is filled and searched."""

    def __init__(self, documents: SqliteDocuments) -> None:
        self.documents = documents
        self.committer = Committer(documents, _ids, SystemClock())
        self.blobs = MemoryBlobs()
        self.search = SearchService(documents, self.blobs)

    async def store(self, *instances: NewInstance) -> None:
        """Add instances, all of them new."""
        outcomes = await self.committer.add(instances)
        assert outcomes == [Outcome.STORED] * len(instances)

    async def find(
        self, query: str = "", scope: Scope = scopes.STUDIES, major: int = 2, **path: str
    ) -> list[dict[str, Any]]:
        """The rows of a search; values of ``query`` are not percent-encoded."""
        items = [
            (name, value) for name, _, value in (part.partition("=") for part in query.split("&"))
        ]
        page = await self.search.search(
            parse_search_query(items, scope, most=200),
            scope,
            partition=PARTITION.lower(),
            major=major,
            base_url=BASE,
            **path,  # type: ignore[arg-type] # study, series
        )
        return page.rows

    async def studies(self, query: str) -> list[str]:
        """The UIDs of the studies found, in their order."""
        return [row["0020000D"]["Value"][0] for row in await self.find(query)]

    async def get(self, address: str, *, major: int = 2, prefer: str | None = None) -> Response:
        """The response to a GET of an address below, or that begins with, ``BASE``."""
        parts = urlsplit(address.removeprefix(BASE))
        names = parts.path.strip("/").split("/")
        uids = dict(zip(("study", "series"), names[1::2], strict=False))
        headers = [(b"prefer", prefer.encode())] if prefer is not None else []
        request = Request(
            {
                "type": "http",
                "method": "GET",
                "scheme": "http",
                "server": ("internal", 80),
                "path": parts.path,
                "query_string": parts.query.encode(),
                "headers": headers,
                "path_params": uids,
            }
        )
        call = Call(
            tenant=cast(
                "TenantServices",
                SimpleNamespace(
                    search=self.search,
                    tags=SimpleNamespace(registry=TagRegistry(self.documents)),
                ),
            ),
            version=str(major),
            major=major,
            partition=DEFAULT,
            base_url=BASE,
            resources_url=BASE,
            limits=Limits(),
        )
        scope = SCOPES[tuple(names[::2])] if len(names) > 1 else SCOPES[names[0],]
        return await respond("search", request, lambda: trigger._search(request, call, scope))


def rows(response: Response) -> list[dict[str, Any]]:
    """The data sets of a response with status 200."""
    assert response.status_code == 200, response.body
    assert response.headers["content-type"] == "application/dicom+json"
    found: list[dict[str, Any]] = json.loads(bytes(response.body))
    assert found
    return found


def values(found: Sequence[dict[str, Any]], keyword: str) -> list[Any]:
    """The first value of an attribute in each row."""
    tag = tag_of(keyword)
    assert tag is not None
    return [row[tag_key(tag)]["Value"][0] for row in found]


def tags(*keywords: str) -> list[str]:
    """Tags of keywords as rows have them, sorted."""
    found = [tag_of(keyword) for keyword in keywords]
    return sorted(tag_key(tag) for tag in found if tag is not None)

"""Find stored instances in the index, as retrievals need them."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.dicom.frames import FrameTable
from shared.errors import InstanceNotFound, NotFound, SeriesNotFound, StudyNotFound
from shared.index import shapes
from shared.index.compaction import compacted_places, is_compacted
from shared.index.metadata import ChunkPlace
from shared.index.schema import INDEX
from shared.ports import Blobs, ByteSpan, Documents, JsonObject
from shared.retrieve.content import read_span
from shared.where import And, Eq, In, Order, Where

_PAGE = 500
_FILE_MEMBERS = (
    "series", "instance", "version", "blob", "size", "transferSyntax", "frames", "ranges",
)  # fmt: skip
_METADATA_MEMBERS = ("series", "instance", "version", "metadata")
_MOST_SERIES_NAMED = 100
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Address:
    """What a retrieval names: a study, a series of it, or an instance of that.

    UIDs are normalised; ``partition`` is the data partition in lower case.
    """

    partition: str
    study: str
    series: str | None = None
    instance: str | None = None

    @property
    def pk(self) -> str:
        """Partition key of the study's documents."""
        return shapes.partition_key(self.partition, self.study)

    @property
    def instance_id(self) -> str:
        """Id of the instance document; the address is that of an instance."""
        return shapes.instance_id(self.series or "", self.instance or "")

    def not_found(self) -> NotFound:
        """The error for an address that leads nowhere."""
        if self.instance is not None:
            return InstanceNotFound("The instance could not be found.")
        if self.series is not None:
            return SeriesNotFound("The series could not be found.")
        return StudyNotFound("The study could not be found.")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An instance's file.

    Parameters
    ----------
    study, series, instance : str
        Its UIDs.
    blob : str
        Key of the file.
    size : int
        In bytes.
    transfer_syntax : str
        UID.
    ranges : JsonObject
        The members ``frames`` and ``ranges`` of its document.
    version : str
        Of the instance; no other file ever has the same.
    """

    study: str
    series: str
    instance: str
    blob: str
    size: int
    transfer_syntax: str
    ranges: JsonObject
    version: str


async def files(
    documents: Documents, address: Address, *, original: bool = False
) -> list[StoredFile]:
    """The files at an address, by series and then in the order of their coming.

    ``original``: of updated instances those that were stored (spec dicomweb.md §3.7).

    Raises
    ------
    StudyNotFound, SeriesNotFound, InstanceNotFound
        There are none.
    """

    def row(body: JsonObject) -> StoredFile:
        file = shapes.files_of(body)[-1] if original else body
        return StoredFile(
            address.study, body["series"], body["instance"], file["blob"], file["size"],
            file["transferSyntax"],
            {name: file[name] for name in ("frames", "ranges") if file.get(name) is not None},
            str(file["version"]),
        )  # fmt: skip

    members = (*_FILE_MEMBERS, shapes.ORIGINAL) if original else _FILE_MEMBERS
    return await _rows(documents, address, members, row)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata chunks at an address, and a text that changes whenever they do."""

    entity: str
    places: list[ChunkPlace]


async def original_metadata(documents: Documents, address: Address) -> Metadata:
    """The metadata chunks of the files that were stored, before any update.

    Raises
    ------
    StudyNotFound, SeriesNotFound, InstanceNotFound
        There are none.
    """

    def row(body: JsonObject) -> ChunkPlace:
        return ChunkPlace.from_json(shapes.files_of(body)[-1]["metadata"])

    members = (*_METADATA_MEMBERS, shapes.ORIGINAL)
    text = await entity(documents, address, original=True)
    return Metadata(text, await _rows(documents, address, members, row))


async def metadata(documents: Documents, address: Address) -> Metadata:
    """The metadata chunks at an address, in the order of ``files``.

    A compacted series is told by its document alone, so it costs one read.

    Raises
    ------
    StudyNotFound, SeriesNotFound, InstanceNotFound
        There are none.
    """
    if address.instance is not None:
        body = await instance(documents, address)
        return Metadata(str(body["version"]), [ChunkPlace.from_json(body["metadata"])])
    above = await _above(documents, address)
    whole = [above] if address.series is not None else await _all_series(documents, address.pk)
    compacted = {body["series"]: compacted_places(body) for body in whole if is_compacted(body)}
    single = {body["series"] for body in whole} - compacted.keys()
    places = await _single_places(documents, address, single)
    by_series = compacted | places
    found = [place for series in sorted(by_series) for place in by_series[series]]
    if not found:
        raise address.not_found()
    return Metadata(_entity(above), found)


async def _single_places(
    documents: Documents, address: Address, series: set[str]
) -> dict[str, list[ChunkPlace]]:
    """The chunks of each instance of some series; of the whole study, if those are many."""
    places: dict[str, list[ChunkPlace]] = {}
    if not series:
        return places
    some = tuple(sorted(series)) if len(series) <= _MOST_SERIES_NAMED else ()
    async for body in _pages(documents, address, _METADATA_MEMBERS, some):
        if body["series"] in series:
            places.setdefault(body["series"], []).append(ChunkPlace.from_json(body["metadata"]))
    return places


async def _all_series(documents: Documents, pk: str) -> list[JsonObject]:
    found: list[JsonObject] = []
    after: list[str] | None = None
    while True:
        page = await documents.query(
            INDEX.name,
            Eq(("type",), shapes.SERIES),
            order=[Order(("series",)), Order(("version",))],
            limit=_PAGE,
            after=after,
            partition=pk,
            members=["series", "version", "revision", "compacted"],
        )
        found += page
        if len(page) < _PAGE:
            return found
        after = [page[-1]["series"], page[-1]["version"]]


async def instance(documents: Documents, address: Address) -> JsonObject:
    """The document of one instance.

    Raises
    ------
    InstanceNotFound
        There is none.
    """
    found = await documents.get(INDEX.name, address.pk, address.instance_id)
    if found is None:
        raise address.not_found()
    return found.body


async def _rows(
    documents: Documents,
    address: Address,
    members: tuple[str, ...],
    row: Callable[[JsonObject], _T],
) -> list[_T]:
    if address.instance is not None:
        return [row(await instance(documents, address))]
    rows = [row(body) async for body in _pages(documents, address, members)]
    if not rows:
        raise address.not_found()
    return rows


async def _pages(
    documents: Documents,
    address: Address,
    members: tuple[str, ...],
    series: tuple[str, ...] = (),
) -> AsyncIterator[JsonObject]:
    terms: list[Where] = [Eq(("type",), shapes.INSTANCE)]
    if address.series is not None:
        terms.append(Eq(("series",), address.series))
    elif series:
        terms.append(In(("series",), series))
    after: list[str] | None = None
    while True:
        page = await documents.query(
            INDEX.name,
            And(tuple(terms)),
            order=[Order(("series",)), Order(("version",))],
            limit=_PAGE,
            after=after,
            partition=address.pk,
            members=members,
        )
        for body in page:
            yield body
        if len(page) < _PAGE:
            return
        after = [page[-1]["series"], page[-1]["version"]]


async def entity(documents: Documents, address: Address, *, original: bool = False) -> str:
    """What an ETag is made of: a text that changes whenever anything at the address does.

    That of ``original`` versions is another one, wherever there may be some.

    Raises
    ------
    StudyNotFound, SeriesNotFound, InstanceNotFound
        There is nothing.
    """
    if address.instance is not None:
        body = await instance(documents, address)
        return str(shapes.versions_of(body)[-1] if original else body["version"])
    above = _entity(await _above(documents, address))
    return f"{above}-original" if original else above


async def _above(documents: Documents, address: Address) -> JsonObject:
    """The document of a study or series."""
    document_id = (
        shapes.study_id(address.study)
        if address.series is None
        else shapes.series_id(address.series)
    )
    found = await documents.get(INDEX.name, address.pk, document_id)
    if found is None:
        raise address.not_found()
    return found.body


def _entity(above: JsonObject) -> str:
    return f"{above['version']}-{above['revision']}"


async def frame_table(blobs: Blobs, body: JsonObject) -> FrameTable | None:
    """The frames that an instance document tells of; ``None`` without pixel data."""
    frames = body.get("frames")
    if frames is None and body.get("ranges") is not None:
        frames = (await ranges_of(blobs, body)).get("frames")
    return None if frames is None else FrameTable.from_json(frames)


async def ranges_of(blobs: Blobs, body: JsonObject) -> JsonObject:
    """The members ``frames`` and ``bulk`` of an instance document, wherever they are kept."""
    place = body.get("ranges")
    if place is None:
        return body
    span = ByteSpan(place["offset"], place["length"])
    data = zlib.decompress(await read_span(blobs, place["segment"], span))
    found: JsonObject = json.loads(data)
    return found

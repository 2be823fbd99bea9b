"""Find stored instances in the index, as retrievals need them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from shared.errors import InstanceNotFound, NotFound, SeriesNotFound, StudyNotFound
from shared.index import shapes
from shared.index.schema import INDEX
from shared.ports import Documents, JsonObject
from shared.where import And, Eq, Order, Where

_PAGE = 500
_FILE_MEMBERS = ("series", "instance", "version", "blob", "size", "transferSyntax", "frames")
_METADATA_MEMBERS = ("series", "instance", "version", "metadata")
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
    """An instance's file: ``size`` in bytes, ``transfer_syntax`` its UID."""

    study: str
    series: str
    instance: str
    blob: str
    size: int
    transfer_syntax: str


async def files(documents: Documents, address: Address) -> list[StoredFile]:
    """The files at an address, by series and then in the order of their coming.

    Raises
    ------
    StudyNotFound, SeriesNotFound, InstanceNotFound
        There are none.
    """

    def row(body: JsonObject) -> StoredFile:
        return StoredFile(
            address.study, body["series"], body["instance"], body["blob"], body["size"],
            body["transferSyntax"],
        )  # fmt: skip

    return await _rows(documents, address, _FILE_MEMBERS, row)


async def metadata(documents: Documents, address: Address) -> list[JsonObject]:
    """The places of the metadata chunks at an address, in the order of ``files``.

    Raises
    ------
    StudyNotFound, SeriesNotFound, InstanceNotFound
        There are none.
    """
    return await _rows(documents, address, _METADATA_MEMBERS, lambda body: body["metadata"])


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
    documents: Documents, address: Address, members: tuple[str, ...]
) -> AsyncIterator[JsonObject]:
    terms: list[Where] = [Eq(("type",), shapes.INSTANCE)]
    if address.series is not None:
        terms.append(Eq(("series",), address.series))
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


async def entity(documents: Documents, address: Address) -> str:
    """What an ETag is made of: a text that changes whenever anything at the address does.

    Raises
    ------
    StudyNotFound, SeriesNotFound, InstanceNotFound
        There is nothing.
    """
    if address.instance is not None:
        return str((await instance(documents, address))["version"])
    document_id = (
        shapes.study_id(address.study)
        if address.series is None
        else shapes.series_id(address.series)
    )
    found = await documents.get(INDEX.name, address.pk, document_id)
    if found is None:
        raise address.not_found()
    return f"{found.body['version']}-{found.body['revision']}"

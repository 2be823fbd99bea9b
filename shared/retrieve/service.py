"""Retrieve: files, frames, metadata and bulk data of stored instances (PS3.18 10.4).

Everything is found and negotiated before the first byte is sent, since afterwards an error can
only cut the answer off. What is sent is streamed from the blob store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from shared.dicom import native_xml, transfer_syntax
from shared.dicom.frames import Frame, FrameTable
from shared.errors import BulkDataNotFound, FrameNotFound, NotAcceptable
from shared.index.metadata import chunk_texts, gzip_array, json_array
from shared.ports import Blobs, ByteSpan, Documents, JsonObject
from shared.retrieve import instances
from shared.retrieve.content import inflated, one_after_the_other
from shared.retrieve.convert import converted, convertible
from shared.retrieve.decoding import in_threads, recoding
from shared.retrieve.instances import Address, Metadata, StoredFile, frame_table, ranges_of
from shared.telemetry import traced
from shared.web.negotiation import EXPLICIT_LE, Choice, first_fitting

_PIXEL_DATA = "7FE00010"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A file, and the transfer syntax in which it is to be sent.

    ``table`` are its frames where it has to be converted and has some.
    """

    file: StoredFile
    transfer_syntax: str
    table: FrameTable | None = None

    @property
    def is_converted(self) -> bool:
        """Whether it is sent otherwise than stored: its length is not known before."""
        return self.transfer_syntax != self.file.transfer_syntax


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames to send: how, in which transfer syntax, and their bytes in the order asked for.

    ``version`` is that of the instance.
    """

    choice: Choice
    transfer_syntax: str
    version: str
    contents: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class BulkData:
    """A bulk value: ``content`` is ``span`` of its ``size`` bytes."""

    size: int
    span: ByteSpan
    content: AsyncIterator[bytes]


class RetrieveService:
    """The retrieve transactions of one tenant."""

    def __init__(self, documents: Documents, blobs: Blobs) -> None:
        self._documents = documents
        self._blobs = blobs

    # Files --------------------------------------------------------------------------------

    @traced("find files")
    async def files(
        self, address: Address, choices: Sequence[Choice], *, original: bool = False
    ) -> tuple[Choice, list[Delivery]]:
        """The files at an address, and the best choice that all of them can satisfy.

        ``original``: of updated instances those that were stored.

        Raises
        ------
        StudyNotFound, SeriesNotFound, InstanceNotFound
            There is nothing.
        NotAcceptable
            No choice can be met by every file.
        """
        found = await instances.files(self._documents, address, original=original)
        for choice in choices:
            deliveries = await self._deliveries(found, choice)
            if deliveries is not None:
                return choice, deliveries
        raise NotAcceptable(
            "The instances cannot all be sent in a transfer syntax that Accept allows; "
            "transfer-syntax=* takes them as they are."
        )

    async def _deliveries(
        self, files: Sequence[StoredFile], choice: Choice
    ) -> list[Delivery] | None:
        deliveries: list[Delivery] = []
        for file in files:
            if choice.syntax_for(file.transfer_syntax, ()) is not None:
                deliveries.append(Delivery(file, file.transfer_syntax))
                continue
            table = await frame_table(self._blobs, file.ranges)
            targets = convertible(file.transfer_syntax, table)
            target = choice.syntax_for(file.transfer_syntax, targets)
            if target is None:
                return None
            deliveries.append(Delivery(file, target, table))
        return deliveries

    async def contents(
        self, deliveries: Sequence[Delivery]
    ) -> AsyncIterator[tuple[Delivery, AsyncIterator[bytes]]]:
        """The bytes of files, one after the other."""
        requests = ((delivery.file.blob, None) for delivery in deliveries)
        opened = one_after_the_other(self._blobs, requests)
        try:
            at = 0
            async for content in opened:
                delivery = deliveries[at]
                yield delivery, _as_delivered(content, delivery)
                at += 1
        finally:
            await opened.aclose()

    async def content(
        self, delivery: Delivery, span: ByteSpan | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of one file, or a span of one that is not converted.

        Returns once the store has answered.
        """
        return _as_delivered(await self._blobs.read(delivery.file.blob, span), delivery)

    # Frames -------------------------------------------------------------------------------

    @traced("find frames")
    async def frames(
        self, address: Address, numbers: Sequence[int], choices: Sequence[Choice]
    ) -> Frames:
        """Frames of an instance, in the order asked for, each as often as asked for.

        Raises
        ------
        InstanceNotFound, FrameNotFound
            There is no such instance or frame.
        NotAcceptable
            The frames cannot be sent in any way that the client takes.
        CorruptData
            The file does not tell where the frame is.
        """
        body = await instances.instance(self._documents, address)
        table = await frame_table(self._blobs, body)
        if table is None:
            raise FrameNotFound("The instance has no pixel data.")
        places = [table.frame(number) for number in numbers]
        stored = table.pixels.transfer_syntax_uid if table.is_encapsulated else EXPLICIT_LE
        targets = convertible(table.pixels.transfer_syntax_uid, table)
        fitting = first_fitting(choices, stored, targets)
        if fitting is None:
            raise NotAcceptable("The frames cannot be sent in a form that Accept allows.")
        choice, syntax = fitting
        raw = self._frame_bytes(body["blob"], table, places)
        version = str(body["version"])
        if syntax == stored:
            return Frames(choice, syntax, version, raw)
        work = recoding(table.pixels, syntax, is_encapsulated=table.is_encapsulated)
        return Frames(choice, syntax, version, in_threads(raw, lambda frame: work(frame).data))

    async def _frame_bytes(
        self, blob: str, table: FrameTable, places: Sequence[Frame]
    ) -> AsyncIterator[bytes]:
        if table.is_inflated:
            for place in places:
                pieces = [piece async for piece in inflated(self._blobs, blob, place.covering)]
                yield place.cut(b"".join(pieces))
            return
        opened = one_after_the_other(self._blobs, ((blob, place.covering) for place in places))
        try:
            at = 0
            async for content in opened:
                yield places[at].cut(b"".join([piece async for piece in content]))
                at += 1
        finally:
            await opened.aclose()

    # Metadata -----------------------------------------------------------------------------

    async def entity(self, address: Address, *, original: bool = False) -> str:
        """What an ETag is made of, without the rest; see ``shared.retrieve.instances.entity``."""
        return await instances.entity(self._documents, address, original=original)

    @traced("find metadata")
    async def metadata(self, address: Address, *, original: bool = False) -> Metadata:
        """The metadata chunks at an address, and what an ETag of them is made of.

        ``original``: of updated instances those of the files that were stored.

        Raises
        ------
        StudyNotFound, SeriesNotFound, InstanceNotFound
            There is nothing.
        """
        find = instances.original_metadata if original else instances.metadata
        return await find(self._documents, address)

    def metadata_content(
        self, metadata: Metadata, resources_url: str, *, gzip: bool
    ) -> AsyncIterator[bytes]:
        """The JSON array of metadata, ``BulkDataURI`` below an address; or that as gzip member."""
        write = gzip_array if gzip else json_array
        return write(self._blobs, metadata.places, resources_url)

    async def metadata_documents(
        self, metadata: Metadata, resources_url: str
    ) -> AsyncIterator[bytes]:
        """Each instance's metadata as a document of the Native DICOM Model (PS3.19 A.1)."""
        async for text in chunk_texts(self._blobs, metadata.places, resources_url):
            for data_set in native_xml.data_sets(text.decode()):
                yield native_xml.document(data_set)

    # Bulk data ----------------------------------------------------------------------------

    async def bulk_data_size(self, address: Address, path: str) -> int:
        """Length of a bulk value, in bytes; see ``bulk_data``."""
        body = await instances.instance(self._documents, address)
        return (await self._bulk_span(body, path)).length

    async def bulk_data(self, address: Address, path: str, span: ByteSpan | None) -> BulkData:
        """A bulk value, or a span of it, as it is in the file.

        Parameters
        ----------
        address : Address
            An instance.
        path : str
            As in its metadata's ``BulkDataURI``: ``7FE00010``, ``54000100.1.54001010``.
        span : ByteSpan, optional
            Within the value.

        Raises
        ------
        InstanceNotFound, BulkDataNotFound
            There is no such instance or value.
        """
        body = await instances.instance(self._documents, address)
        whole = await self._bulk_span(body, path)
        wanted = span or ByteSpan(0, whole.length)
        place = ByteSpan(whole.offset + wanted.offset, wanted.length)
        if transfer_syntax.is_deflated(body["transferSyntax"]):
            return BulkData(whole.length, wanted, inflated(self._blobs, body["blob"], place))
        return BulkData(whole.length, wanted, await self._blobs.read(body["blob"], place))

    async def _bulk_span(self, body: JsonObject, path: str) -> ByteSpan:
        ranges = await ranges_of(self._blobs, body)
        place = (ranges.get("bulk") or {}).get(path.upper())
        if place is None and path.upper() == _PIXEL_DATA and ranges.get("frames"):
            return self._all_fragments(FrameTable.from_json(ranges["frames"]))
        if place is None:
            raise BulkDataNotFound("The instance has no such bulk data.")
        return ByteSpan(*place)

    @staticmethod
    def _all_fragments(table: FrameTable) -> ByteSpan:
        """Encapsulated pixel data as it is in the file: items with their headers."""
        if table.fragments is None:
            raise BulkDataNotFound("The instance has no such bulk data.")
        offsets, lengths = table.fragments
        start = offsets[0] - 8
        return ByteSpan(start, offsets[-1] + lengths[-1] - start)


def _as_delivered(content: AsyncIterator[bytes], delivery: Delivery) -> AsyncIterator[bytes]:
    if not delivery.is_converted:
        return content
    return converted(content, delivery.table, delivery.transfer_syntax)

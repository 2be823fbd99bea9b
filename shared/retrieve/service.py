"""Retrieve: files, frames, metadata and bulk data of stored instances (PS3.18 10.4).

Everything is found and negotiated before the first byte is sent, since afterwards an error can
only cut the answer off. What is sent is streamed from the blob store.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from shared.dicom import transfer_syntax
from shared.dicom.frames import Frame, FrameTable
from shared.dicom.pixels import can_decode
from shared.errors import BulkDataNotFound, FrameNotFound, NotAcceptable
from shared.index.metadata import gzip_array, json_array
from shared.ports import Blobs, ByteSpan, Documents, JsonObject
from shared.retrieve import instances
from shared.retrieve.content import inflated, one_after_the_other, read_span
from shared.retrieve.decoding import decoded
from shared.retrieve.instances import Address, Metadata, StoredFile
from shared.web.negotiation import EXPLICIT_LE, Choice, first_fitting

_PIXEL_DATA = "7FE00010"


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames to send: how, in which transfer syntax, and their bytes in the order asked for."""

    choice: Choice
    transfer_syntax: str
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

    async def files(
        self, address: Address, choices: Sequence[Choice]
    ) -> tuple[Choice, list[StoredFile]]:
        """The files at an address, and the best choice that all of them satisfy as stored.

        Raises
        ------
        StudyNotFound, SeriesNotFound, InstanceNotFound
            There is nothing.
        NotAcceptable
            No choice can be met by every file.
        """
        found = await instances.files(self._documents, address)
        syntaxes = {file.transfer_syntax for file in found}
        for choice in choices:
            if all(choice.syntax_for(syntax, ()) == syntax for syntax in syntaxes):
                return choice, found
        raise NotAcceptable(
            "The instances are stored in another transfer syntax than Accept allows; "
            "transfer-syntax=* takes them as they are."
        )

    async def contents(
        self, files: Sequence[StoredFile]
    ) -> AsyncIterator[tuple[StoredFile, AsyncIterator[bytes]]]:
        """The bytes of files, one after the other."""
        opened = one_after_the_other(self._blobs, ((file.blob, None) for file in files))
        try:
            at = 0
            async for content in opened:
                yield files[at], content
                at += 1
        finally:
            await opened.aclose()

    async def content(self, file: StoredFile) -> AsyncIterator[bytes]:
        """The bytes of one file; returns once the store has answered."""
        return await self._blobs.read(file.blob)

    # Frames -------------------------------------------------------------------------------

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
        table = await self._frame_table(body)
        places = [table.frame(number) for number in numbers]
        stored = table.pixels.transfer_syntax_uid if table.is_encapsulated else EXPLICIT_LE
        convertible = (EXPLICIT_LE,) if table.is_encapsulated and can_decode(table.pixels) else ()
        fitting = first_fitting(choices, stored, convertible)
        if fitting is None:
            raise NotAcceptable("The frames cannot be sent in a form that Accept allows.")
        choice, syntax = fitting
        raw = self._frame_bytes(body["blob"], table, places)
        contents = raw if syntax == stored else decoded(raw, table.pixels)
        return Frames(choice, syntax, contents)

    async def _frame_table(self, body: JsonObject) -> FrameTable:
        ranges = await self._ranges(body)
        if not ranges.get("frames"):
            raise FrameNotFound("The instance has no pixel data.")
        return FrameTable.from_json(ranges["frames"])

    async def _ranges(self, body: JsonObject) -> JsonObject:
        """The members ``frames`` and ``bulk`` of an instance, wherever they are kept."""
        place = body.get("ranges")
        if place is None:
            return body
        span = ByteSpan(place["offset"], place["length"])
        found: JsonObject = json.loads(
            zlib.decompress(await read_span(self._blobs, place["segment"], span))
        )
        return found

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

    async def entity(self, address: Address) -> str:
        """What an ETag is made of, without the rest; see ``shared.retrieve.instances.entity``."""
        return await instances.entity(self._documents, address)

    async def metadata(self, address: Address) -> Metadata:
        """The metadata chunks at an address, and what an ETag of them is made of.

        Raises
        ------
        StudyNotFound, SeriesNotFound, InstanceNotFound
            There is nothing.
        """
        return await instances.metadata(self._documents, address)

    def metadata_content(
        self, metadata: Metadata, resources_url: str, *, gzip: bool
    ) -> AsyncIterator[bytes]:
        """The JSON array of metadata, ``BulkDataURI`` below an address; or that as gzip member."""
        write = gzip_array if gzip else json_array
        return write(self._blobs, metadata.places, resources_url)

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
        ranges = await self._ranges(body)
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

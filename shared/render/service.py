"""Render instances of one tenant: find them, read header and frame by range, draw on a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

from shared.config import Limits
from shared.dicom import transfer_syntax
from shared.dicom.frames import FrameTable
from shared.errors import FrameNotFound, NotFound, UnusablePixelData
from shared.ports import Blobs, ByteSpan, Documents
from shared.render.image import GIF, Source, render, render_all
from shared.render.parameters import Rendering
from shared.retrieve import instances
from shared.retrieve.content import inflated, read_span
from shared.retrieve.decoding import AT_ONCE
from shared.retrieve.instances import Address, StoredFile, frame_table
from shared.telemetry import traced

_MOST_TRIED: Final = 50
_MOST_OF_A_SERIES: Final = 3


@dataclass(frozen=True, slots=True)
class Subject:
    """An image to be rendered: its file, and the frames that it has."""

    file: StoredFile
    table: FrameTable


class RenderService:
    """The rendered resources and thumbnails of one tenant."""

    def __init__(self, documents: Documents, blobs: Blobs, limits: Limits) -> None:
        self._documents = documents
        self._blobs = blobs
        self._limits = limits

    async def image(self, address: Address) -> Subject:
        """The image at the address of an instance.

        Raises
        ------
        InstanceNotFound, FrameNotFound
            There is no such instance, or it has no pixel data.
        UnusablePixelData
            Its frames are too large to be rendered.
        """
        [file] = await instances.files(self._documents, address)
        table = await frame_table(self._blobs, file.ranges)
        if table is None:
            raise FrameNotFound("The instance has no pixel data.")
        self._require_size(table)
        return Subject(file, table)

    async def images(self, address: Address) -> list[StoredFile]:
        """The instances of a study or series that have pixel data, in the order of retrieval.

        Raises
        ------
        StudyNotFound, SeriesNotFound
            There is nothing.
        FrameNotFound
            There is no image among them.
        """
        files = await instances.files(self._documents, address)
        found = [file for file in files if file.ranges]
        if not found:
            raise FrameNotFound("There is no image.")
        return found

    async def representative(self, address: Address) -> Subject:
        """The image that stands for a study or series: the middle one of its first series.

        If that cannot be shown its neighbours are tried, then the other series.

        Raises
        ------
        NotFound, UnusablePixelData
            As ``image`` and ``images``.
        """
        if address.instance is not None:
            return await self.image(address)
        found = await self.images(address)
        trouble: NotFound | UnusablePixelData | None = None
        for file in islice(_by_prominence(found), _MOST_TRIED):
            try:
                return await self.image(
                    Address(address.partition, file.study, file.series, file.instance)
                )
            except (NotFound, UnusablePixelData) as error:
                trouble = trouble or error
        raise trouble or FrameNotFound("There is no image.")

    @traced("render")
    async def picture(
        self, subject: Subject, number: int, how: Rendering, media_type: str
    ) -> bytes:
        """One frame as a picture.

        Raises
        ------
        FrameNotFound
            There is no such frame.
        UnusablePixelData
            It cannot be rendered.
        """
        source = await self._source(subject)
        return await self._picture(subject, source, number, how, media_type)

    async def pictures(
        self, subject: Subject, numbers: Sequence[int], how: Rendering, media_type: str
    ) -> AsyncIterator[bytes]:
        """Several frames, one after the other."""
        source = await self._source(subject)
        for number in numbers:
            yield await self._picture(subject, source, number, how, media_type)

    @traced("render")
    async def whole(self, subject: Subject, how: Rendering, media_type: str) -> bytes:
        """An instance as one picture: its first frame, or as GIF all of them.

        Raises
        ------
        UnusablePixelData
            It cannot be rendered, or is too large to be animated.
        """
        count = subject.table.count
        if media_type != GIF or count == 1:
            return await self.picture(subject, 1, how, media_type)
        pixels = subject.table.pixels
        if (
            count > self._limits.frames_per_request
            or count * pixels.rows * pixels.columns > self._limits.rendered_pixels
        ):
            raise UnusablePixelData("The instance has too many frames to be animated.")
        source = await self._source(subject)
        frames = [await self._frame(subject, number) for number in range(1, count + 1)]
        async with AT_ONCE:
            return await asyncio.to_thread(render_all, source, frames, how)

    async def _picture(
        self, subject: Subject, source: Source, number: int, how: Rendering, media_type: str
    ) -> bytes:
        frame = await self._frame(subject, number)
        async with AT_ONCE:
            return await asyncio.to_thread(render, source, frame, number, how, media_type)

    def _require_size(self, table: FrameTable) -> None:
        pixels = table.pixels
        if transfer_syntax.is_video(pixels.transfer_syntax_uid):
            raise UnusablePixelData("Video cannot be rendered.")
        if not 0 < pixels.rows * pixels.columns <= self._limits.rendered_pixels:
            raise UnusablePixelData(
                f"Frames of at most {self._limits.rendered_pixels} pixels can be rendered."
            )

    async def _source(self, subject: Subject) -> Source:
        table = subject.table
        offsets, _ = table.fragments or ([0], [0])
        end = table.native.offset if table.native is not None else offsets[0]
        span = ByteSpan(0, end)
        if table.is_inflated:
            pieces = inflated(self._blobs, subject.file.blob, span)
            header = b"".join([piece async for piece in pieces])
        else:
            header = await read_span(self._blobs, subject.file.blob, span)
        return Source(header, table.is_inflated, table.pixels, table.is_encapsulated)

    async def _frame(self, subject: Subject, number: int) -> bytes:
        place = subject.table.frame(number)
        if not subject.table.is_inflated:
            return place.cut(await read_span(self._blobs, subject.file.blob, place.covering))
        pieces = inflated(self._blobs, subject.file.blob, place.covering)
        return place.cut(b"".join([piece async for piece in pieces]))


def _by_prominence(files: list[StoredFile]) -> Iterator[StoredFile]:
    """The middle of the first series and its neighbours, the same of the next, then the rest."""
    series = [list(group) for _, group in groupby(files, key=lambda file: file.series)]
    ordered = [
        [group[at] for at in sorted(range(len(group)), key=lambda at: abs(at - len(group) // 2))]
        for group in series
    ]
    for group in ordered:
        yield from group[:_MOST_OF_A_SERIES]
    for group in ordered:
        yield from group[_MOST_OF_A_SERIES:]

"""Bulk data of a request, kept on disk until its data sets are written.

Parts may come in any order and a data set's elements may not, so bulk data has to wait. Beyond
1 MiB it waits in a temporary file: memory stays bounded, and the file is gone with the request,
also if the process dies.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import NamedTuple, Self

from shared.errors import PayloadTooLarge

_IN_MEMORY = 1024 * 1024
_PIECE = 256 * 1024


class Place(NamedTuple):
    """Where in a spool a part is: offset and length in bytes."""

    offset: int
    length: int


class Spool:
    """Keeps parts, and reads them again.

    Parameters
    ----------
    limit : int
        Most bytes of all parts.
    """

    def __init__(self, limit: int) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        self._limit = limit
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    async def add(self, content: AsyncIterator[bytes]) -> Place:
        """Keep a part.

        Raises
        ------
        PayloadTooLarge
            The parts are more than the limit.
        """
        start = self._size
        self._file.seek(start)
        async for piece in content:
            self._size += len(piece)
            if self._size > self._limit:
                raise PayloadTooLarge(
                    f"The bulk data of a request may have at most {self._limit} bytes."
                )
            self._file.write(piece)
        return Place(start, self._size - start)

    def read(self, place: Place) -> Iterator[bytes]:
        """A part again, in pieces."""
        at, end = place.offset, place.offset + place.length
        while at < end:
            self._file.seek(at)
            piece = self._file.read(min(_PIECE, end - at))
            yield piece
            at += len(piece)

    def head(self, place: Place, size: int) -> bytes:
        """The first bytes of a part."""
        self._file.seek(place.offset)
        return self._file.read(min(size, place.length))

"""A stream of bytes, looked at through a window that only moves on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

from shared.errors import CorruptData
from shared.ports import ByteSpan


class Window:
    """Part of a stream in memory, by offset.

    Parameters
    ----------
    content : AsyncIterator[bytes]
        The stream.
    offset : int
        Of its first byte.
    """

    def __init__(self, content: AsyncIterator[bytes], offset: int = 0) -> None:
        self._content = content
        self._offset = offset
        self._buffer = bytearray()
        self.is_over = False

    @property
    def end(self) -> int:
        """Offset behind the bytes that were read."""
        return self._offset + len(self._buffer)

    async def read_to(self, end: int) -> bool:
        """Read until all bytes before ``end`` are there; ``False`` where the stream ends first."""
        while self.end < end and not self.is_over:
            piece = await anext(self._content, None)
            if piece is None:
                self.is_over = True
            else:
                self._buffer += piece
        return self.end >= end

    def bytes_from(self, start: int, end: int | None = None) -> bytes:
        """Bytes that were read and not forgotten."""
        return bytes(
            self._buffer[start - self._offset : None if end is None else end - self._offset]
        )

    async def take(self, span: ByteSpan) -> bytes:
        """The bytes of a span; those before it are forgotten.

        Raises
        ------
        CorruptData
            The stream ends before.
        """
        self.forget(span.offset)
        if not await self.read_to(span.end):
            raise CorruptData("A file is shorter than its index says.")
        return self.bytes_from(span.offset, span.end)

    async def pieces(self, span: ByteSpan, *, at_once: int) -> AsyncIterator[bytes]:
        """A span in pieces of ``at_once`` bytes, the last one shorter."""
        for start in range(span.offset, span.end, at_once):
            yield await self.take(ByteSpan(start, min(at_once, span.end - start)))

    def forget(self, before: int) -> None:
        """Drop the bytes before an offset that were read."""
        count = before - self._offset
        if count > 0:
            dropped = min(count, len(self._buffer))
            del self._buffer[:dropped]
            self._offset += dropped

    async def rest(self) -> AsyncIterator[bytes]:
        """What was read and not forgotten, then what comes; the window is of no use any more."""
        yield bytes(self._buffer)
        self._buffer.clear()
        async for piece in self._content:
            yield piece

    async def close(self) -> None:
        """Close the stream."""
        if isinstance(self._content, AsyncGenerator):
            await self._content.aclose()

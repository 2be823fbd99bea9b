"""``multipart/related`` as a stream: requests are taken apart, responses are framed.

Neither side holds more than one piece of the body and one part's headers.

References
----------
RFC 2046 5.1.1, RFC 2387, PS3.18 8.6.1.2.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.errors import MalformedRequest, PayloadTooLarge

MAX_HEADER_BYTES = 16 * 1024
MAX_BOUNDARY = 256  # RFC 2046 says 70; senders with longer ones exist and harm nobody

_CRLF = b"\r\n"
_END_OF_HEADERS = b"\r\n\r\n"
_NO_LINE_END = "A boundary is followed by something else than a line end (CRLF)."
_BLANKS = re.compile(rb"[ \t]*")  # transport padding
_HEADER_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:([^\r\n\0]*)")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart body.

    Parameters
    ----------
    headers : dict[str, str]
        By lower-case name. Of a repeated header the first.
    content : AsyncIterator[bytes]
        Pieces of at least one byte, valid until the next part is asked for. What is not read by
        then is skipped.
    """

    headers: dict[str, str]
    content: AsyncIterator[bytes]


async def parts(
    body: AsyncIterable[bytes],
    boundary: str,
    *,
    max_parts: int,
    max_header_bytes: int = MAX_HEADER_BYTES,
) -> AsyncIterator[Part]:
    """Take a multipart body apart as it arrives.

    Content is passed on as soon as it cannot be part of a delimiter. Lines must end in CRLF: with
    a bare LF it would be open which bytes before a delimiter belong to the content. A delimiter
    must be followed by ``--`` or by blanks and CRLF; anything else after it breaks RFC 2046
    (content must not have a line that starts with the delimiter) and is refused, not guessed at.

    Parameters
    ----------
    body : AsyncIterable[bytes]
        The request body; pieces of any size, empty ones included.
    boundary : str
        Value of the ``boundary`` parameter, without quotes.
    max_parts : int
        How many parts are taken.
    max_header_bytes : int
        Size limit of one part's headers, in bytes.

    Yields
    ------
    Part
        In order. None at all for a body that is only delimiters: ``--b--``, or what .NET sends
        for no parts, ``--b``, two line ends, ``--b--``.

    Raises
    ------
    MalformedRequest
        The framing is broken, or the body ends before the closing delimiter.
    PayloadTooLarge
        There are more than ``max_parts`` parts.

    References
    ----------
    RFC 2046 5.1.1.
    """
    reader = _Reader(body, _delimiter(boundary))
    await reader.drain()  # the preamble
    count = 0
    while not await reader.at_end():
        headers = await reader.headers(max_header_bytes)
        if not headers and await reader.at_delimiter():
            continue
        count += 1
        if count > max_parts:
            raise PayloadTooLarge(f"The request has more than {max_parts} parts.")
        yield Part(headers, _Content(reader, count))
        await reader.drain()
    await reader.epilogue()


def _delimiter(boundary: str) -> bytes:
    if not boundary or len(boundary) > MAX_BOUNDARY or not boundary.isprintable():
        raise MalformedRequest("The boundary parameter of Content-Type is empty or malformed.")
    try:
        return b"\r\n--" + boundary.encode("latin-1")
    except UnicodeEncodeError:
        raise MalformedRequest("The boundary parameter of Content-Type is malformed.") from None


class _Content:
    """The content of the reader's part ``number``; ends early once the reader has moved on."""

    __slots__ = ("_number", "_reader")

    def __init__(self, reader: _Reader, number: int) -> None:
        self._reader = reader
        self._number = number
        reader.part = number

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._reader.part != self._number:
            raise StopAsyncIteration
        piece = await self._reader.piece()
        if piece is None:
            raise StopAsyncIteration
        return piece


class _Reader:
    """Position in a multipart body: within content, or just after a delimiter.

    ``_data[_at:]`` has been received and not been passed on. Content is looked at together with
    the CRLF that precedes it, because that CRLF may belong to the delimiter of an empty content;
    ``_skip`` says how many of its bytes are not content.
    """

    def __init__(self, body: AsyncIterable[bytes], delimiter: bytes) -> None:
        self._body = aiter(body)
        self._delimiter = delimiter
        self._data = _CRLF  # a delimiter may be the very first thing in the body
        self._at = 0
        self._skip = 2
        self._in_content = True
        self._in_preamble = True
        self.part = 0

    async def _more(self, message: str) -> None:
        """Append what arrives next to what is left."""
        async for piece in self._body:
            if piece:
                left = self._data[self._at :]
                self._data = left + piece if left else bytes(piece)
                self._at = 0
                return
        raise MalformedRequest(message)

    def _lacking(self) -> str:
        if self._in_preamble:
            return "The body does not contain its boundary at the start of a line ended by CRLF."
        return "The body ends before the closing boundary."

    async def piece(self) -> bytes | None:
        """The next bytes of content, or ``None`` once the delimiter has been passed."""
        while self._in_content:
            data, start = self._data, self._at
            found = data.find(self._delimiter, start)
            if found >= 0:
                self._in_content = False
                self._in_preamble = False
                self._at = found + len(self._delimiter)
                end = found
            else:
                end = self._at = self._certain(data, start)
            start += self._skip
            if start < end:
                self._skip = 0
                return data if start == 0 and end == len(data) else data[start:end]
            if self._in_content:
                self._skip = max(start - end, 0)
                await self._more(self._lacking())
        return None

    def _certain(self, data: bytes, start: int) -> int:
        """Where the bytes end that cannot be the beginning of a delimiter.

        A delimiter has one CR, its first byte, so only the last CR can begin one.
        """
        last = data.rfind(b"\r", max(start, len(data) - len(self._delimiter) + 1))
        if last >= 0 and self._delimiter.startswith(data[last:]):
            return last
        return len(data)

    async def drain(self) -> None:
        """Skip the content that is left."""
        while await self.piece() is not None:
            pass
        self.part = 0

    async def at_end(self) -> bool:
        """Whether the delimiter just passed is the closing one; else its padding is passed."""
        while len(self._data) - self._at < 2:
            if self._data[self._at :] not in (b"", b"-", b"\r", b" ", b"\t"):
                raise MalformedRequest(_NO_LINE_END)
            await self._more(self._lacking())
        if self._data.startswith(b"--", self._at):
            return True
        while True:
            padding = _BLANKS.match(self._data, self._at)
            self._at = padding.end() if padding else self._at
            if self._data.startswith(_CRLF, self._at):
                return False  # the CRLF stays: headers are looked at together with it
            if self._data[self._at :] not in (b"", b"\r"):
                raise MalformedRequest(_NO_LINE_END)
            await self._more(self._lacking())

    async def headers(self, limit: int) -> dict[str, str]:
        """The headers of the part that begins here; what follows them is content."""
        searched = self._at
        while (end := self._data.find(_END_OF_HEADERS, searched)) < 0:
            if len(self._data) - self._at > limit:
                raise MalformedRequest(f"The headers of a part exceed {limit} bytes.")
            scanned = max(len(self._data) - self._at - 3, 0)
            await self._more(self._lacking())
            searched = self._at + scanned
        if end - self._at > limit:
            raise MalformedRequest(f"The headers of a part exceed {limit} bytes.")
        block = self._data[self._at + 2 : end]
        self._at = end + 2
        self._skip = 2
        self._in_content = True
        return _parsed(block)

    async def at_delimiter(self) -> bool:
        """Whether the content that begins here is none at all, not even an empty line."""
        while len(self._data) - self._at < len(self._delimiter):
            if not self._delimiter.startswith(self._data[self._at :]):
                return False
            await self._more(self._lacking())
        if not self._data.startswith(self._delimiter, self._at):
            return False
        await self.drain()
        return True

    async def epilogue(self) -> None:
        """Read what follows the closing delimiter; it means nothing."""
        self._data = b""
        async for _ in self._body:
            pass


def _parsed(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    if not block:
        return headers
    text = block.decode("latin-1")
    unfolded = re.sub(r"\r\n[ \t]+", " ", text)  # obsolete line folding, RFC 5322 2.2.3
    for line in unfolded.split("\r\n"):
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            raise MalformedRequest("A part has a line among its headers that is no header.")
        headers.setdefault(match[1].lower(), match[2].strip(" \t"))
    return headers


# Responses --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutgoingPart:
    """One part of a response.

    Parameters
    ----------
    content_type : str
        With the actual transfer syntax.
    content : AsyncIterable[bytes]
        The bytes.
    location : str or None
        URL of this part, for ``Content-Location``.
    """

    content_type: str
    content: AsyncIterable[bytes]
    location: str | None = None


class MultipartWriter:
    """Frames a ``multipart/related`` response.

    Parameters
    ----------
    media_type : str
        Media type of the parts, for the ``type`` parameter.
    boundary : str or None
        For tests; random if absent.

    References
    ----------
    PS3.18 8.6.1.2, 8.7.3.5.1; RFC 2387 3.
    """

    def __init__(self, media_type: str, boundary: str | None = None) -> None:
        self.boundary = boundary or secrets.token_hex(16)
        self.content_type = f'multipart/related; type="{media_type}"; boundary="{self.boundary}"'

    def before(self, content_type: str, location: str | None = None) -> bytes:
        """The bytes before a part's content: delimiter and headers."""
        headers: dict[str, str] = {"Content-Type": content_type}
        if location is not None:
            headers["Content-Location"] = location
        return f"--{self.boundary}\r\n{_header_lines(headers)}\r\n".encode("ascii")

    @property
    def after(self) -> bytes:
        """The bytes after each part's content."""
        return _CRLF

    @property
    def end(self) -> bytes:
        """The bytes after the last part: the closing delimiter."""
        return f"--{self.boundary}--\r\n".encode("ascii")

    def length(self, sizes: Iterable[tuple[bytes, int]]) -> int:
        """Length of the whole body, in bytes.

        Parameters
        ----------
        sizes : Iterable[tuple[bytes, int]]
            Of each part what ``before`` gave, and the size of its content in bytes.
        """
        parts_length = sum(len(before) + size + len(self.after) for before, size in sizes)
        return parts_length + len(self.end)

    async def body(
        self, outgoing: AsyncIterable[OutgoingPart] | Iterable[OutgoingPart]
    ) -> AsyncIterator[bytes]:
        """The body, piece by piece; each part is asked for when the one before has been sent.

        If the client goes away, what is being read is closed at once.
        """
        async with _closing(outgoing):
            async for part in _each(outgoing):
                yield self.before(part.content_type, part.location)
                async with _closing(part.content):
                    async for piece in part.content:
                        yield piece
                yield self.after
        yield self.end


async def _each(
    outgoing: AsyncIterable[OutgoingPart] | Iterable[OutgoingPart],
) -> AsyncIterator[OutgoingPart]:
    if isinstance(outgoing, AsyncIterable):
        async for part in outgoing:
            yield part
    else:
        for part in outgoing:
            yield part


@asynccontextmanager
async def _closing(source: object) -> AsyncIterator[None]:
    """Close an asynchronous generator on leaving; other sources have nothing to close."""
    try:
        yield
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


def _header_lines(headers: Mapping[str, str]) -> str:
    for name, value in headers.items():
        if not value.isascii() or not value.isprintable():
            raise ValueError(f"{name} has a character that no header may have")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())

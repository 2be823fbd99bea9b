"""A zip archive as a stream (PS3.18 Supplement 211), of any size in little memory.

Entries are deflated without compression: image data hardly shrinks, and unlike stored entries
they can be read from a stream whose sizes come after the content. All have the date 1980-01-01,
so that the same files give the same archive.

References
----------
APPNOTE.TXT 4.3.9 (data descriptor), 4.5.3 (Zip64).
"""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import IO, cast


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive; ``size`` in bytes, ``None`` if it is not known before."""

    name: str
    size: int | None
    content: AsyncIterable[bytes]


class _Sink:
    """What an archive writes into: it cannot be sought, so nothing is written twice."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


async def archive(entries: AsyncIterable[Entry]) -> AsyncIterator[bytes]:
    """The bytes of an archive, as its entries arrive.

    Memory is bounded by one piece of content, and the directory: a hundred bytes or two an entry.
    """
    sink = _Sink()
    # the types ask for a whole file; that "write" and "flush" are enough is documented
    file_like = cast("IO[bytes]", sink)
    with zipfile.ZipFile(file_like, "w", zipfile.ZIP_DEFLATED, compresslevel=0) as target:
        async for entry in entries:
            large = entry.size is None or entry.size > zipfile.ZIP64_LIMIT // 2
            with target.open(entry.name, "w", force_zip64=large) as file:
                async for piece in entry.content:
                    file.write(piece)
                    if data := sink.taken():
                        yield data
            if data := sink.taken():
                yield data
    yield sink.taken()

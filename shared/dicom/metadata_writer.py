"""Write a data set's JSON while it is read, in bounded memory, into one metadata chunk."""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

from shared.dicom.instance import MetadataChunk

_LEVEL: Final = 6
_SPILL: Final = 256 * 1024


class _Snapshot(NamedTuple):
    compressor: zlib._Compress
    output: int
    crc: int
    size: int


class MetadataWriter:
    """Collects the text of top-level elements; each is kept or left out when it ends.

    A sequence that grows large is compressed before it ends; a copy of the compressor's state
    then makes it possible to leave it out all the same.
    """

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._output: list[bytes] = []
        self._crc = 0
        self._size = 0
        self._kept: list[str] = ["{"]
        self._kept_length = 1
        self._is_first = True
        self._pieces: list[str] = []
        self._length = 0
        self._snapshot: _Snapshot | None = None

    def add(self, text: str) -> None:
        """Add text to the current top-level element."""
        self._pieces.append(text)
        self._length += len(text)
        if self._length > _SPILL:
            self._spill()

    def end(self, *, keep: bool) -> str | None:
        """End the current top-level element.

        Returns
        -------
        str or None
            Its text, ``"ggggeeee":{…}``, if it is kept and small.
        """
        spilled, self._snapshot = self._snapshot, None
        if not keep:
            self._pieces.clear()
            self._length = 0
            if spilled is not None:
                self._compressor, self._crc, self._size = spilled[0], spilled[2], spilled[3]
                del self._output[spilled.output :]
            return None
        text = "".join(self._pieces)
        self._pieces.clear()
        self._length = 0
        if not text and spilled is None:
            return None
        if spilled is None and not self._is_first:
            self._kept.append(",")
        self._is_first = False
        self._kept.append(text)
        self._kept_length += len(text) + 1
        if self._kept_length > _SPILL:
            self._compress()
        return text if spilled is None else None

    def _spill(self) -> None:
        if self._snapshot is None:
            self._compress()
            self._snapshot = _Snapshot(
                self._compressor.copy(), len(self._output), self._crc, self._size
            )
            if not self._is_first:
                self._kept.append(",")
        self._kept += self._pieces
        self._pieces.clear()
        self._length = 0
        self._compress()

    def _compress(self) -> None:
        data = "".join(self._kept).encode("utf-8", "replace")
        self._kept.clear()
        self._kept_length = 0
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._output.append(self._compressor.compress(data))

    def finish(self) -> MetadataChunk:
        """The whole object as one chunk."""
        self._kept.append("}")
        self._compress()
        self._output.append(self._compressor.flush(zlib.Z_FULL_FLUSH))
        return MetadataChunk(b"".join(self._output), self._size, self._crc)

"""The outer layers of a Part 10 file: file meta information, and deflate.

References
----------
PS3.10 7.1, PS3.5 A.5.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

from shared.dicom import tags
from shared.dicom.pixel_notes import PixelNotes
from shared.dicom.vr import EXPLICIT_LE
from shared.errors import NotDicom

IMPLEMENTATION_CLASS_UID: Final = "2.25.80964924260023026244148360240989177478"
IMPLEMENTATION_VERSION_NAME: Final = "SERVERLESS_DICOM"
"""What (0002,0012) and (0002,0013) say in files that the service writes (PS3.10 7.1)."""

_PREAMBLE: Final = 132
_MOST_META_BYTES: Final = 1024 * 1024
_INFLATED_AT_ONCE: Final = 1024 * 1024
_LONGEST_UID: Final = 64
_NO_PIXELS: Final = PixelNotes()


class FileMeta:
    """Reads the preamble and the file meta information.

    Attributes
    ----------
    transfer_syntax_uid : str
        From (0002,0010), once the data set begins.
    length : int
        Bytes from the beginning of the file to that of the data set.
    """

    def __init__(self) -> None:
        self.transfer_syntax_uid = ""
        self.length = 0
        self._buffer = bytearray()
        self._needed = _PREAMBLE

    def feed(self, chunk: bytes) -> bytes | None:
        """Take the next bytes of the file.

        Returns
        -------
        bytes or None
            What is there of the data set, as soon as it begins.

        Raises
        ------
        NotDicom
            There is no preamble, or the file meta information is malformed.
        """
        self._buffer += chunk
        if len(self._buffer) < self._needed:
            return None
        data = bytes(self._buffer)
        if not self.length:
            if data[128:_PREAMBLE] != b"DICM":
                raise NotDicom("There is no DICM prefix behind a preamble of 128 bytes.")
            self.length = _PREAMBLE
        return self._elements(data)

    def _elements(self, data: bytes) -> bytes | None:
        while len(data) >= self.length + 8:
            if data[self.length : self.length + 2] != b"\x02\0":
                self._require_transfer_syntax()
                self._buffer.clear()
                return data[self.length :]
            tag, _, length, start = EXPLICIT_LE.head(data, self.length, _NO_PIXELS)
            end = start + length
            if end > _MOST_META_BYTES:
                raise NotDicom("The file meta information is too long.")
            if end > len(data):
                self._needed = end
                return None
            if tag == tags.TRANSFER_SYNTAX_UID:
                self.transfer_syntax_uid = data[start:end].decode("latin_1").rstrip("\0 ")
            self.length = end
        self._needed = self.length + 8
        return None

    def _require_transfer_syntax(self) -> None:
        text = self.transfer_syntax_uid
        if not 0 < len(text) <= _LONGEST_UID or text.strip("0123456789."):
            raise NotDicom("The transfer syntax UID (0002,0010) is missing or malformed.")


class Inflater:
    """Inflates a data set piece by piece, up to a limit.

    Parameters
    ----------
    limit : int
        Largest size of the inflated data set, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._limit = limit
        self._size = 0

    @property
    def is_complete(self) -> bool:
        """Whether the end of the deflated data has been read."""
        return self._inflater.eof

    def inflate(self, chunk: bytes) -> Iterator[bytes]:
        """The next bytes of the data set, in pieces of at most 1 MiB.

        What follows the deflated data is passed over: padding, or the trailer of gzip, which
        some writers leave there.

        Raises
        ------
        NotDicom
            The data cannot be inflated, or are too large.
        """
        inflater = self._inflater
        while not inflater.eof:
            try:
                data = inflater.decompress(chunk, _INFLATED_AT_ONCE)
            except zlib.error:
                raise NotDicom("The deflated data set cannot be inflated.") from None
            self._size += len(data)
            if self._size > self._limit:
                raise NotDicom("The inflated data set is larger than an instance may be.")
            yield data
            chunk = inflater.unconsumed_tail
            if not chunk and len(data) < _INFLATED_AT_ONCE:
                break  # otherwise zlib may hold back more of it

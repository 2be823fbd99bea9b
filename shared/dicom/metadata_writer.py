"""Write a data set's JSON while it is read, in bounded memory, into one metadata chunk."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

from shared.dicom.instance import MetadataChunk

_LEVEL: Final = 6
_SPILL: Final = 256 * 1024
_PLACE: Final = re.compile("\0([^\0]*)\0")


def place_of(path: str) -> str:
    """What stands in the text for the members of a bulk value until its address is known.

    JSON has no NUL, so it cannot be mistaken for anything else.
    """
    return f"\0{path}\0"


def filled(text: str, members: Callable[[str], str]) -> str:
    """The text with each place for a bulk value filled in by ``members`` of its path."""
    return _PLACE.sub(lambda place: members(place[1]), text) if "\0" in text else text


class _Snapshot(NamedTuple):
    compressor: zlib._Compress
    output: int
    crc: int
    size: int
    has_places: bool
    lead: str


class MetadataWriter:
    """Collects the text of top-level elements; each is kept or left out when it ends.

    A sequence that grows large is compressed before it ends; a copy of the compressor's state
    then makes it possible to leave it out all the same.

    Attributes
    ----------
    members : callable or None
        JSON members of a bulk value by its path; ``None`` until the UIDs are known, on which
        addresses depend. Should places for them be compressed before, ``finish`` writes the
        whole again.
    """

    def __init__(self) -> None:
        self.members: Callable[[str], str] | None = None
        self._kept: list[str] = []  # whole elements
        self._kept_length = 0
        self._lead = "{"  # before the next element that is compressed
        self._pieces: list[str] = []  # of the current one
        self._length = 0
        self._snapshot: _Snapshot | None = None
        self._restart()

    def _restart(self) -> None:
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._output: list[bytes] = []
        self._crc = 0
        self._size = 0
        self._has_places = False

    def element(self, text: str) -> None:
        """Write a whole top-level element, ``"ggggeeee":{…}``."""
        self._kept.append(text)
        self._kept_length += len(text)
        if self._kept_length > _SPILL:
            self._compress_kept()

    def add(self, text: str) -> None:
        """Add text to the current top-level element, which ``end`` ends."""
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
        text = "".join(self._pieces)
        self._pieces.clear()
        self._length = 0
        if not keep:
            if spilled is not None:
                self._return_to(spilled)
            return None
        if spilled is None:
            self.element(text)
            return text
        self._compress(text)
        return None

    def _spill(self) -> None:
        """Compress what there is of the current element."""
        lead = ""
        if self._snapshot is None:
            self._compress_kept()
            self._snapshot = _Snapshot(
                self._compressor.copy(),
                len(self._output),
                self._crc,
                self._size,
                self._has_places,
                self._lead,
            )
            lead, self._lead = self._lead, ","
        self._compress(lead + "".join(self._pieces))
        self._pieces.clear()
        self._length = 0

    def _return_to(self, snapshot: _Snapshot) -> None:
        del self._output[snapshot.output :]
        (self._compressor, _, self._crc, self._size, self._has_places, self._lead) = snapshot

    def _compress_kept(self) -> None:
        if self._kept:
            self._compress(self._lead + ",".join(self._kept))
            self._lead = ","
            self._kept.clear()
            self._kept_length = 0

    def _compress(self, text: str) -> None:
        if self.members is not None:
            text = filled(text, self.members)
        elif "\0" in text:
            self._has_places = True
        data = text.encode("utf-8", "replace")
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._output.append(self._compressor.compress(data))

    def finish(self) -> MetadataChunk:
        """The whole object as one chunk; ``members`` is known by now if there are bulk values."""
        self._compress_kept()
        self._compress("{}" if self._lead == "{" else "}")
        if self._has_places and self.members is not None:
            self._write_again()
        self._output.append(self._compressor.flush(zlib.Z_FULL_FLUSH))
        return MetadataChunk(b"".join(self._output), self._size, self._crc)

    def _write_again(self) -> None:
        written = [*self._output, self._compressor.flush()]
        self._restart()
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        rest = b""
        for deflated in written:
            data = rest + inflater.decompress(deflated)
            # cut before the last NUL of an open place, else behind the last quote: both are ASCII
            end = data.rfind(b"\0") if data.count(b"\0") % 2 else data.rfind(b'"') + 1
            rest = data[end:]
            self._compress(data[:end].decode())
        self._compress(rest.decode())

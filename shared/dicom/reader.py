"""Read a Part 10 file as it arrives, in pieces of any size, holding little of it.

One pass yields all that the index and later retrievals need: the UIDs, the DICOM JSON of the data
set, and where bulk data and frames are. Values over 64 KiB are passed by, whatever they are. The
structure is checked to the last byte.

The layers, from the outside: ``part10`` (file meta information, deflate), ``data_set`` (grammar),
``contents`` (what is kept of each element).

References
----------
PS3.10 7 (file format), PS3.5 7 (data set), PS3.5 A (transfer syntaxes), PS3.18 F (JSON model).
"""

from __future__ import annotations

from collections.abc import Callable

from shared.config import Limits
from shared.dicom import transfer_syntax
from shared.dicom.contents import INLINE_BYTES, Contents
from shared.dicom.data_set import KEPT_BYTES, DataSetReader
from shared.dicom.instance import Checker, Identifiers, InstanceFacts
from shared.dicom.part10 import FileMeta, Inflater
from shared.dicom.vr import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, Encoding
from shared.errors import NotDicom

__all__ = ["INLINE_BYTES", "KEPT_BYTES", "InstanceReader"]


class InstanceReader:
    """Push parser of one Part 10 file.

    Parameters
    ----------
    limits : Limits
        Bytes before pixel data, nesting and number of elements, size.
    wanted : frozenset[int]
        Top-level elements to be given as ``InstanceFacts.attributes``.
    checker : Checker or None
        Looks at each element as it is read.
    bulk_data_uri : callable or None
        Address of a bulk value from the UIDs and its path; ``None`` leaves bulk values out.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        wanted: frozenset[int],
        checker: Checker | None,
        bulk_data_uri: Callable[[Identifiers, str], str] | None,
    ) -> None:
        self._limits = limits
        self._contents = Contents(wanted=wanted, checker=checker, bulk_data_uri=bulk_data_uri)
        self._meta = FileMeta()
        self._inflater: Inflater | None = None
        self._data_set: DataSetReader | None = None
        self._size = 0

    @property
    def identifiers(self) -> Identifiers | None:
        """The UIDs, as soon as the data set has passed (0020,000E), or ended."""
        return self._contents.identifiers

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the file.

        Raises
        ------
        NotDicom
            They cannot be part of a DICOM file, or break a limit.
        """
        self._size += len(chunk)
        data_set, rest = self._data_set, chunk
        if data_set is None:
            behind_meta = self._meta.feed(chunk)
            if behind_meta is None:
                return
            data_set, rest = self._begin(), behind_meta
        if self._inflater is None:
            data_set.feed(rest)
            return
        for piece in self._inflater.inflate(rest):
            data_set.feed(piece)

    def _begin(self) -> DataSetReader:
        syntax = self._meta.transfer_syntax_uid
        is_deflated = transfer_syntax.is_deflated(syntax)
        if is_deflated:
            self._inflater = Inflater(self._limits.instance_bytes)
        offset = 0 if is_deflated else self._meta.length
        self._data_set = DataSetReader(self._contents, self._limits, _encoding(syntax), offset)
        return self._data_set

    def finish(self) -> InstanceFacts:
        """The facts, after the last byte.

        Raises
        ------
        NotDicom
            The file is not complete.
        """
        if self._data_set is None:
            raise NotDicom("The file ends before its data set begins.")
        if self._inflater is not None and not self._inflater.is_complete:
            raise NotDicom("The deflated data set is cut off.")
        self._data_set.finish()
        contents, syntax = self._contents, self._meta.transfer_syntax_uid
        return InstanceFacts(
            identifiers=contents.identify(),
            transfer_syntax_uid=syntax,
            attributes=contents.attributes(),
            metadata=contents.writer.finish(),
            bulk=contents.bulk,
            frames=contents.pixels.frames(syntax, contents.fragments),
            size=self._size,
        )


def _encoding(syntax: str) -> Encoding:
    if transfer_syntax.is_implicit(syntax):
        return IMPLICIT_LE
    return EXPLICIT_BE if transfer_syntax.is_big_endian(syntax) else EXPLICIT_LE

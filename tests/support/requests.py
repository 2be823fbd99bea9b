"""Bodies of store requests, for tests over HTTP."""

from __future__ import annotations

from collections.abc import Iterable

DICOM = {"Content-Type": "application/dicom"}
MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}


def multipart(files: Iterable[bytes]) -> bytes:
    """A multipart body of Part 10 files, for ``MULTIPART``."""
    parts = (b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
    return b"".join(parts) + b"--b--\r\n"

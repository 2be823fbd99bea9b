"""Bodies of store requests, for tests over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable

DICOM = {"Content-Type": "application/dicom"}
MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}


def multipart(files: Iterable[bytes]) -> bytes:
    """A multipart body of Part 10 files, for ``MULTIPART``."""
    parts = (b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n" for data in files)
    return b"".join(parts) + b"--b--\r\n"


JSON_MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=b'}


def bulk_request(metadata: object, *bulk: tuple[str, str, bytes]) -> bytes:
    """A multipart body of metadata and bulk data, for ``JSON_MULTIPART``.

    Parameters
    ----------
    metadata : object
        An array of data sets in the DICOM JSON model.
    *bulk : tuple
        Media type, location and content of each further part.
    """
    parts = [
        b"--b\r\nContent-Type: application/dicom+json\r\n\r\n"
        + json.dumps(metadata).encode()
        + b"\r\n"
    ]
    parts += [
        f"--b\r\nContent-Type: {kind}\r\nContent-Location: {location}\r\n\r\n".encode()
        + data
        + b"\r\n"
        for kind, location, data in bulk
    ]
    return b"".join(parts) + b"--b--\r\n"

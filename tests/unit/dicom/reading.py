"""Read a file in memory, and take its metadata apart as strictly as any JSON parser would."""

from __future__ import annotations

import json
import math
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_files

from shared.config import Limits
from shared.dicom.frames import FrameTable
from shared.dicom.instance import Checker, Identifiers, InstanceFacts, MetadataChunk
from shared.dicom.reader import InstanceReader

ALL = frozenset({0x00080018, 0x00080020, 0x00080060, 0x00100010, 0x00100020, 0x0020000D})


def address(identifiers: Identifiers, path: str) -> str:
    """Where tests say that bulk values are."""
    return f"/{identifiers.study_instance_uid}/{identifiers.series_instance_uid}/{path}"


def facts_of(
    pieces: bytes | Iterable[bytes],
    *,
    limits: Limits | None = None,
    checker: Checker | None = None,
    bulk: bool = True,
    wanted: frozenset[int] = ALL,
) -> InstanceFacts:
    """The facts of a file, or of its pieces."""
    reader = InstanceReader(
        limits=limits or Limits(),
        wanted=wanted,
        checker=checker,
        bulk_data_uri=address if bulk else None,
    )
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        reader.feed(piece)
    return reader.finish()


def text_of(chunk: MetadataChunk) -> bytes:
    """The JSON text of a metadata chunk, its size and CRC checked."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    text = inflater.decompress(chunk.deflated)
    assert not inflater.eof, "another chunk can follow"
    assert (len(text), zlib.crc32(text)) == (chunk.size, chunk.crc32)
    return text


def parsed(text: bytes) -> Any:
    """JSON, without what only Python's parser takes."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    def constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    def finite(number: str) -> float:
        assert math.isfinite(float(number)), number
        return float(number)

    return json.loads(
        text.decode(), object_pairs_hook=unique, parse_constant=constant, parse_float=finite
    )


def metadata_of(pieces: bytes | Iterable[bytes], **options: Any) -> Any:
    """The DICOM JSON of a file."""
    return parsed(text_of(facts_of(pieces, **options).metadata))


def frames_of(data: bytes) -> list[bytes]:
    """All frames of a file that is not deflated, by its frame table as a document keeps it."""
    table = table_of(data)
    found = []
    for number in range(1, table.count + 1):
        place = table.frame(number)
        found.append(place.cut(data[place.covering.offset : place.covering.end]))
    return found


def table_of(pieces: bytes | Iterable[bytes]) -> FrameTable:
    """The frame table of a file that has pixel data."""
    frames = facts_of(pieces).frames
    assert frames is not None
    return FrameTable.from_json(json.loads(json.dumps(frames)))


def bundled() -> list[Path]:
    """The files that pydicom ships, large ones that it would have to fetch apart."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = get_testdata_files()
    paths = {Path(name) for name in names}
    return sorted(
        path
        for path in paths
        if path.is_file() and path.suffix in ("", ".dcm") and path.name != "README"
    )

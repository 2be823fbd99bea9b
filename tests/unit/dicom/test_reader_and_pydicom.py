"""Every file that pydicom ships, read here and there, element by element."""

from __future__ import annotations

import base64
import math
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import iter_pixels

from shared.dicom import transfer_syntax
from shared.dicom.frames import FrameTable
from shared.dicom.instance import InstanceFacts
from shared.dicom.json_model import BULK_VRS
from shared.dicom.pixels import can_decode, decode_frame
from shared.errors import NotDicom, UnusablePixelData
from tests.unit.dicom.reading import address, bundled, facts_of, parsed, text_of

REFUSED = {
    "DICOMDIR-nooffset": "an item overruns its sequence",
    "ExplVR_BigEndNoMeta.dcm": "no preamble",
    "ExplVR_LitEndNoMeta.dcm": "no preamble",
    "meta_missing_tsyntax.dcm": "no transfer syntax",
    "MR_truncated.dcm": "pixel data cut off",
    "no_meta.dcm": "no preamble",
    "rtplan_truncated.dcm": "cut off",
    "rtstruct.dcm": "no preamble",
    "SC_rgb_jpeg.dcm": "claims explicit VR, is implicit",
}
# The codestream is cut short, or no decoder here takes it.
UNDECODABLE = {"JPEG-lossy.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}
NO_DESCRIPTION = {"nested_priv_SQ.dcm"}  # two bytes of pixel data, and no word of how
NO_FRAME_COUNT = {"badVR.dcm"}  # "1A": pydicom gives no frames, the service takes it for one

_FILES = bundled()


@pytest.fixture(autouse=True)
def _pydicom_as_in_the_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pydicom.config, "replace_un_with_known_vr", True)
    monkeypatch.setattr(pydicom.config, "convert_wrong_length_to_UN", False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _both(path: Path) -> tuple[InstanceFacts, Dataset, bytes]:
    if path.name in REFUSED:
        pytest.skip(REFUSED[path.name])
    data = path.read_bytes()
    facts = facts_of(data)
    source = data
    if transfer_syntax.is_deflated(facts.transfer_syntax_uid):
        start = 144 + int.from_bytes(data[140:144], "little")
        source = zlib.decompressobj(-15).decompress(data[start:])
    return facts, pydicom.dcmread(path), source


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_a_file_is_read_or_refused_for_a_known_reason(path: Path) -> None:
    data = path.read_bytes()
    if path.name in REFUSED:
        with pytest.raises(NotDicom):
            facts_of(data)
        return
    facts, ds, _ = _both(path)
    assert facts.size == len(data)
    assert facts.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID
    for name, keyword in (
        ("sop_class_uid", "SOPClassUID"),
        ("sop_instance_uid", "SOPInstanceUID"),
        ("study_instance_uid", "StudyInstanceUID"),
        ("series_instance_uid", "SeriesInstanceUID"),
    ):
        if keyword in ds:
            assert getattr(facts.identifiers, name) == ds[keyword].value
        else:
            assert getattr(facts.identifiers, name) is None
    found = parsed(text_of(facts.metadata))
    assert all(found[tag] == element for tag, element in facts.attributes.items())


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_every_element_is_what_pydicom_reads(path: Path) -> None:
    facts, ds, source = _both(path)
    bulk = dict(facts.bulk)
    found = parsed(text_of(facts.metadata))
    implicit = transfer_syntax.is_implicit(facts.transfer_syntax_uid)
    _Comparison(facts, bulk, source, implicit=implicit).data_set(found, ds, "")
    assert not bulk, "bulk values that the metadata do not name"


class _Comparison:
    def __init__(
        self, facts: InstanceFacts, bulk: dict[str, Any], source: bytes, *, implicit: bool
    ) -> None:
        self.facts, self.bulk, self.source, self.implicit = facts, bulk, source, implicit

    def data_set(self, found: dict[str, Any], ds: Dataset, path: str) -> None:
        there = {f"{e.tag:08X}": e for e in ds if e.tag.element and e.tag != 0xFFFCFFFC}
        for key, element in there.items():
            if key not in found:
                assert element.VR == "UN" or element.tag.is_private, (path, key)
                assert self.implicit or "." in path, (path, key)
                continue
            with_path = f"{path}{key}"
            self.element(found[key], element, with_path)
        assert found.keys() <= there.keys(), path
        assert list(found) == sorted(found) or path

    def element(self, found: dict[str, Any], element: DataElement, path: str) -> None:
        vr = found["vr"]
        if vr == "UN" and element.tag.is_private:
            self.bulk.pop(path, None)
            return  # pydicom has a dictionary of private elements
        if not (element.VR == "UN" and vr in ("LO", "SQ")):
            assert vr == element.VR or {vr, element.VR} <= {"OB", "OW", "US", "SS"}, path
        if vr == "SQ":
            items = found.get("Value", [])
            assert len(items) == len(element.value), path
            for number, (item, ds) in enumerate(zip(items, element.value, strict=True), 1):
                self.data_set(item, ds, f"{path}.{number}.")
        elif vr in BULK_VRS:
            self.bytes(found, element, path)
        elif element.VR not in ("UN", "OB", "OW"):
            value = element.value
            several = isinstance(value, (list, pydicom.multival.MultiValue))
            values = list(value) if several else [] if value in (None, "") else [value]
            shown = found.get("Value", [])
            assert len(shown) == len(values), (path, found, value)
            for one, other in zip(shown, values, strict=True):
                assert _is_same(one, other, vr), (path, one, other)

    def bytes(self, found: dict[str, Any], element: DataElement, path: str) -> None:
        if "BulkDataURI" in found:
            assert found["BulkDataURI"] == address(self.facts.identifiers, path)
            if path in self.bulk:
                offset, length = self.bulk.pop(path)
                if element.VR in BULK_VRS:
                    assert self.source[offset : offset + length] == element.value, path
            else:
                assert element.is_undefined_length, path
        elif not transfer_syntax.is_big_endian(self.facts.transfer_syntax_uid):
            value = base64.b64decode(found.get("InlineBinary", ""))
            assert value == (element.value or b""), path


def _is_same(one: Any, other: Any, vr: str) -> bool:
    if vr == "PN":
        names = {
            "Alphabetic": other.alphabetic,
            "Ideographic": other.ideographic,
            "Phonetic": other.phonetic,
        }
        return (one or {}) == {name: text for name, text in names.items() if text}
    if vr == "AT":
        return bool(one == f"{other:08X}")
    if isinstance(one, (int, float)):
        return math.isclose(one, float(other), rel_tol=1e-12)
    if vr in ("FL", "FD"):
        return math.isclose(float(one), other) or math.isnan(other)
    return (one or "").strip() == str(other).strip()


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.name)
def test_every_frame_is_where_pydicom_finds_it(path: Path) -> None:
    facts, ds, source = _both(path)
    if facts.frames is None:
        assert not ds.get("PixelData")
        return
    table = FrameTable.from_json(facts.frames)
    if path.name in NO_DESCRIPTION:
        with pytest.raises(UnusablePixelData):
            table.frame(1)
        return
    frames = []
    for number in range(1, table.count + 1):
        place = table.frame(number)
        frames.append(place.cut(source[place.covering.offset : place.covering.end]))
    if table.is_encapsulated:
        extended = None
        if "ExtendedOffsetTable" in ds:
            extended = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
        theirs = generate_frames(
            ds.PixelData, number_of_frames=table.count, extended_offsets=extended
        )
        for ours, their in zip(frames, theirs, strict=True):
            assert ours.startswith(their)
            assert len(ours) - len(their) <= 1, "no more than a pad byte"
    elif path.name not in NO_FRAME_COUNT:
        assert table.count == int(ds.get("NumberOfFrames") or 1)
        assert all(len(frame) == (table.pixels.frame_bits() + 7) // 8 for frame in frames)
    if path.name not in UNDECODABLE | NO_FRAME_COUNT:
        _compare_pixels(frames, table, ds)


def _compare_pixels(frames: list[bytes], table: FrameTable, ds: Dataset) -> None:
    if table.is_encapsulated and not can_decode(table.pixels):
        return
    for ours, theirs in zip(frames, iter_pixels(ds, raw=True), strict=True):
        native = decode_frame(ours, table.pixels).data if table.is_encapsulated else ours
        expected = theirs.astype(theirs.dtype.newbyteorder("<")).tobytes()
        if table.pixels.bits_allocated == 1:
            expected = np.packbits(theirs.ravel(), bitorder="little").tobytes()
        elif table.pixels.planar_configuration == 1 and not table.is_encapsulated:
            expected = np.moveaxis(theirs, -1, 0).tobytes()
        elif len(native) < len(expected):  # 4:2:2, which pydicom spreads out
            assert table.pixels.photometric_interpretation == "YBR_FULL_422"
            continue
        assert native == expected

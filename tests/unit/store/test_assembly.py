"""Store of metadata and bulk data: the files made are what a sender would have sent."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from shared.config import Limits
from shared.errors import DicomServiceError, MalformedRequest, PayloadTooLarge
from shared.store.assembly import instances
from shared.store.intake import RefusedByRules
from shared.web.multipart import Part
from tests.support import dicom

_JSON = "application/dicom+json"
_OCTETS = "application/octet-stream"
_LIMITS = Limits()
_URI = "bulk/1"


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


async def _made(
    data_sets: Any, *bulk: tuple[str, str | None, bytes], limits: Limits = _LIMITS
) -> list[bytes]:
    async def parts() -> AsyncIterator[Part]:
        text = data_sets if isinstance(data_sets, bytes) else json.dumps(data_sets).encode()
        yield Part({"content-type": _JSON}, _pieces(text))
        for kind, location, data in bulk:
            headers = {"content-type": kind}
            if location is not None:
                headers["content-location"] = location
            yield Part(headers, _pieces(data))

    async with aclosing(instances(parts(), limits)) as files:
        return [b"".join([piece async for piece in content]) async for content in files]


def _model(ds: Dataset, **bulk: str) -> dict[str, Any]:
    """The JSON of a data set; bulk values by keyword are replaced by their URIs."""
    copy = deepcopy(ds)
    for keyword in bulk:
        if keyword in copy:
            del copy[keyword]
    found = copy.to_json_dict()
    for keyword, uri in bulk.items():
        tag = pydicom.datadict.tag_for_keyword(keyword)
        assert tag is not None
        found[f"{tag:08X}"] = {"vr": pydicom.datadict.dictionary_VR(tag)[:2], "BulkDataURI": uri}
    return found


def _read(data: bytes) -> pydicom.FileDataset:
    return pydicom.dcmread(io.BytesIO(data))


async def _comment(data_sets: Any, *bulk: tuple[str, str | None, bytes]) -> str:
    with pytest.raises(RefusedByRules) as refused:
        await _made(data_sets, *bulk)
    row = refused.value.row
    assert row.reason == 43264
    assert row.comments is not None
    [comment] = row.comments
    return comment


def _image(**attributes: Any) -> Dataset:
    return dicom.instance(**({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7} | attributes))


async def test_native_pixels_give_the_same_data_set() -> None:
    ds = dicom.ct(PatientName="Bäckström^Ärla=山田", Rows=4)
    [data] = await _made([_model(ds, PixelData=_URI)], (_OCTETS, _URI, ds.PixelData))
    found = _read(data)
    ds.SpecificCharacterSet = "ISO_IR 192"
    assert found.file_meta.TransferSyntaxUID == dicom.EXPLICIT_LE
    assert found.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert Dataset(found) == ds


async def test_every_vr_is_encoded_as_pydicom_does() -> None:
    ds = dicom.ct()
    ds.add_new(0x00720060, "AT", [0x00080018, 0x7FE00010])
    ds.add_new(0x00189810, "FD", [1.5, -2.25])
    ds.add_new(0x00720076, "FL", [0.5])
    ds.add_new(0x00660031, "OD", struct.pack("<d", 1.5))
    ds.add_new(0x00720078, "UL", [4_000_000_000])
    ds.add_new(0x0072007C, "SL", [-7])
    ds.add_new(0x0072007E, "SS", [-3, 4])
    ds.add_new(0x00720082, "SV", [-(2**60)])
    ds.add_new(0x00720083, "UV", [2**63])
    ds.add_new(0x00204000, "LT", "a\\b\nc")
    ds.add_new(0x0040A160, "UT", "long" * 20_000)
    ds.add_new(0x00081190, "UR", "http://host/x?y=1")
    ds.OtherPatientNames = ["A^B", "C=D"]
    ds.RequestAttributesSequence = [
        dicom.item(ScheduledProcedureStepID="1", RequestedProcedureID="2"), Dataset(),
    ]  # fmt: skip
    [data] = await _made([_model(ds)])
    assert Dataset(_read(data)) == ds


async def test_several_instances_and_parts_in_any_order() -> None:
    first, second = dicom.ct(), dicom.ct(PixelData=bytes(range(100, 132)))
    made = await _made(
        [_model(first, PixelData="a"), _model(second, PixelData="b")],
        (_OCTETS, "b", second.PixelData),
        (_OCTETS, "a", first.PixelData),
    )
    assert [_read(data).PixelData for data in made] == [first.PixelData, second.PixelData]


@pytest.mark.parametrize(
    ("kind", "frame", "syntax"),
    [
        ("image/jpeg", dicom.jpeg(), dicom.JPEG_BASELINE),
        ("image/jp2", dicom.jpeg_2000(16, 16), dicom.JPEG_2000),
        ("image/dicom-rle", bytes(64) + b"\x0f\0", dicom.RLE),
    ],
)
async def test_compressed_frames_are_encapsulated(kind: str, frame: bytes, syntax: str) -> None:
    ds = _image(Rows=16, Columns=16, NumberOfFrames=2, PixelData=None)
    [data] = await _made([_model(ds, PixelData=_URI)], (kind, _URI, frame), (kind, _URI, frame))
    found = _read(data)
    assert found.file_meta.TransferSyntaxUID == syntax
    frames = list(pydicom.encaps.generate_frames(found.PixelData, number_of_frames=2))
    assert [each[: len(frame)] for each in frames] == [frame, frame]
    if syntax == dicom.JPEG_BASELINE:
        assert found.pixel_array.shape == (2, 16, 16)


async def test_the_codestream_of_a_jp2_file_is_taken_out() -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (16, 16), 7).save(buffer, "JPEG2000", irreversible=False)
    assert buffer.getvalue()[4:8] == b"jP  "
    ds = _image(Rows=16, Columns=16, PixelData=None)
    [data] = await _made([_model(ds, PixelData=_URI)], ("image/jp2", _URI, buffer.getvalue()))
    assert (_read(data).pixel_array == 7).all()


@pytest.mark.parametrize(
    "bundled",
    ["SC_rgb_jpeg_gdcm.dcm", "JPEG-lossy.dcm", "MR_small_jpeg_ls_lossless.dcm", "JPEG2000.dcm"],
)
async def test_frames_of_bundled_files_keep_their_syntax(bundled: str) -> None:
    name = pydicom.data.get_testdata_file(bundled)
    assert isinstance(name, str)
    ds = pydicom.dcmread(name)
    frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))
    syntax = str(ds.file_meta.TransferSyntaxUID)
    family = {"5": "image/jpeg", "7": "image/jpeg", "8": "image/jls", "9": "image/jp2"}
    kind = family[syntax.rsplit(".", 1)[1][0]]
    [data] = await _made(
        [_model(Dataset(ds), PixelData=_URI)],
        (f"{kind}; transfer-syntax={syntax}", _URI, frame),
    )
    found = _read(data)
    assert found.file_meta.TransferSyntaxUID == syntax
    assert next(pydicom.encaps.generate_frames(found.PixelData, number_of_frames=1)) == frame


@pytest.mark.parametrize(("bits", "samples"), [(8, 1), (16, 1), (8, 3)])
async def test_a_png_is_decoded(bits: int, samples: int) -> None:
    from PIL import Image

    shape = (4, 6) if samples == 1 else (4, 6, samples)
    array = np.arange(4 * 6 * samples).reshape(shape).astype(f"u{bits // 8}") * (
        257 if bits > 8 else 1
    )
    buffer = io.BytesIO()
    Image.fromarray(array.astype(f"<u{bits // 8}")).save(buffer, "PNG")
    ds = _image(
        Rows=4, Columns=6, BitsAllocated=bits, BitsStored=bits, HighBit=bits - 1,
        SamplesPerPixel=samples, PixelData=None,
        PhotometricInterpretation="RGB" if samples == 3 else "MONOCHROME2",
        PlanarConfiguration=0 if samples == 3 else None,
    )  # fmt: skip
    [data] = await _made([_model(ds, PixelData=_URI)], ("image/png", _URI, buffer.getvalue()))
    found = _read(data)
    assert found.file_meta.TransferSyntaxUID == dicom.EXPLICIT_LE
    assert (found.pixel_array == array).all()


async def test_documents_and_bulk_data_in_sequences() -> None:
    ds = dicom.instance(PixelData=None, Rows=None, Columns=None)
    pdf = b"%PDF-1.4 odd"[:-1]
    item = {"5400100A": {"vr": "OW", "BulkDataURI": "w"}, "54001004": {"vr": "US", "Value": [16]}}
    model = _model(ds, EncapsulatedDocument=_URI) | {"54000100": {"vr": "SQ", "Value": [item]}}
    [data] = await _made([model], ("application/pdf", _URI, pdf), (_OCTETS, "w", b"\1\0\2\0"))
    found = _read(data)
    assert found.EncapsulatedDocument == pdf + b"\0"
    assert found.WaveformSequence[0][0x5400100A].value == b"\1\0\2\0"


async def test_a_video_is_one_fragment() -> None:
    ds = _image(Rows=16, Columns=16, NumberOfFrames=50, PixelData=None)
    [data] = await _made([_model(ds, PixelData=_URI)], ("video/mp4", _URI, b"movie" * 5))
    found = _read(data)
    assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.102"
    assert b"movie" * 5 in found.PixelData


# What is refused --------------------------------------------------------------------------


def _png_head(rows: int, columns: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
        + struct.pack(">I", zlib.crc32(header)) + b"rest"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bulk", "culprit"),
    [
        ([], "(7fe0,0010) - No part has the BulkDataURI"),
        ([(_OCTETS, 255)], "(7fe0,0010) - There are 255 bytes, and 256 by the data set"),
        ([(_OCTETS, 258)], "(7fe0,0010) - There are 258 bytes"),
        ([("image/jpeg", dicom.jpeg()), ("image/jpeg", dicom.jpeg())], "2 parts, and 1 frames"),
        ([("image/jpeg", dicom.jpeg(32, 16))], "part 2 has 32 rows and 16 columns"),
        ([("image/jpeg", dicom.jpeg(colour=True))], "part 2 has other samples"),
        ([("image/jpeg", b"no image")], "part 2 is no image/jpeg"),
        ([("image/jp2", dicom.jpeg())], "part 2 is no image/jp2"),
        ([("image/jpeg; transfer-syntax=1.2.3", dicom.jpeg())], "part 2 has a transfer syntax"),
        (
            [("image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.70", dicom.jpeg())],
            "part 2 is not of the transfer syntax",
        ),
        ([("image/png", b"no image")], "part 2 is no PNG"),
        ([("image/png", _png_head(100_000, 100_000))], "part 2 has 100000 rows"),
        ([("image/png", _png_head(16, 16))], "part 2 is no PNG that can be decoded"),
    ],
)  # fmt: skip
async def test_pixels_that_are_not_what_the_data_set_says(
    bulk: Sequence[tuple[str, bytes | int]], culprit: str
) -> None:
    ds = _image(Rows=16, Columns=16, PixelData=None)
    parts = [(kind, _URI, data if isinstance(data, bytes) else bytes(data)) for kind, data in bulk]
    comment = await _comment([_model(ds, PixelData=_URI)], *parts)
    assert comment.startswith("DICOM100: (7fe0,0010) - ")
    assert culprit.lower() in comment.lower()


async def test_a_jpeg_that_claims_to_be_huge_is_refused_before_decoding() -> None:
    frame = bytearray(dicom.jpeg())
    at = frame.index(b"\xff\xc0")
    frame[at + 5 : at + 9] = struct.pack(">HH", 65_535, 65_535)
    ds = _image(Rows=16, Columns=16, PixelData=None)
    comment = await _comment([_model(ds, PixelData=_URI)], ("image/jpeg", _URI, bytes(frame)))
    assert "65535 rows" in comment


async def test_a_png_of_many_pixels_is_refused_though_the_data_set_agrees() -> None:
    ds = _image(Rows=60_000, Columns=60_000, PixelData=None)
    comment = await _comment(
        [_model(ds, PixelData=_URI)], ("image/png", _URI, _png_head(60_000, 60_000))
    )
    assert "PNG may have at most" in comment


async def test_a_png_is_not_planar() -> None:
    ds = _image(Rows=16, Columns=16, SamplesPerPixel=3, PlanarConfiguration=1, PixelData=None)
    comment = await _comment([_model(ds, PixelData=_URI)], ("image/png", _URI, _png_head(16, 16)))
    assert comment == "DICOM100: (0028,0006) - The samples of a PNG are interleaved."


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "SamplesPerPixel", "BitsAllocated"])
async def test_an_attribute_that_pixels_need_is_named(keyword: str) -> None:
    ds = _image(PixelData=None, **{keyword: None})
    comment = await _comment([_model(ds, PixelData=_URI)], (_OCTETS, _URI, bytes(16)))
    tag = pydicom.datadict.tag_for_keyword(keyword)
    assert tag is not None
    assert f"({tag >> 16:04x},{tag & 0xFFFF:04x})" in comment


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("00080060", {"vr": "CS", "Value": [5]}),
        ("00080060", {"vr": "CS", "Value": "CT"}),
        ("00080060", {"vr": "XX", "Value": ["CT"]}),
        ("00080060", {"vr": ["CS"]}),
        ("00080060", "CT"),
        ("00100010", {"vr": "PN", "Value": [{"Alphabetic": 5}]}),
        ("00100010", {"vr": "PN", "Value": [["A"]]}),
        ("00200013", {"vr": "IS", "Value": [1.5]}),
        ("00200013", {"vr": "IS", "Value": [True]}),
        ("00280030", {"vr": "DS", "Value": [float("nan")]}),
        ("00280010", {"vr": "US", "Value": [70_000]}),
        ("00280010", {"vr": "US", "Value": [-1]}),
        ("00280010", {"vr": "US", "Value": ["x"]}),
        ("00720060", {"vr": "AT", "Value": ["0008"]}),
        ("00420011", {"vr": "OB", "Value": [1]}),
        ("00420011", {"vr": "OB", "InlineBinary": "%%"}),
        ("00420011", {"vr": "OB", "InlineBinary": 7}),
        ("00420011", {"vr": "OB", "InlineBinary": "AA==", "BulkDataURI": "x"}),
        ("00420011", {"vr": "OB", "BulkDataURI": 5}),
        ("00400275", {"vr": "SQ", "Value": ["x"]}),
        ("00400275", {"vr": "SQ", "BulkDataURI": "x"}),
        ("00204000", {"vr": "LT", "Value": ["a", "b"]}),
        ("00204000", {"vr": "LT", "Value": ["x" * 70_000]}),
        ("00204000", {"vr": "LT", "Value": ["\ud800"]}),
    ],
)
async def test_an_element_that_breaks_the_model_is_named(name: str, member: Any) -> None:
    comment = await _comment([_model(dicom.instance()) | {name: member}])
    assert f"({name[:4]},{name[4:]})" in comment


async def test_names_that_are_no_tags_and_nesting_without_end() -> None:
    assert "no tag" in await _comment([{"PatientName": {"vr": "PN"}}])
    assert "twice" in await _comment([{"0020000d": {"vr": "UI"}, "0020000D": {"vr": "UI"}}])
    nested: dict[str, Any] = {}
    for _ in range(200):
        nested = {"00400275": {"vr": "SQ", "Value": [nested]}}
    assert "nested more than 128" in await _comment([nested])


@pytest.mark.parametrize(
    ("metadata", "bulk", "culprit"),
    [
        (b"{", [], "Part 1 is no JSON"),
        (b"[" * 100_000, [], "Part 1 is no JSON"),
        (b"5", [], "Part 1 is no array"),
        (b"[[]]", [], "Part 1 is no array"),
        (b"[{}]", [(_OCTETS, None, b"x")], "Part 2 has no Content-Location"),
        (b"[{}]", [(_OCTETS, "x", b"x")], "Part 2 has a Content-Location that no data set"),
        (b"[{}]", [("", "x", b"x")], "Part 2 has no media type"),
    ],
)
async def test_parts_that_are_none_refuse_the_request(
    metadata: bytes, bulk: list[tuple[str, str | None, bytes]], culprit: str
) -> None:
    with pytest.raises(MalformedRequest, match=culprit):
        await _made(metadata, *bulk)


@pytest.mark.parametrize("limit", ["metadata_bytes", "bulk_data_bytes"])
async def test_limits(limit: str) -> None:
    ds = dicom.ct()
    with pytest.raises(PayloadTooLarge, match="at most 20 bytes"):
        await _made(
            [_model(ds, PixelData=_URI)],
            (_OCTETS, _URI, ds.PixelData),
            limits=replace(_LIMITS, **{limit: 20}),
        )


async def test_what_is_not_json_first_is_refused() -> None:
    async def parts() -> AsyncIterator[Part]:
        yield Part({"content-type": "image/jpeg"}, _pieces(b"x"))

    with pytest.raises(DicomServiceError, match="Part 1"):
        async with aclosing(instances(parts(), _LIMITS)) as files:
            await anext(files)


async def test_inline_values_and_missing_ones() -> None:
    model = _model(dicom.instance(PixelData=None))
    model["00420011"] = {"vr": "OB", "InlineBinary": base64.b64encode(b"abc").decode()}
    model["00080090"] = {"vr": "PN"}
    model["00081030"] = {"Value": ["no VR"]}
    model["00100020"] = {"vr": "LO", "Value": [None]}
    model["00020010"] = {"vr": "UI", "Value": ["1.2"]}
    [data] = await _made([model])
    found = _read(data)
    assert found.EncapsulatedDocument == b"abc\0"
    assert found.StudyDescription == "no VR"
    assert not found.PatientID
    assert found.file_meta.TransferSyntaxUID == dicom.EXPLICIT_LE

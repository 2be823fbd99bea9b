"""Small synthetic data sets and Part 10 files for all tests. No patient is real.

``base()`` is the file called BASE in the list of bug reports: a 4 × 4 CT. The factories for
modalities (``ct``, ``mr``, ``multi_frame``, …) give a ``pydicom.Dataset`` with fresh UIDs, which
``part10`` turns into bytes. Attributes are given by keyword, checked by nobody; ``None`` leaves
one out. What pydicom would refuse to write is spliced in as bytes (``element``, ``splice``).
"""

from __future__ import annotations

import io
import struct
import uuid
import zlib
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID

EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
EXPLICIT_BE = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
HEVC = "1.2.840.10008.1.2.4.107"
RLE = "1.2.840.10008.1.2.5"

STUDY, SERIES, INSTANCE = "2.25.101", "2.25.102", "2.25.103"
"""The UIDs of BASE."""

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"

_LONG_VRS = frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
)


def new_uid() -> str:
    """A fresh UID below 2.25 (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


# Data sets --------------------------------------------------------------------------------


def instance(**attributes: Any) -> Dataset:
    """A 4 × 4 CT image with fresh UIDs.

    Parameters
    ----------
    **attributes : Any
        Attributes by keyword, in place of or beside the usual ones; ``None`` removes one.
    """
    values: dict[str, Any] = {
        "SOPClassUID": CT_STORAGE,
        "SOPInstanceUID": new_uid(),
        "StudyDate": "20240102",
        "Modality": "CT",
        "PatientName": "Test^Alpha",
        "PatientID": "T-001",
        "StudyInstanceUID": new_uid(),
        "SeriesInstanceUID": new_uid(),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 4,
        "Columns": 4,
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": bytes(range(32)),
    }
    values |= attributes
    ds = Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(ds, keyword, value)
    if "PixelData" in ds:
        ds["PixelData"].VR = "OW" if int(ds.get("BitsAllocated", 16)) > 8 else "OB"
    return ds


def item(**attributes: Any) -> Dataset:
    """An item of a sequence: a data set with nothing but these attributes."""
    ds = Dataset()
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def ct(**attributes: Any) -> Dataset:
    """A CT image with the attributes that searches and viewers look at."""
    values: dict[str, Any] = {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "StudyTime": "101112.5",
        "AccessionNumber": "A-1",
        "ReferringPhysicianName": "Ref^Erring",
        "StudyDescription": "Chest",
        "SeriesDescription": "Axial 1 mm",
        "ManufacturerModelName": "Model One",
        "PatientBirthDate": "19700203",
        "PatientSex": "O",
        "StudyID": "S1",
        "SeriesNumber": 3,
        "InstanceNumber": 7,
        "ImagePositionPatient": [0, 0, 12.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": ["0.50", "0.5000"],
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "WindowCenter": "40",
        "WindowWidth": "400",
        "PerformedProcedureStepStartDate": "20240102",
    }
    return instance(**(values | attributes))


def mr(**attributes: Any) -> Dataset:
    """An MR image with signed pixels."""
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
        "Modality": "MR",
        "EchoTime": "30.5",
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 1,
    }
    return instance(**(values | attributes))


def colour(**attributes: Any) -> Dataset:
    """A 4 × 4 ultrasound image in RGB, interleaved by pixel."""
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1",
        "Modality": "US",
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "PlanarConfiguration": 0,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelData": bytes(range(48)),
    }
    return instance(**(values | attributes))


def multi_frame(frames: int = 3, **attributes: Any) -> Dataset:
    """A multi-frame image of 4 × 4 pixels in 8 bits: frame ``n`` is 16 bytes of value ``n``."""
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2",
        "Modality": "OT",
        "NumberOfFrames": frames,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelData": b"".join(bytes([number % 256]) * 16 for number in range(1, frames + 1)),
    }
    return instance(**(values | attributes))


def segmentation(frames: int = 3, **attributes: Any) -> Dataset:
    """A binary segmentation: 3 × 3 pixels of one bit, so that frames begin inside bytes."""
    bits = "".join(f"{(number * 37) % 512:09b}" for number in range(1, frames + 1))
    packed = bytes(int(bits[at : at + 8][::-1], 2) for at in range(0, len(bits), 8))
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4",
        "Modality": "SEG",
        "NumberOfFrames": frames,
        "Rows": 3,
        "Columns": 3,
        "BitsAllocated": 1,
        "BitsStored": 1,
        "HighBit": 0,
        "PixelData": packed + b"\0" * (len(packed) % 2),
    }
    return instance(**(values | attributes))


def parametric_map(frames: int = 2, **attributes: Any) -> Dataset:
    """A parametric map of 2 × 2 pixels in Float Pixel Data: frame ``n`` holds ``n`` and a half."""
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.30",
        "Modality": "OT",
        "NumberOfFrames": frames,
        "Rows": 2,
        "Columns": 2,
        "BitsAllocated": 32,
        "BitsStored": None,
        "HighBit": None,
        "PixelRepresentation": None,
        "PixelData": None,
        "FloatPixelData": b"".join(
            struct.pack("<4f", *[n + 0.5] * 4) for n in range(1, frames + 1)
        ),
    }
    return instance(**(values | attributes))


def structured_report(**attributes: Any) -> Dataset:
    """A report: no pixels, a tree of content items."""
    leaf = item(ValueType="TEXT", TextValue="no finding")
    values: dict[str, Any] = {
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11",
        "Modality": "SR",
        "ValueType": "CONTAINER",
        "ContentSequence": [item(ValueType="CONTAINER", ContentSequence=[leaf]), item()],
    }
    without = dict.fromkeys(
        (
            "SamplesPerPixel",
            "PhotometricInterpretation",
            "Rows",
            "Columns",
            "BitsAllocated",
            "BitsStored",
            "HighBit",
            "PixelRepresentation",
            "PixelData",
        )
    )
    return instance(**(without | values | attributes))


def waveform(samples: int = 20_000, **attributes: Any) -> Dataset:
    """An ECG with two groups of channels: ``samples`` 16-bit words each, of value 1 and 2."""
    groups = []
    for number in (1, 2):
        group = item(WaveformBitsAllocated=16, WaveformSampleInterpretation="SS")
        group.WaveformData = struct.pack("<h", number) * samples
        group["WaveformData"].VR = "OW"
        groups.append(group)
    return structured_report(
        **(
            {
                "SOPClassUID": "1.2.840.10008.5.1.4.1.1.9.1.1",
                "Modality": "ECG",
                "ValueType": None,
                "ContentSequence": None,
                "WaveformSequence": groups,
            }
            | attributes
        )
    )


def encapsulated(
    frames: Sequence[bytes],
    *,
    fragments_per_frame: int = 1,
    basic_offset_table: bool = False,
    extended_offset_table: bool = False,
    **attributes: Any,
) -> Dataset:
    """An image whose frames are the given compressed ones; write it with their transfer syntax."""
    ds = multi_frame(len(frames), **({"PixelData": b""} | attributes))
    if extended_offset_table:
        value, offsets, lengths = encapsulate_extended(list(frames))
        ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = offsets, lengths
    else:
        value = encapsulate(
            list(frames), fragments_per_frame=fragments_per_frame, has_bot=basic_offset_table
        )
    ds.PixelData = value
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


# Files ------------------------------------------------------------------------------------


def part10(ds: Dataset, transfer_syntax: str = EXPLICIT_LE) -> bytes:
    """The data set as a Part 10 file. ``ds`` is not changed; values are not checked or converted.

    Pixel data of more than 8 bits is given in little endian and swapped for Explicit VR Big Endian.
    """
    implicit = transfer_syntax == IMPLICIT_LE
    little = transfer_syntax != EXPLICIT_BE
    if not little and "PixelData" in ds and ds["PixelData"].VR == "OW":
        ds = Dataset(ds)
        raw = ds.PixelData
        ds.PixelData = b"".join(raw[at : at + 2][::-1] for at in range(0, len(raw), 2))
        ds["PixelData"].VR = "OW"
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = implicit
    buffer.is_little_endian = little
    write_dataset(buffer, ds)
    body = buffer.getvalue()
    if transfer_syntax == DEFLATED:
        body = deflated(body)
    return file_with(
        body,
        transfer_syntax=transfer_syntax,
        sop_class_uid=str(ds.get("SOPClassUID", CT_STORAGE)),
        sop_instance_uid=str(ds.get("SOPInstanceUID", "2.25.1")),
    )


def base(**changes: Any) -> bytes:
    """BASE as a file in Explicit VR Little Endian, with changed attributes (``None``: without)."""
    identifiers = {
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "SOPInstanceUID": INSTANCE,
    }
    return part10(instance(**(identifiers | changes)))


def file_with(
    body: bytes,
    *,
    transfer_syntax: str = EXPLICIT_LE,
    sop_class_uid: str = CT_STORAGE,
    sop_instance_uid: str = INSTANCE,
) -> bytes:
    """A Part 10 file around an encoded data set: preamble, prefix, file meta information."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID("2.25.1")
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = False
    buffer.is_little_endian = True
    write_dataset(buffer, meta)
    encoded = buffer.getvalue()
    group_length = element(0x00020000, "UL", struct.pack("<I", len(encoded)))
    return bytes(128) + b"DICM" + group_length + encoded + body


def deflated(body: bytes) -> bytes:
    """Raw deflate, as the deflated transfer syntax has it, padded to even length (PS3.5 A.5)."""
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(body) + compressor.flush()
    return data + b"\0" * (len(data) % 2)


def body_of(data: bytes) -> bytes:
    """The encoded data set of a file that ``file_with`` made."""
    return data[body_offset(data) :]


def body_offset(data: bytes) -> int:
    """Where the data set begins in a file that ``file_with`` made."""
    length: int = struct.unpack_from("<I", data, 140)[0]
    return 144 + length


def element(tag: int, vr: str | None, value: bytes, *, length: int | None = None) -> bytes:
    """One encoded element, little endian; not padded.

    Parameters
    ----------
    tag : int
        ``(group << 16) | element``.
    vr : str or None
        ``None``: implicit VR.
    value : bytes
        As it stands.
    length : int, optional
        What the length field says; the truth if absent.
    """
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr is None:
        return head + struct.pack("<I", size) + value
    if vr in _LONG_VRS:
        return head + vr.encode() + b"\0\0" + struct.pack("<I", size) + value
    return head + vr.encode() + struct.pack("<H", size) + value


def splice(data: bytes, *encoded: bytes) -> bytes:
    """The file with encoded elements put in by their tags, in place of those it has.

    ``data`` is a file in Explicit VR Little Endian without undefined lengths at the top level,
    apart from pixel data as its last element.
    """
    start = body_offset(data)
    pieces: list[tuple[int, bytes]] = []
    at = start
    while at < len(data):
        group, number, vr = struct.unpack_from("<HH2s", data, at)
        if vr.decode() in _LONG_VRS:
            length = struct.unpack_from("<I", data, at + 8)[0]
            end = len(data) if length == 0xFFFFFFFF else at + 12 + length
        else:
            end = at + 8 + struct.unpack_from("<H", data, at + 6)[0]
        pieces.append(((group << 16) | number, data[at:end]))
        at = end
    for piece in encoded:
        group, number = struct.unpack_from("<HH", piece, 0)
        tag = (group << 16) | number
        pieces = [old for old in pieces if old[0] != tag]
        pieces.append((tag, piece))
    pieces.sort(key=lambda piece: piece[0])
    return data[:start] + b"".join(piece for _, piece in pieces)


# Compressed frames ------------------------------------------------------------------------


def jpeg(rows: int = 16, columns: int = 16, *, colour: bool = False, value: int = 128) -> bytes:
    """A baseline JPEG; in colour with 4:2:2 subsampling."""
    from PIL import Image

    image = (
        Image.new("RGB", (columns, rows), (value, 20, 200))
        if colour
        else Image.new("L", (columns, rows), value)
    )
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling="4:2:2") if colour else image.save(
        buffer, "JPEG", quality=95
    )
    return buffer.getvalue()


def jpeg_2000(rows: int = 64, columns: int = 64, *, value: int = 128) -> bytes:
    """A lossless JPEG 2000 codestream of one 8-bit component."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("L", (columns, rows), value).save(buffer, "JPEG2000", irreversible=False, no_jp2=True)
    return buffer.getvalue()

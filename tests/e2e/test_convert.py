"""Conversion between transfer syntaxes over HTTP (PS3.18 8.7.3)."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames

from shared.dicom import transfer_syntax
from tests.e2e.test_retrieve import _parts, _path, _store
from tests.support import dicom

TARGETS = (
    transfer_syntax.EXPLICIT_LE,
    transfer_syntax.DEFLATED,
    transfer_syntax.RLE,
    transfer_syntax.JPEG_LS_LOSSLESS,
    transfer_syntax.JPEG_2000_LOSSLESS,
)
_FRAMES = {
    transfer_syntax.RLE: "image/dicom-rle",
    transfer_syntax.JPEG_LS_LOSSLESS: "image/jls",
    transfer_syntax.JPEG_2000_LOSSLESS: "image/jp2",
}


_TWELVE_BITS = {
    "Rows": 64, "Columns": 64, "BitsAllocated": 16, "BitsStored": 12, "HighBit": 11,
    "PixelRepresentation": 0,
}  # fmt: skip


def _slope(frames: int = 1, **attributes: object) -> Dataset:
    pixels = np.arange(frames * 64 * 64, dtype="<u2") % 4000
    return dicom.multi_frame(frames, PixelData=pixels.tobytes(), **_TWELVE_BITS, **attributes)


def _pixels(ds: Dataset) -> np.ndarray:
    return np.frombuffer(ds.PixelData, "<u2").reshape(-1, 64, 64)


def _read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


@pytest.mark.spec("dicomweb", 71, 72, 73, 84, 88, 89, 90, 92)
def test_an_instance_in_each_transfer_syntax_and_back(http: httpx.Client) -> None:
    ds = _slope(3)
    _store(http, ds)
    for target in TARGETS:
        single = http.get(
            _path(ds), headers={"Accept": f"application/dicom; transfer-syntax={target}"}
        )
        assert single.status_code == 200, target
        assert single.headers["content-type"] == f"application/dicom; transfer-syntax={target}"
        there = _read(single.content)
        assert there.file_meta.TransferSyntaxUID == target
        np.testing.assert_array_equal(there.pixel_array, _pixels(ds))
        moved = {"SOPInstanceUID": dicom.new_uid(), "StudyInstanceUID": dicom.new_uid()}
        for name, value in moved.items():
            setattr(there, name, value)
        there.file_meta.MediaStorageSOPInstanceUID = there.SOPInstanceUID
        written = io.BytesIO()
        there.save_as(written)
        stored = http.post(
            "/studies", content=written.getvalue(), headers={"Content-Type": "application/dicom"}
        )
        assert stored.status_code == 200, stored.text
        for url in (f"/studies/{there.StudyInstanceUID}", _path(there)):
            default = {"Accept": 'multipart/related; type="application/dicom"'}
            [(kind, content)] = _parts(http.get(url, headers=default))
            assert kind == f"application/dicom; transfer-syntax={dicom.EXPLICIT_LE}"
            np.testing.assert_array_equal(_read(content).pixel_array, _pixels(ds))


@pytest.mark.spec("dicomweb", 109, 110, 112, 113)
def test_frames_in_each_transfer_syntax(http: httpx.Client) -> None:
    ds = _slope(2)
    _store(http, ds)
    for target, name in _FRAMES.items():
        accept = f'multipart/related; type="{name}"; transfer-syntax={target}'
        parts = _parts(http.get(f"{_path(ds)}/frames/2,1", headers={"Accept": accept}))
        assert [kind for kind, _ in parts] == [f"{name}; transfer-syntax={target}"] * 2
        again = dicom.encapsulated([content for _, content in parts], **_TWELVE_BITS)
        _store(http, again, syntax=target)
        native = http.get(
            f"{_path(again)}/frames/1", headers={"Accept": "application/octet-stream"}
        )
        assert native.content == _pixels(ds)[1].tobytes()
    default = http.get(
        f"{_path(ds)}/frames/1", headers={"Accept": 'multipart/related; type="image/jp2"'}
    )
    [(kind, _)] = _parts(default)
    assert kind.endswith(transfer_syntax.JPEG_2000_LOSSLESS)


def test_instances_of_many_syntaxes_in_one(http: httpx.Client) -> None:
    study = dicom.new_uid()
    sources = [_slope(1, StudyInstanceUID=study) for _ in range(3)]
    expected = {source.SOPInstanceUID: _pixels(source)[0].copy() for source in sources}
    _store(http, sources[0], syntax=dicom.IMPLICIT_LE)
    _store(http, sources[1], syntax=dicom.EXPLICIT_BE)
    _store(http, sources[2], dicom.structured_report(StudyInstanceUID=study))
    answer = http.get(
        f"/studies/{study}", headers={"Accept": 'multipart/related; type="application/dicom"'}
    )
    parts = [_read(content) for _, content in _parts(answer)]
    assert {part.file_meta.TransferSyntaxUID for part in parts} == {dicom.EXPLICIT_LE}
    images = {part.SOPInstanceUID: part for part in parts if "PixelData" in part}
    assert len(parts) == 4
    for uid, pixels in expected.items():
        np.testing.assert_array_equal(images[uid].pixel_array, pixels)
    # the report has no pixels to compress: all or nothing
    compressed = (
        f'multipart/related; type="application/dicom"; transfer-syntax={transfer_syntax.RLE}'
    )
    assert http.get(f"/studies/{study}", headers={"Accept": compressed}).status_code == 406


@pytest.mark.bug_report(22)
def test_what_cannot_be_decoded_is_said_or_breaks_off_and_is_never_a_wrong_picture(
    http: httpx.Client,
) -> None:
    good, bad = dicom.jpeg(16, 16), b"\xff\xd8 no picture "
    eight_bits = {"Rows": 16, "Columns": 16, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    accept = {"Accept": "application/dicom"}
    first = dicom.encapsulated([bad, good], **eight_bits)
    _store(http, first, syntax=dicom.JPEG_BASELINE)
    answer = http.get(_path(first), headers=accept)
    assert answer.status_code == 406
    assert "decoded" in answer.text
    second = dicom.encapsulated([good, bad], **eight_bits)
    _store(http, second, syntax=dicom.JPEG_BASELINE)
    with pytest.raises(httpx.RemoteProtocolError):
        http.get(_path(second), headers=accept)
    octets = {"Accept": "application/octet-stream"}
    assert http.get(f"{_path(second)}/frames/1", headers=octets).status_code == 200
    assert http.get(f"{_path(second)}/frames/2", headers=octets).status_code == 406
    lost = dicom.encapsulated([good, good], **eight_bits, NumberOfFrames=3)
    _store(http, lost, syntax=dicom.JPEG_BASELINE)
    assert http.get(f"{_path(lost)}/frames/1", headers=octets).status_code == 406
    stored = {"Accept": "application/dicom; transfer-syntax=*"}
    assert http.get(_path(lost), headers=stored).status_code == 200


@pytest.mark.bug_report(22)
@pytest.mark.parametrize(
    "name", ["MR_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_dcmtk.dcm"]
)
def test_what_a_frame_lacks_is_not_made_up(http: httpx.Client, name: str) -> None:
    """JPEG decoders fill up a frame that was cut short, and say nothing."""
    ds = pydicom.dcmread(str(get_testdata_file(name)))
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    kept = len(frame) * 6 // 10
    ds.PixelData = encapsulate([frame[:kept] + bytes(kept % 2)])
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(ds, keyword, dicom.new_uid())  # test_round_trip looks for those of the file
    _store(http, ds, syntax=ds.file_meta.TransferSyntaxUID)
    path = _path(ds)
    for url, accept in (
        (f"{path}/frames/1", "application/octet-stream"),
        (path, "application/dicom"),
        (f"{path}/rendered", "image/png"),
        (f"{path}/frames/1/thumbnail", "image/jpeg"),
    ):
        answer = http.get(url, headers={"Accept": accept})
        assert answer.status_code == 406, url
        assert "cut short or damaged" in answer.text or "cannot be decoded" in answer.text
    stored = http.get(path, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert _read(stored.content).PixelData == ds.PixelData

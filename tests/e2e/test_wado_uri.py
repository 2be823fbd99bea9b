"""WADO-URI over HTTP (PS3.18 9)."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pydicom
from PIL import Image

from tests.e2e.test_rendered import _stack
from tests.e2e.test_retrieve import _store
from tests.support import dicom


def _get(http: httpx.Client, ds: dicom.Dataset, **parameters: Any) -> httpx.Response:
    uids = {
        "requestType": "WADO",
        "studyUID": ds.StudyInstanceUID,
        "seriesUID": ds.SeriesInstanceUID,
        "objectUID": ds.SOPInstanceUID,
    }
    return http.get("/wado", params=uids | parameters)


def _picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def test_pictures(http: httpx.Client) -> None:
    ds = _stack(3)
    _store(http, ds)
    assert _picture(_get(http, ds)).format == "JPEG"
    png = _get(
        http, ds, contentType="image/png", frameNumber=3, windowCenter=2000, windowWidth=2001
    )
    assert np.asarray(_picture(png)).max() == 255
    assert _picture(_get(http, ds, columns=48)).size == (48, 32)
    assert _picture(_get(http, ds, rows=16, columns=96)).size == (24, 16)
    assert _picture(_get(http, ds, region="0.5,0,1,0.5")).size == (48, 32)
    assert _picture(_get(http, ds, region="0.5,0,1,0.5", rows=64)).size == (96, 64)
    for parameters, status in (
        ({"frameNumber": 4}, 404),
        ({"frameNumber": 0}, 400),
        ({"contentType": "text/plain"}, 406),
        ({"objectUID": "1.2"}, 404),
        ({"objectUID": "x"}, 400),
        ({"requestType": "WADO-RS"}, 400),
        ({"windowCenter": 1}, 400),
        ({"anonymize": "yes"}, 400),
    ):
        answer = _get(http, ds, **parameters)
        assert answer.status_code == status, parameters
        assert answer.text
    report = dicom.structured_report()
    _store(http, report)
    assert _get(http, report).status_code == 404


def test_files(http: httpx.Client) -> None:
    ds = _stack(2)
    [file] = _store(http, ds, syntax=dicom.IMPLICIT_LE)
    explicit = _get(http, ds, contentType="application/dicom")
    assert explicit.headers["content-type"] == (
        f"application/dicom; transfer-syntax={dicom.EXPLICIT_LE}"
    )
    found = pydicom.dcmread(io.BytesIO(explicit.content))
    assert found.PixelData == ds.PixelData
    stored = _get(http, ds, contentType="application/dicom", transferSyntax="*")
    assert stored.content == file
    compressed = _get(http, ds, contentType="application/dicom", transferSyntax=dicom.RLE)
    assert pydicom.dcmread(io.BytesIO(compressed.content)).file_meta.TransferSyntaxUID == dicom.RLE
    video = _get(http, ds, contentType="application/dicom", transferSyntax=dicom.HEVC)
    assert video.status_code == 406

"""Rendered images and thumbnails over HTTP (PS3.18 10.4.1.1.3, 10.4.1.1.4)."""

from __future__ import annotations

import io

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.e2e.test_retrieve import _parts, _path, _store
from tests.support import dicom

_GREY = {
    "Rows": 64, "Columns": 96, "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
    "PixelRepresentation": 0,
}  # fmt: skip


def _stack(frames: int, **attributes: object) -> dicom.Dataset:
    """Frames of different brightness."""
    pixels = np.repeat(np.arange(1, frames + 1, dtype="<u2") * 1000, 64 * 96)
    return dicom.multi_frame(frames, PixelData=pixels.tobytes(), **_GREY, **attributes)


def _image(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


@pytest.mark.spec("dicomweb", 127, 128, 129, 130, 131, 132)
def test_instances_and_frames(http: httpx.Client) -> None:
    ds = _stack(3)
    _store(http, ds)
    url = _path(ds)
    for accept, kind in (
        ("image/jpeg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/gif"),
        ("*/*", "image/jpeg"),
        ("image/*", "image/jpeg"),
        ("image/png;q=0.5, image/jpeg;q=0.1", "image/png"),
        ("image/webp, image/png", "image/png"),
    ):
        answer = http.get(f"{url}/rendered?quality=100", headers={"Accept": accept})
        assert answer.headers["content-type"] == kind
        picture = _image(answer)
        assert picture.size == (96, 64)
        assert picture.format == kind.rpartition("/")[2].upper()
    window = "window=2000,2000,linear-exact"
    for number in (1, 2, 3):
        answer = http.get(
            f"{url}/frames/{number}/rendered?{window}", headers={"Accept": "image/png"}
        )
        level = np.asarray(_image(answer))[0, 0]
        assert abs(int(level) - (number - 1) * 127.5) <= 1
    for quality in (100, 1):
        for number in (1, 2):
            answer = http.get(f"{url}/frames/{number}/rendered?quality={quality}")
            assert answer.headers["content-type"] == "image/jpeg"
    for path, accept, status in (
        ("/frames/5/rendered", "*/*", 404),
        ("/frames/0/rendered", "*/*", 400),
        ("/frames/x/rendered", "*/*", 400),
        ("/rendered?quality=0", "*/*", 400),
        ("/rendered?quality=101", "*/*", 400),
        ("/rendered?viewport=0,1", "*/*", 400),
        ("/rendered", "application/pdf", 406),
        ("/rendered", "image/webp", 406),
        ("/rendered?accept=image/webp", "image/jpeg", 406),
    ):
        answer = http.get(url + path, headers={"Accept": accept})
        assert answer.status_code == status, path
        assert answer.text
    shown = http.get(f"{url}/rendered?accept=image/png", headers={"Accept": "image/jpeg"})
    assert shown.headers["content-type"] == "image/png"
    moving = http.get(f"{url}/rendered?{window}", headers={"Accept": "image/gif"})
    assert _image(moving).n_frames == 3  # type: ignore[attr-defined]


def test_several_frames_and_images_are_parts(http: httpx.Client) -> None:
    study = dicom.new_uid()
    ds, other = _stack(3, StudyInstanceUID=study), _stack(1, StudyInstanceUID=study)
    _store(http, ds, other, dicom.structured_report(StudyInstanceUID=study))
    pngs = {"Accept": 'multipart/related; type="image/png"'}
    answer = http.get(
        f"{_path(ds)}/frames/3,1/rendered?window=2000,2000,linear-exact", headers=pngs
    )
    assert answer.headers["content-type"].startswith('multipart/related; type="image/png"')
    levels = [
        int(np.asarray(Image.open(io.BytesIO(content)))[0, 0]) for _, content in _parts(answer)
    ]
    assert levels == [255, 0]
    parts = _parts(http.get(f"/studies/{study}/rendered", headers=pngs))
    assert [kind for kind, _ in parts] == ["image/png"] * 2
    series = f"/studies/{study}/series/{other.SeriesInstanceUID}/rendered"
    [(kind, content)] = _parts(http.get(series, headers={"Accept": "image/jpeg"}))
    assert kind == "image/jpeg"
    assert Image.open(io.BytesIO(content)).size == (96, 64)


@pytest.mark.bug_report(28)
def test_thumbnails(http: httpx.Client) -> None:
    study = dicom.new_uid()
    ds = _stack(3, StudyInstanceUID=study)
    _store(http, ds, dicom.structured_report(StudyInstanceUID=study))
    series = f"/studies/{study}/series/{ds.SeriesInstanceUID}"
    for url in (f"/studies/{study}", series, _path(ds), f"{_path(ds)}/frames/2"):
        answer = http.get(f"{url}/thumbnail")
        assert answer.headers["content-type"] == "image/jpeg"
        assert _image(answer).size == (128, 85)
        small = http.get(f"{url}/thumbnail?viewport=12,12", headers={"Accept": "image/png"})
        assert _image(small).size == (12, 8)
        for accept in ("application/pdf", "text/html"):
            refused = http.get(f"{url}/thumbnail", headers={"Accept": accept})
            assert refused.status_code == 406
        assert http.get(f"{url}/thumbnail?quality=3").status_code == 400
    assert http.get("/studies/1.2/thumbnail").status_code == 404


def test_the_thumbnail_of_a_study_comes_from_the_first_series_that_has_one(
    http: httpx.Client,
) -> None:
    study = dicom.new_uid()
    uids = sorted(dicom.new_uid() for _ in range(2))
    video = dicom.encapsulated([bytes(100)], **_GREY, StudyInstanceUID=study)
    picture = _stack(1, StudyInstanceUID=study)
    for ds, uid, number in ((video, uids[0], 1), (picture, uids[1], 2)):
        ds.SeriesInstanceUID, ds.SeriesNumber = uid, number
    _store(http, video, syntax=dicom.HEVC)
    _store(http, picture)
    assert http.get(f"/studies/{study}/thumbnail").status_code == 200
    assert http.get(f"/studies/{study}/series/{uids[0]}/thumbnail").status_code == 406


def test_what_has_no_picture(http: httpx.Client) -> None:
    report = dicom.structured_report()
    video = dicom.encapsulated([bytes(100)], **_GREY)
    corrupt = dicom.encapsulated([b"\xff\xd8 no picture "], **_GREY)
    _store(http, report)
    _store(http, video, syntax=dicom.HEVC)
    _store(http, corrupt, syntax=dicom.JPEG_BASELINE)
    study = f"/studies/{report.StudyInstanceUID}"
    for url in (study, _path(report), f"{_path(report)}/frames/1"):
        assert http.get(f"{url}/rendered").status_code == 404
        assert http.get(f"{url}/thumbnail").status_code == 404
    for ds in (video, corrupt):
        for url in (f"/studies/{ds.StudyInstanceUID}", _path(ds), f"{_path(ds)}/frames/1"):
            answer = http.get(f"{url}/rendered")
            assert answer.status_code == 406, url
            assert "rendered" in answer.text or "decoded" in answer.text


def test_a_picture_is_fetched_once(http: httpx.Client) -> None:
    ds = _stack(2)
    _store(http, ds)
    url = f"{_path(ds)}/frames/2/rendered"
    first = http.get(url)
    tag = {"If-None-Match": first.headers["etag"]}
    assert http.get(url, headers=tag).status_code == 304
    assert http.get(f"{url}?quality=5", headers=tag).status_code == 200
    assert http.get(url, headers=tag | {"Accept": "image/png"}).status_code == 200
    assert http.get(url.replace("/2/", "/1/"), headers=tag).status_code == 200
    parts = {"Accept": 'multipart/related; type="image/jpeg"'}
    assert http.get(url, headers=tag | parts).status_code == 200
    warned = http.get(f"{url}?annotation=patient,moon")
    assert warned.headers["warning"].startswith("299")

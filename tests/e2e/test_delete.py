"""Delete over HTTP: the acceptance scenarios of spec dicomweb.md §7.10."""

from __future__ import annotations

import httpx
import pytest
from pydicom.dataset import Dataset

from tests.support import dicom
from tests.support.requests import DICOM, MULTIPART, multipart

_DICOM = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


def _levels(ds: Dataset) -> tuple[str, str, str]:
    study = f"/studies/{ds.StudyInstanceUID}"
    series = f"{study}/series/{ds.SeriesInstanceUID}"
    return study, series, f"{series}/instances/{ds.SOPInstanceUID}"


def _study(http: httpx.Client, *sizes: int) -> list[list[Dataset]]:
    """Store a study with a series of each size."""
    study = dicom.new_uid()
    found = [
        [dicom.ct(StudyInstanceUID=study, SeriesInstanceUID=series) for _ in range(size)]
        for series, size in ((dicom.new_uid(), size) for size in sizes)
    ]
    body = multipart(dicom.part10(ds) for series in found for ds in series)
    assert http.post("/studies", content=body, headers=MULTIPART).status_code == 200
    return found


def _count(http: httpx.Client, path: str) -> int:
    """How many instances are there, by retrieval, metadata and search alike; 0: 404."""
    whole = http.get(path, headers=_DICOM)
    metadata = http.get(f"{path}/metadata")
    if whole.status_code == 404:
        assert metadata.status_code == 404
        assert whole.text
        return 0
    assert whole.status_code == metadata.status_code == 200
    count = whole.content.count(b"Content-Type: application/dicom")
    assert count == len(metadata.json())
    if "/instances/" not in path:
        assert count == len(http.get(f"{path}/instances").json())
    return count


def _delete(http: httpx.Client, path: str) -> int:
    answer = http.delete(path)
    assert bool(answer.content) == (answer.status_code != 204)
    return answer.status_code


@pytest.mark.spec("dicomweb", 175, 176, 190)
def test_the_only_instance(http: httpx.Client) -> None:
    [[ds]] = _study(http, 1)
    study, series, instance = _levels(ds)
    assert _delete(http, instance) == 204
    assert [_count(http, path) for path in (instance, series, study)] == [0, 0, 0]
    assert http.get(f"/studies?StudyInstanceUID={ds.StudyInstanceUID}").status_code == 204
    assert http.get(f"{instance}/frames/1").status_code == 404
    assert _delete(http, instance) == 404
    assert "instance" in http.delete(instance).text
    again = http.post("/studies", content=dicom.part10(ds), headers=DICOM)
    assert again.status_code == 200
    assert _count(http, study) == 1


@pytest.mark.spec("dicomweb", 177, 178, 179)
def test_an_instance_of_several(http: httpx.Client) -> None:
    [[first, second]] = _study(http, 2)
    _, series, instance = _levels(first)
    etag = http.get(f"{series}/metadata").headers["etag"]
    assert _delete(http, instance) == 204
    assert (_count(http, instance), _count(http, series)) == (0, 1)
    assert _count(http, _levels(second)[2]) == 1
    assert http.get(f"{series}/metadata").headers["etag"] != etag
    [[only], [other]] = _study(http, 1, 1)
    study, series, instance = _levels(only)
    assert _delete(http, instance) == 204
    counts = [_count(http, path) for path in (series, _levels(other)[1], study)]
    assert counts == [0, 1, 1]
    [[one, _], [last]] = _study(http, 2, 1)
    study, series, instance = _levels(one)
    assert _delete(http, instance) == 204
    counts = [_count(http, path) for path in (series, _levels(last)[1], study)]
    assert counts == [1, 1, 2]


@pytest.mark.spec("dicomweb", 180, 181, 182, 183)
def test_series(http: httpx.Client) -> None:
    for size in (1, 2):
        [datasets] = _study(http, size)
        study, series, _ = _levels(datasets[0])
        assert _delete(http, series) == 204
        assert _count(http, study) == _count(http, series) == 0
        assert [_count(http, _levels(ds)[2]) for ds in datasets] == [0] * size
        assert _delete(http, series) == 404
        assert "series" in http.delete(series).text
    [[first], [second]] = _study(http, 1, 1)
    study, series, _ = _levels(first)
    assert _delete(http, series) == 204
    assert [_count(http, path) for path in (series, *_levels(second))] == [0, 1, 1, 1]


@pytest.mark.spec("dicomweb", 184, 185, 186)
def test_studies(http: httpx.Client) -> None:
    for sizes in ((1,), (2, 1)):
        found = _study(http, *sizes)
        study = _levels(found[0][0])[0]
        assert _delete(http, study) == 204
        for series in found:
            for ds in series:
                assert [_count(http, path) for path in _levels(ds)] == [0, 0, 0]
        assert _delete(http, study) == 404
        assert "study" in http.delete(study).text


@pytest.mark.spec("dicomweb", 187, 188, 189)
@pytest.mark.parametrize(
    ("path", "keyword"),
    [
        ("/studies/notAStudyInstanceUid", "StudyInstanceUid"),
        ("/studies/bad/series/bad", "StudyInstanceUid"),
        ("/studies/1.2/series/bad", "SeriesInstanceUid"),
        ("/studies/bad/series/bad/instances/bad", "StudyInstanceUid"),
        ("/studies/1.2/series/1.3/instances/bad", "SopInstanceUid"),
    ],
)
def test_uids_that_are_none(http: httpx.Client, path: str, keyword: str) -> None:
    answer = http.delete(path)
    assert answer.status_code == 400
    assert keyword in answer.text


def test_accept_and_body_are_ignored(http: httpx.Client) -> None:
    [[ds]] = _study(http, 1)
    headers = {"Accept": "image/x-nothing", "Content-Type": "text/plain"}
    answer = http.request("DELETE", _levels(ds)[0], content=b"hello", headers=headers)
    assert answer.status_code == 204

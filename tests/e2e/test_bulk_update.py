"""Bulk update over HTTP (spec operations.md §3, dicomweb.md §3.7, change-feed.md §3)."""

from __future__ import annotations

import io
from typing import Any

import httpx
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from shared.ports import JsonObject
from tests.e2e.test_export import ended
from tests.e2e.test_retrieve import _parts, _path, _store
from tests.support import dicom
from tests.support.server import Server

ORIGINAL = {"msdicom-request-original": "true"}
AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


def name(text: str) -> JsonObject:
    return {"00100010": {"vr": "PN", "Value": [{"Alphabetic": text}]}}


def ask(http: httpx.Client, studies: Any, changes: Any, partition: str = "") -> httpx.Response:
    body = {"studyInstanceUids": studies, "changeDataset": changes}
    return http.post(f"{partition}/studies/$bulkUpdate", json=body)


def update(
    http: httpx.Client, studies: list[str], changes: JsonObject, partition: str = ""
) -> JsonObject:
    """Ask until no other update runs; the operation at its end."""
    while (answer := ask(http, studies, changes, partition)).status_code == 409:
        ended(
            httpx.Response(202, json={"href": answer.headers["Location"]}, headers=answer.headers)
        )
    return ended(answer)


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def files(http: httpx.Client, url: str, **headers: str) -> list[Dataset]:
    return [read(content) for _, content in _parts(http.get(url, headers=AS_STORED | headers))]


def names(http: httpx.Client, url: str, headers: dict[str, str] | None = None) -> list[str]:
    answer = http.get(f"{url}/metadata", headers=headers or {})
    return [body["00100010"]["Value"][0]["Alphabetic"] for body in answer.json()]


def _frames(count: int, side: int, **attributes: Any) -> Dataset:
    slope = np.arange(count * side * side, dtype=np.uint32) // 7 % 251
    pixels = slope.astype(np.uint8)
    return dicom.multi_frame(
        count, Rows=side, Columns=side, PixelData=pixels.tobytes(), **attributes
    )


@pytest.mark.spec("operations", 4, 5, 6, 7, 8, 9, 10, 11)
@pytest.mark.spec("dicomweb", 107, 108)
@pytest.mark.parametrize(("count", "side"), [(10, 200), (5, 1000)])
def test_latest_and_original(http: httpx.Client, count: int, side: int) -> None:
    study = dicom.new_uid()
    large = _frames(count, side, StudyInstanceUID=study, PatientName="First")
    _store(http, large, dicom.ct(StudyInstanceUID=study, PatientName="First"))
    other = dicom.ct(PatientName="Other")
    _store(http, other)
    url = f"/studies/{study}"
    for text in ("Second", "Third"):
        operation = update(http, [study], name(text))
        assert operation["status"] == "succeeded"
        assert operation["type"] == "update"
        assert operation["percentComplete"] == 100
        assert operation["results"] == {
            "studyProcessed": 1, "studyUpdated": 1, "studyFailed": 0, "instanceUpdated": 2,
        }  # fmt: skip
        assert [str(ds.PatientName) for ds in files(http, url)] == [text] * 2
        before = files(http, url, **ORIGINAL)
        assert [str(ds.PatientName) for ds in before] == ["First"] * 2
        assert names(http, url) == [text] * 2
        assert names(http, url, ORIGINAL) == ["First"] * 2
        assert names(http, _path(large), ORIGINAL) == ["First"]
        after = {ds.SOPInstanceUID: ds for ds in files(http, url)}
        for ds in before:
            assert after[ds.SOPInstanceUID].PixelData == ds.PixelData
        [whole] = files(http, _path(large))
        for number in range(1, count + 1):
            octets = {"Accept": "application/octet-stream"}
            frame = http.get(f"{_path(large)}/frames/{number}", headers=octets).content
            assert frame == whole.PixelData[(number - 1) * side * side : number * side * side]
        jpeg_2000 = "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90"
        for headers, shown in (({}, text), (ORIGINAL, "First")):
            converted = http.get(_path(large), headers={"Accept": jpeg_2000, **headers})
            assert str(read(converted.content).PatientName) == shown
        for headers in ({}, ORIGINAL):  # searches, frames and rendered images do not look at it
            query = {"PatientName": text, "StudyInstanceUID": study}
            assert len(http.get("/studies", params=query, headers=headers).json()) == 1
            assert http.get(f"{_path(large)}/rendered", headers=headers).status_code == 200
            octets = {"Accept": "application/octet-stream", **headers}
            frame = http.get(f"{_path(large)}/frames/1", headers=octets).content
            assert frame == whole.PixelData[: side * side]
    assert names(http, f"/studies/{other.StudyInstanceUID}") == ["Other"]
    assert http.delete(url).status_code == 204
    for headers in ({}, ORIGINAL):
        for gone in (url, f"{url}/metadata", _path(large), f"{_path(large)}/metadata"):
            assert http.get(gone, headers=headers).status_code == 404


@pytest.mark.spec("operations", 20)
@pytest.mark.spec("dicomweb", 148)
def test_entity_tags_tell_versions_apart(http: httpx.Client) -> None:
    ds = dicom.ct(PatientName="First")
    _store(http, ds)
    levels = [f"/studies/{ds.StudyInstanceUID}", _path(ds)]
    assert names(http, levels[0], ORIGINAL) == ["First"]
    [file] = files(http, levels[0], **ORIGINAL)
    assert file.PatientName == "First"
    tags = {url: http.get(f"{url}/metadata").headers["etag"] for url in levels}
    update(http, [ds.StudyInstanceUID], name("Second"))
    for url, tag in tags.items():
        latest = http.get(f"{url}/metadata", headers={"If-None-Match": tag})
        assert latest.status_code == 200
        assert latest.headers["etag"] != tag
        original = http.get(f"{url}/metadata", headers=ORIGINAL)
        assert original.headers["etag"] != latest.headers["etag"]
        known = {"If-None-Match": original.headers["etag"]}
        assert http.get(f"{url}/metadata", headers=ORIGINAL | known).status_code == 304
        assert http.get(f"{url}/metadata", headers=known).status_code == 200
    assert http.get(_path(ds), headers={"Accept": "application/dicom", **ORIGINAL}).content != (
        http.get(_path(ds), headers={"Accept": "application/dicom"}).content
    )


@pytest.mark.spec("change-feed", 21, 22)
def test_the_feed_tells_each_update_once(http: httpx.Client) -> None:
    study = dicom.new_uid()
    _store(http, *(dicom.ct(StudyInstanceUID=study) for _ in range(3)))
    update(http, [study], name("Second"))
    entries = _entries(http, study)
    assert [(each["action"], each["state"]) for each in entries] == [
        *[("Create", "Replaced")] * 3,
        *[("Update", "Current")] * 3,
    ]
    shown = {each["metadata"]["00100010"]["Value"][0]["Alphabetic"] for each in entries}
    assert shown == {"Second"}
    assert http.delete(f"/studies/{study}").status_code == 204
    entries = _entries(http, study)
    assert len(entries) == 9
    assert {each["state"] for each in entries} == {"Deleted"}
    assert not any("metadata" in each for each in entries)


def _entries(http: httpx.Client, study: str) -> list[JsonObject]:
    found: list[JsonObject] = []
    offset = 0
    while page := http.get("/changefeed", params={"limit": 200, "offset": offset}).json():
        found += [each for each in page if each["studyInstanceUid"] == study]
        offset += len(page)
    return found


@pytest.mark.spec("operations", 13, 14, 15, 16)
def test_what_is_asked_for_wrongly_is_named(http: httpx.Client) -> None:
    uid = dicom.new_uid()
    for studies in (None, [], "1.2", [uid] * 51, [uid, "abc"], [7]):
        answer = ask(http, studies, name("A"))
        assert answer.status_code == 400
        assert "studyInstanceUids" in answer.text
    for changes in (None, {}, [], {"abc": {}}):
        answer = ask(http, [uid], changes)
        assert answer.status_code == 400
        assert "changeDataset" in answer.text
    bad = {
        "0008103E": {"vr": "LO", "Value": ["A"]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "00081110": {"vr": "SQ", "Value": [{}]},
        "00091001": {"vr": "LO", "Value": ["A"]},
        "00100030": {"vr": "DA", "Value": ["notadate"]},
        "00100040": {"vr": "LO", "Value": ["M"]},
        "00101010": {"vr": "AS", "Value": ["1"]},
        "00100020": {"vr": "LO", "Value": ["A" * 65]},
        "00100021": {"vr": "LO", "Value": [{}]},
        "00080050": {"vr": "SH", "BulkDataURI": "http://x"},
    }
    answer = ask(http, [uid], bad)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/dicom+json")
    comments = [item["00000902"]["Value"][0] for item in answer.json()["00741048"]["Value"]]
    assert len(comments) == len(bad)
    for tag, comment in zip(bad, comments, strict=True):
        assert comment.startswith(f"DICOM100: ({tag[:4].lower()},{tag[4:].lower()}) - ")
    text = {"Content-Type": "text/plain"}
    assert http.post("/studies/$bulkUpdate", content="{}", headers=text).status_code == 415
    fifty = [dicom.new_uid() for _ in range(49)] + [uid]
    operation = update(http, fifty, name("A"))
    assert operation["results"]["studyProcessed"] == 50
    assert operation["status"] == "succeeded"


@pytest.mark.spec("operations", 1)
def test_there_is_none_in_version_1(server: Server, tenants: tuple[str, str]) -> None:
    with httpx.Client(base_url=f"{server.base_url}/{tenants[0]}/v1") as v1:
        assert ask(v1, [dicom.new_uid()], name("A")).status_code == 404


@pytest.mark.spec("operations", 17, 21)
def test_partitions_and_a_second_update(http: httpx.Client) -> None:
    ds = dicom.ct(PatientName="First")
    for partition in ("one", "two"):
        data, kind = dicom.part10(ds), {"Content-Type": "application/dicom"}
        assert http.post(f"/partitions/{partition}/studies", content=data, headers=kind).is_success
    study = ds.StudyInstanceUID
    many = [dicom.new_uid() for _ in range(49)]
    first = ask(http, [study, *many], name("Second"), "/partitions/one")
    second = ask(http, [study], name("Third"), "/partitions/two")
    assert first.status_code == 202
    assert second.status_code == 409
    assert second.headers["Location"] == first.headers["Location"]
    assert first.json()["id"] in second.text
    ended(first)
    assert names(http, f"/partitions/one/studies/{study}") == ["Second"]
    assert names(http, f"/partitions/two/studies/{study}") == ["First"]
    assert ask(http, [study], name("A"), "/partitions/nowhere").status_code == 400

"""Store over HTTP: what bug reports of other servers tell of, and forms beyond the plain one."""

from __future__ import annotations

import io

import httpx
import pydicom
import pytest

from tests.support import dicom
from tests.support.dicom import element, part10, splice
from tests.support.requests import JSON_MULTIPART, bulk_request
from tests.support.store_client import (
    StoreClient,
    comments,
    failed,
    path_of,
    reasons,
    stored,
    with_element,
)

_V1, _V2 = 1, 2
both = pytest.mark.parametrize("major", [_V1, _V2])


@pytest.fixture
def client(http: httpx.Client) -> StoreClient:
    """Of the latest version."""
    return StoreClient(http, 2)


@pytest.fixture
def versioned(http: httpx.Client, major: int) -> StoreClient:
    """Of the version that the test asks for."""
    return StoreClient(http, major)


# Bug reports -------------------------------------------------------------------------------


@pytest.mark.bug_report(1)
def test_an_empty_study_uid_is_named(client: StoreClient) -> None:
    bad, good = part10(dicom.ct(StudyInstanceUID="")), part10(dicom.ct())
    answer = client.store(bad)
    assert answer.status_code == 409
    assert "(0020,000d)" in comments(failed(answer)[0])[0]
    answer = client.store(bad, good)
    assert answer.status_code == 202
    assert (len(stored(answer)), reasons(answer)) == (1, [43264])


@pytest.mark.bug_report(10)
def test_control_characters_are_kept_and_escaped(client: StoreClient) -> None:
    ds = dicom.ct()
    data = with_element(ds, 0x00204000, "LT", b"a\x0bb\x1fc ")
    assert client.store(data).status_code in (200, 202)
    assert client.file(ds) == data
    answer = client.get(f"{path_of(ds)}/metadata")
    assert b"\\u000b" in answer.content
    assert answer.json()[0]["00204000"]["Value"] == ["a\x0bb\x1fc"]


@pytest.mark.bug_report(11)
def test_leading_zeros_of_a_uid_are_kept(client: StoreClient) -> None:
    ds = dicom.ct()
    uid = f"{dicom.new_uid()[:30]}.007"
    data = with_element(ds, 0x0020000E, "UI", uid.encode() + b"\0" * (len(uid) % 2))
    answer = client.store(data)
    assert answer.status_code == 202
    assert "leading zeros" in comments(stored(answer)[0])[0]
    ds.SeriesInstanceUID = None
    series = f"/studies/{ds.StudyInstanceUID}/series/{uid}"
    [row] = client.get(f"{series}/metadata").json()
    assert row["0020000E"]["Value"] == [uid]


@pytest.mark.bug_report(13)
def test_a_private_sequence_of_vr_un(client: StoreClient) -> None:
    ds = dicom.ct()
    uid = element(0x00081150, None, b"1.2.840.10008.5.1.4.1.1.2\0")
    items = (
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + uid + b"\xfe\xff\x0d\xe0\0\0\0\0"
        b"\xfe\xff\xdd\xe0\0\0\0\0"
    )
    data = splice(
        part10(ds),
        element(0x00090010, "LO", b"TEST"),
        element(0x00091002, "UN", items, length=0xFFFFFFFF),
    )
    assert client.store(data).status_code in (200, 202)
    found = client.metadata(ds)
    assert found["00091002"]["vr"] == "SQ"
    [item] = found["00091002"]["Value"]
    assert item["00081150"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2"]
    assert found["00100020"]["Value"] == ["T-001"]


@pytest.mark.bug_report(14)
@pytest.mark.parametrize(
    "term", [b"Not Supplied", b"ISO 2022 IR 100 ", b"ISO 2022 IR 6\\ISO 2022 IR 87 "]
)
def test_character_sets_that_are_none(client: StoreClient, term: bytes) -> None:
    ds = dicom.ct()
    patient = dicom.new_uid()[-16:]
    data = splice(
        part10(ds),
        element(0x00080005, "CS", term),
        element(0x00100010, "PN", b"M\xfcller^A"),
        element(0x00100020, "LO", patient.encode()),
    )
    assert client.store(data).status_code in (200, 202)
    name = client.metadata(ds)["00100010"]["Value"][0]["Alphabetic"]
    assert client.get(f"/studies?PatientID={patient}").status_code == 200
    found = client.http.get(
        f"{client.base}/studies", params={"PatientID": patient, "PatientName": name}
    )
    assert found.status_code == 200


# Upsert -----------------------------------------------------------------------------------


@both
def test_put_replaces_and_post_does_not(versioned: StoreClient) -> None:
    ds = dicom.ct(PatientName="Old^Name")
    study = str(ds.StudyInstanceUID)
    assert versioned.store(part10(ds), method="PUT").status_code == 200
    before = versioned.get(f"/studies/{study}/metadata").headers["etag"]
    ds.PatientName = "New^Name"
    assert reasons(versioned.store(part10(ds))) == [45070]
    answer = versioned.store(part10(ds), method="PUT", study=study)
    assert answer.status_code == 200
    assert answer.json().keys() == {"00081190", "00081199"}
    assert versioned.file(ds) == part10(ds)
    after = versioned.get(f"/studies/{study}/metadata")
    assert after.headers["etag"] != before
    [row] = after.json()
    assert row["00100010"]["Value"] == [{"Alphabetic": "New^Name"}]
    [found] = versioned.get(f"/studies?StudyInstanceUID={study}&PatientName=New^Name").json()
    assert found["0020000D"]["Value"] == [study]
    assert (
        versioned.get(f"/studies?StudyInstanceUID={study}&PatientName=Old^Name").status_code == 204
    )


def test_expiry_headers(client: StoreClient) -> None:
    ds = dicom.ct()
    wrong = client.store(part10(ds), **{"msdicom-expiry-time-milliseconds": "-1"})
    assert wrong.status_code == 400
    assert "msdicom-expiry-time-milliseconds" in wrong.text
    headers = {
        "msdicom-expiry-time-milliseconds": "86400000",
        "msdicom-expiry-option": "RelativeToNow",
        "msdicom-expiry-level": "Study",
    }
    assert client.store(part10(ds), **headers).status_code == 200
    assert client.store(part10(ds), method="PUT", **headers).status_code == 200


# Metadata and bulk data (PS3.18 10.5.1) ---------------------------------------------------


def test_metadata_and_bulk_data_become_a_file(client: StoreClient) -> None:
    photo = dicom.ct(Rows=16, Columns=16, BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=None)
    scan = dicom.ct(PixelData=None)
    models = [ds.to_json_dict() for ds in (photo, scan)]
    for name, model in zip(("photo", "scan"), models, strict=True):
        model["7FE00010"] = {"vr": "OW", "BulkDataURI": name}
    pixels = bytes(range(32))
    body = bulk_request(
        models,
        ("image/jpeg", "photo", dicom.jpeg()),
        ("application/octet-stream", "scan", pixels),
    )
    answer = client.send(body, JSON_MULTIPART)
    assert answer.status_code == 200
    assert [item["00081155"]["Value"] for item in stored(answer)] == [
        [photo.SOPInstanceUID],
        [scan.SOPInstanceUID],
    ]
    read = pydicom.dcmread(io.BytesIO(client.file(photo)))
    assert read.file_meta.TransferSyntaxUID == dicom.JPEG_BASELINE
    assert read.pixel_array.shape == (16, 16)
    assert read.PatientName == photo.PatientName
    octets = {"Accept": "application/octet-stream"}
    assert client.get(f"{path_of(scan)}/frames/1", **octets).content == pixels
    [row] = client.get(f"/studies/{scan.StudyInstanceUID}/metadata").json()
    assert {**row, "7FE00010": None} == {**models[1], "7FE00010": None}


def test_each_data_set_without_its_bulk_data_is_named(client: StoreClient) -> None:
    good, bad = dicom.ct(PixelData=None), dicom.ct(PixelData=None)
    models = [good.to_json_dict(), bad.to_json_dict()]
    for model in models:
        model["7FE00010"] = {"vr": "OW", "BulkDataURI": f"bulk/{model['00080018']['Value'][0]}"}
    part = ("application/octet-stream", f"bulk/{good.SOPInstanceUID}", bytes(32))
    answer = client.send(bulk_request(models, part), JSON_MULTIPART)
    assert answer.status_code == 202
    [item] = failed(answer)
    assert item["00081155"]["Value"] == [bad.SOPInstanceUID]
    assert comments(item)[0].startswith("DICOM100: (7fe0,0010) - ")
    del models[0]["00080018"]
    answer = client.send(bulk_request(models[:1], part), JSON_MULTIPART)
    assert answer.status_code == 409
    assert "(0008,0018)" in comments(failed(answer)[0])[0]

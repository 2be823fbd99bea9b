"""Store over HTTP: the acceptance scenarios of spec dicomweb.md §7.2 and §7.3, on both versions."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support import dicom
from tests.support.dicom import element, part10, splice
from tests.support.requests import MULTIPART, multipart
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


# §7.2 Request level -----------------------------------------------------------------------


@both
@pytest.mark.spec("dicomweb", 21, 22, 23, 24, 25)
def test_requests_that_are_no_store(versioned: StoreClient) -> None:
    assert versioned.store(b"").status_code == 409
    refused = versioned.store(dicom.base(), study="b" * 65)
    assert refused.status_code == 400
    assert "StudyInstanceUid" in refused.text
    for accept in ("application/dicom", "application/data"):
        assert versioned.store(dicom.base(), Accept=accept).status_code == 406
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert versioned.send(multipart([dicom.base()]), form).status_code == 415


@both
@pytest.mark.spec("dicomweb", 26, 27, 28)
def test_multipart_with_nothing_in_it(versioned: StoreClient) -> None:
    nothing = versioned.send(b"--b--\r\n", MULTIPART)
    assert (nothing.status_code, nothing.content) == (204, b"")
    assert versioned.send(multipart([b""]), MULTIPART).status_code == 409
    ds = dicom.ct()
    answer = versioned.store(b"", part10(ds))
    assert answer.status_code == 202
    [item] = stored(answer)
    assert item["00081190"]["Value"] == [versioned.base + path_of(ds)]
    assert item["00081150"]["Value"] == [ds.SOPClassUID]


@both
@pytest.mark.spec("dicomweb", 29, 30, 31, 32)
def test_types_of_parts(versioned: StoreClient, client: StoreClient) -> None:
    ds = dicom.ct()
    untyped = b"--b\r\n\r\n" + part10(ds) + b"\r\n"
    other = dicom.ct()
    typed = multipart([part10(other)])[: -len(b"--b--\r\n")]
    for later in (
        untyped,
        untyped.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain\r\n\r\n", 1),
    ):
        answer = versioned.send(typed + later + b"--b--\r\n", MULTIPART)
        assert answer.status_code == 415
        assert "Part 2" in answer.text
    assert client.get(f"/studies/{other.StudyInstanceUID}/metadata").status_code == 404
    assert versioned.send(untyped + b"--b--\r\n", MULTIPART).status_code == 200
    kind = MULTIPART["Content-Type"]
    for content_type, cut, status in (
        (kind.replace("; boundary=b", ""), None, 415),
        (kind + "; start=x", None, 400),
        (kind, -7, 400),
    ):
        body = multipart([part10(other)])[:cut]
        assert versioned.send(body, {"Content-Type": content_type}).status_code == status
    assert client.get(f"/studies/{other.StudyInstanceUID}/metadata").status_code == 404


@pytest.mark.spec("dicomweb", 33)
@pytest.mark.parametrize("accept", ["*/*", "application/*", "Application/Dicom+JSON", None])
def test_accept_of_a_store(client: StoreClient, accept: str | None) -> None:
    """No header stands for the default type (conformance: differences)."""
    headers = {} if accept is None else {"Accept": accept}
    answer = client.store(part10(dicom.ct()), **headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"


@pytest.mark.bug_report(4, 5, 8)
@pytest.mark.parametrize(
    ("kind", "boundary", "part"),
    [
        ('"application/dicom"', '"a b\'()+_,-./:=?c"', "application/dicom"),
        ("application/dicom", "x1", "application/dicom"),
        ('"application/dicom"', "x1", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
    ],
)
def test_spellings_of_content_type(
    client: StoreClient, kind: str, boundary: str, part: str
) -> None:
    mark = boundary.strip('"').encode()
    head = b"--" + mark + b"\r\nContent-Type: " + part.encode() + b"\r\n\r\n"
    body = head + part10(dicom.ct()) + b"\r\n--" + mark + b"--\r\n"
    answer = client.send(
        body, {"Content-Type": f"multipart/related; type={kind}; boundary={boundary}"}
    )
    assert answer.status_code == 200
    assert answer.json().keys() == {"00081199"}


# §7.3 Results -----------------------------------------------------------------------------


@both
@pytest.mark.spec("dicomweb", 35, 36)
def test_the_answer_of_a_store(versioned: StoreClient, major: int) -> None:
    answer = versioned.store(part10(dicom.ct()))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert answer.json().keys() == {"00081199"}
    assert ("00741048" in stored(answer)[0]) == (major == _V2)
    ds = dicom.ct()
    answer = versioned.store(part10(ds), study=ds.StudyInstanceUID)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert answer.json()["00081190"] == {
        "vr": "UR",
        "Value": [f"{versioned.base}/studies/{ds.StudyInstanceUID}"],
    }


@both
@pytest.mark.spec("dicomweb", 37, 38)
def test_large_files_come_back_byte_for_byte(versioned: StoreClient) -> None:
    one = dicom.multi_frame(frames=64, Rows=512, Columns=512, PixelData=bytes(64 * 512 * 512))
    assert versioned.store(part10(one)).status_code == 200
    assert versioned.file(one) == part10(one)
    several = [
        dicom.multi_frame(frames=20, Rows=512, Columns=512, PixelData=bytes(20 * 512 * 512))
        for _ in range(3)
    ]
    assert versioned.store(*map(part10, several)).status_code == 200
    for ds in several:
        assert versioned.file(ds) == part10(ds)


@both
@pytest.mark.spec("dicomweb", 41, 42)
def test_instances_of_another_study_than_the_address(versioned: StoreClient) -> None:
    first, second = dicom.ct(), dicom.ct()
    answer = versioned.store(part10(first), part10(second), study=dicom.new_uid())
    assert answer.status_code == 409
    assert answer.json().keys() == {"00081198"}
    assert reasons(answer) == [43264, 43264]
    assert all(comments(item)[0] for item in failed(answer))
    answer = versioned.store(part10(first), part10(second), study=first.StudyInstanceUID)
    assert answer.status_code == 202
    assert len(answer.json()) == 3
    assert answer.json()["00081190"]["Value"][0].endswith(f"/studies/{first.StudyInstanceUID}")
    assert [item["00081155"]["Value"] for item in stored(answer)] == [[first.SOPInstanceUID]]
    assert reasons(answer) == [43264]
    assert versioned.get(f"{path_of(second)}/metadata").status_code == 404


@both
@pytest.mark.spec("dicomweb", 43, 44)
def test_an_instance_that_is_there(versioned: StoreClient) -> None:
    ds = dicom.ct()
    ds.SeriesInstanceUID = ds.StudyInstanceUID
    answer = versioned.store(part10(ds), part10(ds))
    assert answer.status_code == 202
    assert len(stored(answer)) == 1
    assert reasons(answer) == [45070]
    again = versioned.store(part10(ds))
    assert again.status_code == 409
    assert reasons(again) == [45070]
    assert "00741048" not in failed(again)[0]


@both
@pytest.mark.spec("dicomweb", 45, 46)
@pytest.mark.parametrize("uid", [b"abc.123\0", b"11| "])
def test_a_study_uid_that_is_none(versioned: StoreClient, uid: bytes) -> None:
    answer = versioned.store(with_element(dicom.ct(), 0x0020000D, "UI", uid))
    assert answer.status_code == 409
    assert not stored(answer)
    assert reasons(answer) == [43264]
    assert comments(failed(answer)[0])[0].startswith("DICOM100: (0020,000d) - ")


@both
@pytest.mark.spec("dicomweb", 47, 48)
def test_several_values_where_one_is_indexed(versioned: StoreClient, major: int) -> None:
    answer = versioned.store(with_element(dicom.ct(), 0x00081030, "LO", b"One\\Two "))
    assert len(stored(answer)) == 1
    assert not failed(answer)
    if major == _V1:
        assert answer.status_code == 200
        assert answer.headers["warning"].startswith("299 127.0.0.1: ")
    else:
        assert answer.status_code == 202
        assert (
            "Number of items 2 does not match ValueMultiplicity 1"
            in (comments(stored(answer)[0])[0])
        )


@both
@pytest.mark.spec("dicomweb", 49)
def test_a_study_uid_with_trailing_space(versioned: StoreClient) -> None:
    ds = dicom.ct()
    uid = str(ds.StudyInstanceUID)[:39]
    data = splice(part10(ds), element(0x0020000D, "UI", f"{uid} ".encode()))
    assert versioned.store(data).status_code in (200, 202)
    ds.StudyInstanceUID = uid
    assert versioned.file(ds) == data
    assert versioned.metadata(ds)["0020000D"]["Value"] == [f"{uid} "]
    more = splice(part10(ds), element(0x0020000D, "UI", f"{uid}{' ' * 7}".encode()))
    answer = versioned.store(more)
    assert answer.status_code == 409
    assert reasons(answer) == [45070]


@both
@pytest.mark.spec("dicomweb", 50, 51)
def test_implicit_vr(versioned: StoreClient, major: int) -> None:
    ds = dicom.ct()
    ds.add_new(0x00070008, "LO", "private")
    data = part10(ds, dicom.IMPLICIT_LE)
    answer = versioned.store(data)
    assert answer.status_code == (200 if major == _V1 else 202)
    assert stored(answer)[0]["00081196"]["Value"] == [45063]
    assert versioned.file(ds) == data
    assert "00070008" not in versioned.metadata(ds)


@pytest.mark.parametrize("major", [_V1])
@pytest.mark.spec("dicomweb", 52, 53)
def test_searched_attributes_are_strict_in_version_1(versioned: StoreClient) -> None:
    answer = versioned.store(with_element(dicom.ct(), 0x00080060, "CS", b"M" * 20))
    assert answer.status_code == 409
    assert reasons(answer) == [43264]
    assert comments(failed(answer)[0])
    assert not stored(answer)
    answer = versioned.store(
        with_element(dicom.ct(), 0x00100020, "LO", b"Before Null Character, \0")
    )
    assert answer.status_code == 409
    assert comments(failed(answer)[0]) == [
        "DICOM100: (0010,0020) - Dicom element 'PatientID' failed validation for VR 'LO': "
        "Value contains invalid character."
    ]


@pytest.mark.spec("dicomweb", 54, 57, 58, 60, 61)
def test_values_that_break_their_vr_in_version_2(client: StoreClient) -> None:
    assert client.store(with_element(dicom.ct(), 0x00080060, "CS", b"M" * 20)).status_code == 202
    answer = client.store(with_element(dicom.ct(), 0x00080060, "CS", b"X\0X "))
    assert answer.status_code == 202
    [item] = stored(answer)
    assert "does not validate VR CS: value contains invalid character" in comments(item)[0]
    ds = dicom.ct()
    data = with_element(ds, 0x00080060, "CS", b"X\0")
    answer = client.store(data)
    assert answer.status_code == 200
    assert stored(answer)[0]["00741048"] == {"vr": "SQ"}
    assert client.file(ds) == data
    assert client.metadata(ds)["00080060"]["Value"] == ["X\0"]
    series = f"/studies/{ds.StudyInstanceUID}/series"
    for query in ("X", "X%00"):
        assert client.get(f"{series}?Modality={query}").status_code == 200
    answer = client.store(with_element(dicom.ct(), 0x00100020, "LO", b"123\0"))
    assert answer.status_code == 200
    assert stored(answer)[0]["00741048"] == {"vr": "SQ"}
    answer = client.store(with_element(dicom.ct(), 0x00100020, "LO", b"\x00123\0 "))
    assert answer.status_code == 409
    assert reasons(answer) == [43264]
    assert not stored(answer)


@pytest.mark.spec("dicomweb", 55, 56)
def test_a_date_that_is_none(client: StoreClient) -> None:
    ds = dicom.ct(PatientBirthDate="20220315")
    data = with_element(ds, 0x00080020, "DA", b"NotAValidStudyDate")
    answer = client.store(data)
    assert answer.status_code == 202
    assert comments(stored(answer)[0]) == [
        'DICOM100: (0008,0020) - Content "NotAValidStudyDate" does not validate VR DA: '
        "one of the date values does not match the pattern YYYYMMDD"
    ]
    assert client.file(ds) == data
    found = client.metadata(ds)
    assert found["00100030"]["Value"] == ["20220315"]
    assert "00080020" not in found
    rows = client.get(
        f"/instances?PatientBirthDate=20220315&SOPInstanceUID={ds.SOPInstanceUID}"
    ).json()
    assert [row["00080018"]["Value"] for row in rows] == [[ds.SOPInstanceUID]]
    assert client.get("/studies?StudyDate=NotAValidStudyDate").status_code == 400


@pytest.mark.spec("dicomweb", 59)
def test_a_study_uid_with_trailing_nul(client: StoreClient) -> None:
    ds = dicom.ct(StudyInstanceUID=dicom.new_uid()[:37])
    uid = str(ds.StudyInstanceUID)
    data = splice(part10(ds), element(0x0020000D, "UI", f"{uid}\0".encode()))
    answer = client.store(data, study=uid)
    assert answer.status_code == 200
    assert stored(answer)[0]["00741048"] == {"vr": "SQ"}
    assert len(client.get(f"{path_of(ds)}/metadata").json()) == 1
    assert client.http.delete(f"{client.base}/studies/{uid}").status_code == 204


@pytest.mark.spec("dicomweb", 62, 63, 64)
def test_a_patient_without_id(client: StoreClient) -> None:
    first = dicom.ct(PatientID="")
    study = str(first.StudyInstanceUID)
    warning = "DICOM100: (0010,0020) - The required tag '(0010,0020)' is missing."

    def patient_id() -> Any:
        [row] = client.get(f"/studies?StudyInstanceUID={study}").json()
        return row["00100020"]

    answer = client.store(part10(first))
    assert answer.status_code == 202
    assert warning in comments(stored(answer)[0])[0]
    assert patient_id() == {"vr": "LO"}
    second = dicom.ct(StudyInstanceUID=study, PatientID="123")
    assert client.store(part10(second)).status_code == 200
    assert patient_id()["Value"] == ["123"]
    third = dicom.ct(StudyInstanceUID=study, PatientID="")
    answer = client.store(part10(third))
    assert answer.status_code == 202
    assert warning in comments(stored(answer)[0])[0]
    assert patient_id()["Value"] == ["123"]


@both
@pytest.mark.spec("dicomweb", 65)
@pytest.mark.parametrize(
    ("keyword", "tag"),
    [
        ("SOPClassUID", "(0008,0016)"),
        ("StudyInstanceUID", "(0020,000d)"),
        ("SeriesInstanceUID", "(0020,000e)"),
        ("SOPInstanceUID", "(0008,0018)"),
        ("PatientID", "(0010,0020)"),
    ],
)
def test_an_attribute_that_is_required(versioned: StoreClient, keyword: str, tag: str) -> None:
    answer = versioned.store(part10(dicom.ct(**{keyword: None})))
    assert answer.status_code == 409
    assert reasons(answer) == [43264]
    assert f"DICOM100: {tag} - The required tag '{tag}' is missing." in (
        comments(failed(answer)[0])
    )


@pytest.mark.spec("dicomweb", 66, 67)
def test_faults_within_sequences_and_in_private_elements(client: StoreClient) -> None:
    item = dicom.item()
    item.add_new(0x300E0004, "LO", "2024-1-1")
    nested = dicom.ct(RequestAttributesSequence=[item])
    data = part10(nested).replace(b"\x0e\x30\x04\0LO", b"\x0e\x30\x04\0DA")
    answer = client.store(data)
    assert answer.status_code == 202
    assert comments(stored(answer)[0])[0].startswith("DICOM100: (300e,0004) - ")
    private = splice(
        part10(dicom.ct()), element(0x00090010, "LO", b"TEST"), element(0x00091001, "AS", b"12")
    )
    answer = client.store(private)
    assert answer.status_code == 202
    assert comments(stored(answer)[0])[0].startswith("DICOM100: (0009,1001) - ")


@both
@pytest.mark.spec("dicomweb", 68)
def test_no_pixels_and_one_uid_for_all(versioned: StoreClient) -> None:
    uid = dicom.new_uid()
    ds = dicom.ct(StudyInstanceUID=uid, SeriesInstanceUID=uid, SOPInstanceUID=uid, PixelData=None)
    assert versioned.store(part10(ds)).status_code == 200


@both
@pytest.mark.spec("dicomweb", 70)
@pytest.mark.bug_report(2, 7)
def test_one_part_is_no_dicom(versioned: StoreClient) -> None:
    text = b"no DICOM at all " * 25
    assert versioned.store(text).status_code == 409
    answer = versioned.store(part10(dicom.ct()), text)
    assert answer.status_code == 202
    [item] = failed(answer)
    assert item.keys() == {"00081197"}
    cut = part10(dicom.ct())
    answer = versioned.store(part10(dicom.ct()), cut[: len(cut) - 20])
    assert answer.status_code == 202
    assert len(stored(answer)) == len(failed(answer)) == 1

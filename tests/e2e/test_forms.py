"""Other forms of answers over HTTP: XML and zip."""

from __future__ import annotations

import io
import zipfile
from email.parser import BytesParser
from xml.etree import ElementTree

import httpx
import pytest
from pydicom import dcmread

from shared.dicom.native_xml import NAMESPACE
from tests.support import dicom
from tests.support.requests import DICOM, MULTIPART, multipart

XML = 'multipart/related; type="application/dicom+xml"'
ZIP = {"Accept": "application/zip"}


@pytest.fixture(scope="module")
def study(http: httpx.Client) -> tuple[str, dict[str, bytes]]:
    """Address of a study of two series, and its files by their names in an archive."""
    first = dicom.ct(PatientName="Näme^<&>", SpecificCharacterSet="ISO_IR 192")
    files = {}
    for ds in (first, dicom.mr(StudyInstanceUID=first.StudyInstanceUID)):
        name = f"{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm"
        files[name] = dicom.part10(ds)
    assert http.post("/studies", content=multipart(files.values()), headers=MULTIPART).is_success
    return f"/studies/{first.StudyInstanceUID}", files


def _documents(answer: httpx.Response) -> list[ElementTree.Element]:
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(XML)
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.content)
    found = []
    for part in message.get_payload():
        assert part["Content-Type"] == "application/dicom+xml"
        found.append(ElementTree.fromstring(part.get_payload(decode=True)))
    return found


def _value(document: ElementTree.Element, keyword: str) -> str | None:
    names = {"n": NAMESPACE}
    return document.findtext(f"n:DicomAttribute[@keyword='{keyword}']/n:Value", None, names)


def test_metadata_as_xml(http: httpx.Client, study: tuple[str, dict[str, bytes]]) -> None:
    url, files = study
    answer = http.get(f"{url}/metadata", headers={"Accept": XML})
    documents = _documents(answer)
    uids = {_value(document, "SOPInstanceUID") for document in documents}
    assert uids == {name.split("/")[2].removesuffix(".dcm") for name in files}
    names = {
        element.text
        for document in documents
        for element in document.iter(f"{{{NAMESPACE}}}FamilyName")
    }
    assert "Näme" in names
    known = {"Accept": XML, "If-None-Match": answer.headers["etag"]}
    assert http.get(f"{url}/metadata", headers=known).status_code == 304
    as_json = {"If-None-Match": answer.headers["etag"]}
    assert http.get(f"{url}/metadata", headers=as_json).status_code == 200


@pytest.mark.parametrize(
    ("accept", "xml"),
    [
        (f"{XML}, application/dicom+json;q=0.9", True),
        (f"{XML};q=0.9, application/dicom+json", False),
        (f"{XML}, application/dicom+json", False),
        (f"{XML}, */*;q=0.1", True),
        ("multipart/related; type=application/dicom+xml", True),
        ("*/*", False),
    ],
)
def test_json_is_the_default_and_weights_decide(
    http: httpx.Client, study: tuple[str, dict[str, bytes]], accept: str, xml: bool
) -> None:
    uid = study[0].split("/")[2]
    answer = http.get(f"/studies?StudyInstanceUID={uid}", headers={"Accept": accept})
    if not xml:
        assert answer.headers["content-type"] == "application/dicom+json"
        return
    [document] = _documents(answer)
    assert _value(document, "StudyInstanceUID") == uid


def test_neither_is_406(http: httpx.Client) -> None:
    for accept in ("application/dicom+xml", "multipart/related", f"{XML};q=0", "text/html"):
        assert http.get("/studies?PatientID=0", headers={"Accept": accept}).status_code == 406


def test_a_store_answers_in_xml(http: httpx.Client) -> None:
    ds = dicom.ct()
    headers = {**DICOM, "Accept": "application/dicom+xml"}
    answer = http.post("/studies", content=dicom.part10(ds), headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+xml"
    document = ElementTree.fromstring(answer.content)
    uids = [element.text for element in document.iter(f"{{{NAMESPACE}}}Value")]
    assert ds.SOPInstanceUID in uids


def test_archives_of_each_level(http: httpx.Client, study: tuple[str, dict[str, bytes]]) -> None:
    url, files = study
    name = next(iter(files))
    _, series, instance = name.removesuffix(".dcm").split("/")
    for path, expected in (
        (url, files),
        (f"{url}/series/{series}", {name: files[name]}),
        (f"{url}/series/{series}/instances/{instance}", {name: files[name]}),
    ):
        answer = http.get(path, headers=ZIP)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/zip"
        uid = path.rpartition("/")[2]
        assert answer.headers["content-disposition"] == f'attachment; filename="{uid}.zip"'
        with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
            assert {one: found.read(one) for one in found.namelist()} == expected
        head = http.head(path, headers=ZIP)
        assert (head.status_code, head.content) == (200, b"")
    assert http.get("/studies/1.2", headers=ZIP).status_code == 404
    assert http.delete(url).status_code == 204
    assert http.get(url, headers=ZIP).status_code == 404


def test_an_archive_in_another_transfer_syntax(http: httpx.Client) -> None:
    ds = dicom.encapsulated([dicom.jpeg_2000(16, 16)], Rows=16, Columns=16)
    file = dicom.part10(ds, dicom.JPEG_2000)
    assert http.post("/studies", content=file, headers=DICOM).is_success
    url = f"/studies/{ds.StudyInstanceUID}"
    contents = {}
    for syntax in ("*", dicom.EXPLICIT_LE):
        accept = f"application/zip; transfer-syntax={syntax}"
        answer = http.get(url, headers={"Accept": accept})
        assert answer.status_code == 200, answer.text
        with zipfile.ZipFile(io.BytesIO(answer.content)) as found:
            [contents[syntax]] = [found.read(one) for one in found.namelist()]
    assert contents["*"] == file
    assert dcmread(io.BytesIO(contents[dicom.EXPLICIT_LE])).PixelData == bytes([128]) * 256

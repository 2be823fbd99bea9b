"""The surface over HTTP: HEAD, OPTIONS, other origins, conditions and ranges, public addresses."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.conftest import VIEWER
from tests.support import dicom
from tests.support.requests import DICOM, MULTIPART, multipart
from tests.support.server import Server

OCTETS = "application/octet-stream; transfer-syntax=*"
SINGLE = {"Accept": "application/dicom; transfer-syntax=*"}


def _path(ds: dicom.Dataset) -> str:
    return (
        f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}"
    )


@pytest.fixture(scope="module")
def stored(http: httpx.Client) -> tuple[str, bytes]:
    """Path and file of an instance with frames and a bulk value of 70 kB."""
    ds = dicom.multi_frame(frames=2)
    ds.add_new(0x00091010, "OB", b"bulk" * 17_500)
    ds.add_new(0x00090010, "LO", "TEST")
    file = dicom.part10(ds, dicom.EXPLICIT_LE)
    assert http.post("/studies", content=file, headers=DICOM).status_code == 200
    return _path(ds), file


@pytest.mark.parametrize(
    ("suffix", "accept"),
    [
        ("", "multipart/related; type=application/dicom; transfer-syntax=*"),
        ("", SINGLE["Accept"]),
        ("/metadata", "application/dicom+json"),
        ("/frames/1", OCTETS),
        ("/frames/1,2", "multipart/related; type=application/octet-stream; transfer-syntax=*"),
        ("/frames/9", OCTETS),
        ("/bulkdata/00091010", "application/octet-stream"),
        ("/bulkdata/00091010", "multipart/related; type=application/octet-stream"),
        ("/bulkdata/00091011", "application/octet-stream"),
        ("/metadata", "text/html"),
    ],
)
def test_head_has_the_headers_of_get_and_no_content(
    http: httpx.Client, stored: tuple[str, bytes], suffix: str, accept: str
) -> None:
    headers = {"Accept": accept, "Accept-Encoding": "identity"}
    got = http.get(stored[0] + suffix, headers=headers)
    head = http.head(stored[0] + suffix, headers=headers)
    assert head.status_code == got.status_code
    assert head.content == b""
    names = {"content-type", "etag", "accept-ranges", "cache-control", "vary"}
    expected = {name: got.headers.get(name) for name in names}
    found = {name: head.headers.get(name) for name in names}
    for either in (expected, found):
        either["content-type"] = (either["content-type"] or "").partition("boundary=")[0]
    assert found == expected
    length = head.headers.get("content-length")
    assert length in (None, str(len(got.content)))
    if "frames" not in suffix and suffix != "/metadata":
        assert length is not None


def test_head_of_searches_and_of_health(
    server: Server, http: httpx.Client, stored: tuple[str, bytes]
) -> None:
    study = stored[0].split("/")[2]
    for path, status in (
        (f"/studies?StudyInstanceUID={study}", 200),
        ("/studies?PatientID=0", 204),
    ):
        head = http.head(path)
        assert (head.status_code, head.content) == (status, b"")
    assert httpx.head(f"{server.base_url}/health/check").status_code == 200


@pytest.mark.spec("dicomweb", 5)
def test_options_and_wrong_methods_name_the_right_ones(http: httpx.Client) -> None:
    for path, allowed in (
        ("/studies", "GET, HEAD, OPTIONS, POST, PUT"),
        ("/studies/1.2/metadata", "GET, HEAD, OPTIONS"),
        ("/partitions/p/studies/1.2/series/3", "DELETE, GET, HEAD, OPTIONS"),
    ):
        answer = http.options(path)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["allow"] == allowed
        wrong = http.patch(path, content=b"x")
        assert (wrong.status_code, wrong.headers["allow"], wrong.content) == (405, allowed, b"")
        assert "access-control-allow-origin" not in answer.headers
    assert http.options("/nothing/here").status_code == 404
    assert http.put("/studies/1.2/metadata").status_code == 405


def test_a_viewer_of_a_listed_origin_works_with_a_token(
    http: httpx.Client, stored: tuple[str, bytes]
) -> None:
    asked = {
        "Origin": VIEWER,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,accept",
        "Access-Control-Request-Private-Network": "true",
    }
    preflight = http.options(f"{stored[0]}/frames/1", headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == VIEWER
    assert preflight.headers["access-control-allow-headers"] == "authorization,accept"
    assert preflight.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert preflight.headers["access-control-allow-private-network"] == "true"
    for path in (f"{stored[0]}/metadata", "/studies/1.2/metadata", "/nowhere"):
        answer = http.get(path, headers={"Origin": VIEWER})
        assert answer.headers["access-control-allow-origin"] == VIEWER
        assert "ETag" in answer.headers["access-control-expose-headers"]
        assert "Origin" in answer.headers["vary"]
    stranger = http.options("/studies", headers={**asked, "Origin": "https://stranger.example"})
    refused = http.get("/studies?PatientID=0", headers={"Origin": "https://stranger.example"})
    for answer in (stranger, refused):
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "Origin" in answer.headers["vary"]


def test_a_client_that_has_it_gets_304(http: httpx.Client, stored: tuple[str, bytes]) -> None:
    for suffix, accept in (("", SINGLE["Accept"]), ("", "*/*"), ("/frames/1", OCTETS)):
        headers = {"Accept": accept}
        first = http.get(stored[0] + suffix, headers=headers)
        assert first.status_code == 200
        assert first.headers["cache-control"] == "private, no-cache"
        for method in ("GET", "HEAD"):
            again = http.request(
                method,
                stored[0] + suffix,
                headers={**headers, "If-None-Match": first.headers["etag"]},
            )
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == first.headers["etag"]
        other = http.get(stored[0] + suffix, headers={**headers, "If-None-Match": '"x"'})
        assert other.status_code == 200


def test_another_version_has_another_tag(http: httpx.Client) -> None:
    ds = dicom.ct()
    path = _path(ds)
    tags = []
    for comment in ("one", "two"):
        ds.ImageComments = comment
        file = dicom.part10(ds, dicom.EXPLICIT_LE)
        assert http.put("/studies", content=multipart([file]), headers=MULTIPART).is_success
        answer = http.get(path, headers={**SINGLE, "If-None-Match": ", ".join(tags) or '"-"'})
        assert answer.content == file
        tags.append(answer.headers["etag"])
    assert tags[0] != tags[1]


def test_ranges_of_an_instance(http: httpx.Client, stored: tuple[str, bytes]) -> None:
    path, file = stored
    size = len(file)
    for text, begin, end in (
        ("bytes=0-131", 0, 132),
        ("bytes=128-", 128, size),
        ("bytes=-100", size - 100, size),
    ):
        part = http.get(path, headers={**SINGLE, "Range": text})
        assert part.status_code == 206
        assert part.content == file[begin:end]
        assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
        assert part.headers["content-length"] == str(end - begin)
    beyond = http.get(path, headers={**SINGLE, "Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    etag = http.head(path, headers=SINGLE).headers["etag"]
    for condition, status in ((etag, 206), ('"older"', 200)):
        answer = http.get(path, headers={**SINGLE, "Range": "bytes=0-9", "If-Range": condition})
        assert answer.status_code == status
    assert http.get(path, headers={**SINGLE, "Range": "bytes=0-1,5-6"}).status_code == 200


@pytest.mark.bug_report(35)
def test_addresses_begin_with_the_public_one_whatever_a_proxy_says(
    server: Server, http: httpx.Client, stored: tuple[str, bytes]
) -> None:
    inner = {
        "Host": "inner:7071",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "Forwarded": "host=evil.example;proto=https",
    }
    [metadata] = http.get(f"{stored[0]}/metadata", headers=inner).json()
    uri = metadata["00091010"]["BulkDataURI"]
    assert uri.startswith(f"{server.base_url}/")
    assert httpx.get(uri).content == b"bulk" * 17_500
    again = http.post("/studies", content=dicom.part10(dicom.ct()), headers={**DICOM, **inner})
    url = again.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert url.startswith(f"{http.base_url}studies/")
    wrong = httpx.get(f"{server.base_url}/main/v3/studies", headers=inner)
    assert "inner" not in wrong.text
    assert "evil" not in wrong.text


@pytest.mark.spec("dicomweb", 6)
@pytest.mark.parametrize("path", ["/studies/$bulkUpdate", "/studies/$nothing"])
def test_an_operation_that_the_version_does_not_have_is_404(
    server: Server, tenants: tuple[str, str], path: str
) -> None:
    answer = httpx.post(f"{server.base_url}/{tenants[0]}/v1{path}", json={})
    assert answer.status_code == 404

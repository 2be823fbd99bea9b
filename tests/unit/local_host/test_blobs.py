from __future__ import annotations

import pytest

from local_host.blobs import BlobPath
from local_host.receipts import Receipts, receipt
from local_host.scanning import FoundBlob, read_listing
from local_host.settings import HostError


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("box/{name}", "a", True),
        ("box/{name}", "a/b/c", True),  # any parameter takes slashes
        ("box/in/{name}", "in/a/b.dcm", True),
        ("box/in/{name}", "out/a", False),
        ("box/in/{p}/{s}/{name}", "in/1/2/3/4.dcm", True),
        ("box/in/{p}/{s}/{name}", "in/1/2", False),
        ("box/{name}.dcm", "a/b.dcm", True),
        ("box/{name}.dcm", "a/b.DCM", False),
        ("box/{name}.dcm", "axdcm", False),
        ("box/exact.txt", "exact.txt", True),
        ("box/exact.txt", "exact.txt2", False),
        ("box", "anything/at/all", True),
        ("box/{{x}}/{name}", "{x}/1", True),
        ("box/{name}", "line\nbreak", True),
    ],
)
def test_a_path_matches_as_webjobs_does(path, name, expected):
    assert BlobPath.parse(path).matches(name) is expected


def test_what_comes_before_the_first_parameter_narrows_the_listing():
    path = BlobPath.parse("Box/in/{p}/x-{name}")
    assert (path.container, path.prefix) == ("box", "in/")
    assert BlobPath.parse("box/a{{b}}/{c}").prefix == "a{b}/"
    assert BlobPath.parse("box").prefix == ""


@pytest.mark.parametrize(
    "path", ["", "/x", "box/", "{c}/x", "box/{", "box/}", "box/{}", "box/{a-b}", "box/{a}{a}"]
)
def test_a_path_that_webjobs_refuses_is_refused(path):
    with pytest.raises(HostError):
        BlobPath.parse(path)


def test_a_listing_is_read():
    page = """\ufeff<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>
        <Blob><Name>a/&amp;é.dcm</Name><Properties><Etag>0x1</Etag>
          <Content-Length>12</Content-Length></Properties></Blob>
        <Blob><Name Encoded="true">b%EF%BF%BE</Name><Properties><Etag>"0x2"</Etag>
          <Content-Length>0</Content-Length></Properties></Blob>
        </Blobs><NextMarker/></EnumerationResults>""".encode()
    assert list(read_listing(page)) == [
        FoundBlob("a/&é.dcm", "0x1", 12),
        FoundBlob("b\ufffe", "0x2", 0),
    ]


def test_receipts_outlive_the_process(tmp_path):
    path = tmp_path / "state" / "receipts.sqlite"
    first, second = receipt("a", "1"), receipt("a", "2")
    receipts = Receipts(path)
    receipts.add("f box", first)
    receipts.add("f box", first)
    receipts.add("f box", second)
    receipts.add("g box", first)
    receipts.forget("f box", [second])
    receipts.close()
    receipts = Receipts(path)
    assert receipts.load("f box") == {first}
    assert receipts.load("g box") == {first}
    receipts.close()

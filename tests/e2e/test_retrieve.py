"""Retrieval over HTTP: studies, series, frames, metadata, bulk data (spec §7.4–7.8)."""

from __future__ import annotations

import gzip
import struct
import uuid
from email.parser import BytesParser

import httpx
import pytest

from tests.support import dicom
from tests.support.requests import DICOM, MULTIPART, multipart
from tests.support.server import Server

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


def _parts(answer: httpx.Response) -> list[tuple[str, bytes]]:
    """Content type and content of each part, by the standard library's parser."""
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser().parsebytes(head + answer.content)
    assert message.is_multipart()
    return [(str(part["Content-Type"]), part.get_payload(decode=True)) for part in message.walk()][
        1:
    ]  # type: ignore[return-value]


def _store(
    http: httpx.Client, *datasets: dicom.Dataset, syntax: str = dicom.EXPLICIT_LE
) -> list[bytes]:
    files = [dicom.part10(ds, syntax) for ds in datasets]
    answer = http.post("/studies", content=multipart(files), headers=MULTIPART)
    assert answer.status_code in (200, 202), answer.text
    return files


_SIXTY_FOUR = {
    "Rows": 64, "Columns": 64, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
    "PixelRepresentation": 0,
}  # fmt: skip


def _path(ds: dicom.Dataset) -> str:
    return (
        f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}"
    )


@pytest.mark.spec("dicomweb", 1)
def test_001_health(server: Server) -> None:
    answer = httpx.get(f"{server.base_url}/health/check")
    assert answer.status_code == 200
    assert answer.json()["overallStatus"] == "Healthy"


@pytest.mark.spec("dicomweb", 2, 3, 4, 9)
def test_002_003_004_versions(server: Server, tenants: tuple[str, str]) -> None:
    base = f"{server.base_url}/{tenants[0]}"
    unsupported = httpx.get(f"{base}/v3/studies")
    assert unsupported.status_code == 400
    assert unsupported.json()["error"]["code"] == "UnsupportedApiVersion"
    assert unsupported.headers["api-supported-versions"] == "1.0-prerelease, 1, 2"
    assert httpx.get(f"{base}/vabc/studies").status_code == 404
    unversioned = httpx.get(f"{base}/studies")
    assert (unversioned.status_code, unversioned.content) == (404, b"")
    assert httpx.get(f"{base}/v2/studies?StudyDate=18000101").status_code == 204
    for version in ("1", "2", "1.0-prerelease"):
        answer = httpx.get(f"{base}/v{version}/studies?PatientID=nobody")
        assert answer.status_code == 204
        assert answer.headers["api-supported-versions"] == "1.0-prerelease, 1, 2"


@pytest.mark.spec("dicomweb", 74, 78, 87)
def test_078_a_study_has_exactly_its_instances(http: httpx.Client) -> None:
    first = dicom.ct()
    second = dicom.mr(StudyInstanceUID=first.StudyInstanceUID)
    files = _store(http, first, second)
    _store(http, dicom.ct())
    for accept in (AS_STORED, "*/*", None):
        headers = {} if accept is None else {"Accept": accept}
        answer = http.get(f"/studies/{first.StudyInstanceUID}", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["content-length"] == str(len(answer.content))
        parts = _parts(answer)
        assert {content for _, content in parts} == set(files)
        assert all("transfer-syntax=1.2.840.10008.1.2.1" in kind for kind, _ in parts)


@pytest.mark.spec("dicomweb", 83)
def test_083_a_series_has_exactly_its_instances(http: httpx.Client) -> None:
    first = dicom.ct()
    second = dicom.ct(
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID
    )
    other = dicom.mr(StudyInstanceUID=first.StudyInstanceUID)
    files = _store(http, first, second, other)
    url = f"/studies/{first.StudyInstanceUID}/series/{first.SeriesInstanceUID}"
    parts = _parts(http.get(url, headers={"Accept": AS_STORED}))
    assert {content for _, content in parts} == set(files[:2])


@pytest.mark.spec("dicomweb", 75, 76, 77, 81, 84, 85, 86, 93, 94, 97, 133, 134, 135, 136, 147)
@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/studies/1.2", "application/dicom; transfer-syntax=*", 406),  # 75
        ("/studies/1.2", OCTETS, 406),  # 76
        ("/studies/1.2", f"{AS_STORED[:-1]}1.2.840.10008.1.2.4.100", 406),  # 77
        ("/studies/1.2/series/1.2", "application/dicom; transfer-syntax=*", 406),  # 84
        ("/studies/1.2/series/1.2", OCTETS, 406),  # 84
        ("/studies/1.2/series/1.2", f"{AS_STORED[:-1]}1.2.840.10008.1.2.4.100", 406),  # 84
        ("/studies/1.2", AS_STORED, 404),  # 81
        ("/studies/1.2/series/1.2", AS_STORED, 404),  # 85
        ("/studies/x", AS_STORED, 400),  # 86
        ("/studies/1.2/series/1.2/instances/1.2", "application/octet-stream", 406),  # 93
        (
            "/studies/1.2/series/1.2/instances/1.2",
            "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.100",
            406,
        ),  # 94
        ("/studies/1.2/series/1.2/instances/1.2", "*/*", 404),  # 97
        ("/studies/1.2/series/x", AS_STORED, 400),  # 86
        ("/studies/1.2/series/1.2/metadata", "application/data", 406),  # 133
        ("/studies/1.2/series/1.2/instances/1.2/metadata", "application/data", 406),  # 133
        ("/studies/1.2/series/1.2/metadata", "*/*", 404),  # 135
        ("/studies/1.2/series/1.2/instances/1.2/metadata", "*/*", 404),  # 136
        ("/studies/1.2/metadata", "application/data", 406),  # 133
        ("/studies/1.2/metadata", "*/*", 404),  # 134
        ("/studies/x/metadata", "*/*", 400),  # 147
    ],
)
def test_075_to_147_what_cannot_be_had(
    http: httpx.Client, path: str, accept: str, status: int
) -> None:
    answer = http.get(path, headers={"Accept": accept})
    assert answer.status_code == status
    assert answer.text


@pytest.mark.spec("dicomweb", 79, 80, 85, 95, 96)
def test_080_a_study_of_several_syntaxes_comes_as_stored(http: httpx.Client) -> None:
    native = dicom.ct()
    video = dicom.encapsulated([bytes(100)], StudyInstanceUID=native.StudyInstanceUID)
    files = _store(http, native)
    files += _store(http, video, syntax=dicom.HEVC)
    url = f"/studies/{native.StudyInstanceUID}"
    parts = _parts(http.get(url, headers={"Accept": AS_STORED}))
    assert {content for _, content in parts} == set(files)
    assert {kind.rpartition("=")[2] for kind, _ in parts} == {
        dicom.EXPLICIT_LE,
        dicom.HEVC,
    }
    only = {"Accept": f"{AS_STORED[:-1]}{dicom.EXPLICIT_LE}"}
    assert http.get(url, headers=only).status_code == 406
    series = f"{url}/series/{video.SeriesInstanceUID}"
    assert http.get(series, headers=only).status_code == 406
    instance = f"{series}/instances/{video.SOPInstanceUID}"
    assert http.get(instance, headers=only).status_code == 406
    assert [part for part, _ in _parts(http.get(instance, headers={"Accept": AS_STORED}))]


@pytest.mark.bug_report(16, 17)
def test_017_a_frame_is_labelled_as_what_it_is(http: httpx.Client) -> None:
    frame = dicom.jpeg()
    ds = dicom.encapsulated([frame])
    _store(http, ds, syntax=dicom.JPEG_BASELINE)
    for accept in ('multipart/related; type="image/jpeg"', OCTETS):
        [(kind, content)] = _parts(http.get(f"{_path(ds)}/frames/1", headers={"Accept": accept}))
        assert content.rstrip(b"\0") == frame.rstrip(b"\0")
        assert dicom.JPEG_BASELINE in kind
    wrong = http.get(f"{_path(ds)}/frames/1", headers={"Accept": "image/jp2"})
    assert wrong.status_code == 406


@pytest.mark.spec("dicomweb", 117, 118, 119, 120, 121, 122, 123, 125, 126)
@pytest.mark.bug_report(19)
def test_117_to_125_frames(http: httpx.Client) -> None:
    ds = dicom.multi_frame(frames=3)
    _store(http, ds)
    size = len(ds.PixelData) // 3
    frames = [ds.PixelData[at * size : (at + 1) * size] for at in range(3)]
    url = f"{_path(ds)}/frames"

    def get(numbers: str, accept: str = OCTETS) -> httpx.Response:
        return http.get(f"{url}/{numbers}", headers={"Accept": accept})

    assert [content for _, content in _parts(get("1,2"))] == frames[:2]
    assert [content for _, content in _parts(get("2,1,2"))] == [frames[1], frames[0], frames[1]]
    assert [content for _, content in _parts(get("1%2C3"))] == [frames[0], frames[2]]
    single = get("1", "application/octet-stream")
    assert single.content == frames[0]
    assert single.headers["content-type"].startswith("application/octet-stream")
    assert get("1,2", "application/octet-stream").status_code == 400
    assert get("4").status_code == 404
    assert get("1,9").status_code == 404
    for wrong in ("0", "-1", "1,-1", "0,1", "a", "1,", "1.5"):
        assert get(wrong).status_code == 400
    nothing = dicom.structured_report()
    _store(http, nothing)
    assert http.get(f"{_path(nothing)}/frames/1").status_code == 404  # 126


@pytest.mark.bug_report(25)
def test_025_big_endian_frames_come_little_endian(http: httpx.Client) -> None:
    ds = dicom.ct()
    pixels = bytes(ds.PixelData)
    files = _store(http, ds, syntax=dicom.EXPLICIT_BE)
    assert pixels not in files[0]
    answer = http.get(f"{_path(ds)}/frames/1", headers={"Accept": "application/octet-stream"})
    assert answer.content == pixels
    whole = http.get(_path(ds), headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert whole.content == files[0]


def test_deflated_files_give_their_frames_and_bulk_data(http: httpx.Client) -> None:
    ds = dicom.ct()
    _store(http, ds, syntax=dicom.DEFLATED)
    answer = http.get(f"{_path(ds)}/frames/1", headers={"Accept": "application/octet-stream"})
    assert answer.content == ds.PixelData
    assert http.get(f"{_path(ds)}/bulkdata/7FE00010").content == ds.PixelData


@pytest.mark.spec("dicomweb", 137, 138, 139)
def test_137_metadata_is_the_data_set_less_bulk_values(http: httpx.Client) -> None:
    def with_bulk(**attributes: object) -> dicom.Dataset:
        nested = dicom.item(PixelData=bytes(3000))
        nested["PixelData"].VR = "OW"
        ds = dicom.ct(RegistrationSequence=[nested], **attributes)
        ds.add_new(0x00070010, "LO", "TEST")
        ds.add_new(0x00071008, "LO", "kept")
        ds.add_new(0x00660129, "OF", bytes(4000))
        return ds

    first = with_bulk()
    place = {"StudyInstanceUID": first.StudyInstanceUID}
    second = with_bulk(**place, SeriesInstanceUID=first.SeriesInstanceUID)
    third = with_bulk(**place)
    _store(http, first, second, third)
    study = f"/studies/{first.StudyInstanceUID}"
    for url, expected in (
        (study, (first, second, third)),
        (f"{study}/series/{first.SeriesInstanceUID}", (first, second)),
        (_path(first), (first,)),
    ):
        rows = {row["00080018"]["Value"][0]: row for row in http.get(f"{url}/metadata").json()}
        assert rows.keys() == {ds.SOPInstanceUID for ds in expected}
        for ds in expected:
            row = rows[ds.SOPInstanceUID]
            assert {int(tag, 16) for tag in row} == {int(element.tag) for element in ds}
            assert row["00071008"]["Value"] == ["kept"]
            assert row["00100020"]["Value"] == [ds.PatientID]
            [nested] = row["00700308"]["Value"]
            for element in (row["7FE00010"], row["00660129"], nested["7FE00010"]):
                assert element.keys() == {"vr", "BulkDataURI"}
            assert http.get(row["7FE00010"]["BulkDataURI"]).content == ds.PixelData
            assert http.get(nested["7FE00010"]["BulkDataURI"]).content == bytes(3000)


@pytest.mark.spec("dicomweb", 140, 141, 142, 143, 144, 145, 146)
def test_140_to_146_etags_of_metadata(http: httpx.Client) -> None:
    first = dicom.ct()
    _store(http, first)
    study = f"/studies/{first.StudyInstanceUID}"
    series = f"{study}/series/{first.SeriesInstanceUID}"
    urls = [f"{url}/metadata" for url in (study, series, _path(first))]
    tags = {url: http.get(url).headers["etag"] for url in urls}
    for url, tag in tags.items():
        for same in (tag, f'"x", {tag}', f"W/{tag}", "*", tag.strip('"')):
            unchanged = http.get(url, headers={"If-None-Match": same})
            assert unchanged.status_code == 304
            assert not unchanged.content
        assert http.get(url, headers={"If-None-Match": f'"1{tag[1:]}'}).status_code == 200
    second = dicom.ct(
        StudyInstanceUID=first.StudyInstanceUID, SeriesInstanceUID=first.SeriesInstanceUID
    )
    _store(http, second)
    for url in urls[:2]:
        changed = http.get(url, headers={"If-None-Match": tags[url]})
        assert changed.status_code == 200
        assert len(changed.json()) == 2
        tags[url] = changed.headers["etag"]
    assert http.delete(_path(second)).status_code == 204
    for url in urls[:2]:
        changed = http.get(url, headers={"If-None-Match": tags[url]})
        assert changed.status_code == 200
        assert len(changed.json()) == 1
    assert http.get(urls[2], headers={"If-None-Match": tags[urls[2]]}).status_code == 304


def test_metadata_is_one_gzip_member_for_those_who_take_it(http: httpx.Client) -> None:
    first = dicom.ct()
    _store(http, first, *(dicom.ct(StudyInstanceUID=first.StudyInstanceUID) for _ in range(4)))
    url = f"/studies/{first.StudyInstanceUID}/metadata"
    plain = http.get(url, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    with http.stream("GET", url, headers={"Accept-Encoding": "br, gzip;q=0.5"}) as packed:
        assert packed.headers["content-encoding"] == "gzip"
        raw = b"".join(packed.iter_raw())
    assert gzip.decompress(raw) == plain.content
    refused = http.get(url, headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers


@pytest.mark.bug_report(37)
def test_037_bulk_data_whole_and_by_range(http: httpx.Client) -> None:
    value = bytes(range(256)) * 280
    ds = dicom.ct()
    ds.private_block(0x0009, "TEST", create=True).add_new(0x10, "OB", value)
    _store(http, ds)
    [row] = http.get(f"{_path(ds)}/metadata").json()
    url = row["00091010"]["BulkDataURI"]
    whole = http.get(url)
    assert (whole.status_code, whole.content) == (200, value)
    part = http.get(url, headers={"Range": "bytes=0-99"})
    assert (part.status_code, part.content) == (206, value[:100])
    assert part.headers["content-range"] == f"bytes 0-99/{len(value)}"
    last = http.get(url, headers={"Range": "bytes=-7"})
    assert (last.status_code, last.content) == (206, value[-7:])
    beyond = http.get(url, headers={"Range": f"bytes={len(value)}-"})
    assert beyond.status_code == 416
    several = http.get(url, headers={"Accept": OCTETS.partition("; transfer")[0]})
    assert [content for _, content in _parts(several)] == [value]
    assert http.get(f"{_path(ds)}/bulkdata/00091011").status_code == 404


@pytest.mark.bug_report(58)
def test_058_bulk_data_within_a_sequence_is_that_of_its_item(http: httpx.Client) -> None:
    ds = dicom.waveform()
    _store(http, ds)
    [row] = http.get(f"{_path(ds)}/metadata").json()
    items = row["54000100"]["Value"]
    assert len(items) == len(ds.WaveformSequence) == 2
    for item, original in zip(items, ds.WaveformSequence, strict=True):
        assert http.get(item["54001010"]["BulkDataURI"]).content == original.WaveformData


@pytest.mark.spec("dicomweb", 99, 100, 101, 102)
@pytest.mark.parametrize("stored", ["", " "])
@pytest.mark.parametrize("asked", ["", "%20", "%20%20%20%20%20"])
def test_099_to_102_trailing_spaces_of_a_uid_do_not_count(
    http: httpx.Client, stored: str, asked: str
) -> None:
    uid = f"2.25.1{uuid.uuid4().int % 10**19:019d}"
    file = dicom.part10(dicom.ct(StudyInstanceUID=uid))
    if stored:
        file = dicom.splice(file, dicom.element(0x0020000D, "UI", f"{uid}{stored}".encode()))
    assert http.post("/studies", content=file, headers=DICOM).status_code in (200, 202)
    url = f"/studies/{uid}{asked}"
    [(_, content)] = _parts(http.get(url, headers={"Accept": AS_STORED}))
    assert content == file
    assert http.get(f"{url}/metadata").json()[0]["0020000D"]["Value"] == [uid + stored]


@pytest.mark.spec("dicomweb", 82, 91, 98, 103, 105, 104, 106)
def test_an_instance_as_stored(http: httpx.Client) -> None:
    compressed = dicom.encapsulated([dicom.jpeg_2000()], **_SIXTY_FOUR)
    report = dicom.structured_report()
    files = _store(http, compressed, syntax=dicom.JPEG_2000) + _store(http, report)
    explicit = f"application/dicom; transfer-syntax={dicom.EXPLICIT_LE}"
    starred = "application/dicom; transfer-syntax=*"
    for ds, file in zip((compressed, report), files, strict=True):
        for accept in (starred, f"{explicit}, {starred}"):
            answer = http.get(_path(ds), headers={"Accept": accept})
            assert answer.content == file
        for headers in ({"Accept": AS_STORED}, {"Accept": "*/*"}, {}):
            for url in (_path(ds), f"/studies/{ds.StudyInstanceUID}"):
                [(kind, content)] = _parts(http.get(url, headers=headers))
                assert content == file
                assert kind.startswith("application/dicom; transfer-syntax=1.2.")
        assert http.get(f"{_path(ds)}/metadata").status_code == 200
    frame = http.get(f"{_path(compressed)}/frames/1", headers={"Accept": OCTETS})
    assert frame.status_code == 200


@pytest.mark.spec("dicomweb", 111, 114, 115, 116, 124)
@pytest.mark.bug_report(20, 31)
def test_frames_as_stored(http: httpx.Client) -> None:
    video = dicom.encapsulated([b"one stream"], **_SIXTY_FOUR)
    _store(http, video, syntax=dicom.HEVC)
    url = f"{_path(video)}/frames/1"
    [(kind, content)] = _parts(http.get(url, headers={"Accept": OCTETS}))
    assert content.rstrip(b"\0") == b"one stream"
    assert dicom.HEVC in kind
    for syntax in (dicom.JPEG_2000, dicom.EXPLICIT_LE):
        accept = f'multipart/related; type="application/octet-stream"; transfer-syntax={syntax}'
        assert http.get(url, headers={"Accept": accept}).status_code == 406
    slide = dicom.encapsulated(
        [dicom.jpeg(64, 64, value=value) for value in (10, 200)], fragments_per_frame=3,
        **_SIXTY_FOUR,
    )  # fmt: skip
    _store(http, slide, syntax=dicom.JPEG_BASELINE)
    for number, value in ((1, 10), (2, 200)):
        url = f"{_path(slide)}/frames/{number}"
        for accept in (OCTETS, f"{OCTETS}, application/octet-stream; q=0.5"):
            answer = http.get(url, headers={"Accept": accept})
            assert answer.headers["content-type"].startswith(
                'multipart/related; type="application/octet-stream"; boundary='
            )
            [(_, content)] = _parts(answer)
            assert content.rstrip(b"\0") == dicom.jpeg(64, 64, value=value).rstrip(b"\0")
    native = dicom.ct()
    _store(http, native)
    anything = {"Accept": 'multipart/related; type="*/*"; transfer-syntax=*'}
    [(_, content)] = _parts(http.get(f"{_path(native)}/frames/1", headers=anything))
    assert content == native.PixelData
    floats = dicom.parametric_map(2)
    _store(http, floats)
    octets = {"Accept": "application/octet-stream"}
    second = http.get(f"{_path(floats)}/frames/2", headers=octets).content
    assert second == floats.FloatPixelData[len(floats.FloatPixelData) // 2 :]


@pytest.mark.bug_report(23)
@pytest.mark.parametrize("offsets", [(0, 114, 228), (0, 113, 226)])
def test_an_extended_offset_table_is_believed_only_if_it_is_right(
    http: httpx.Client, offsets: tuple[int, ...]
) -> None:
    frames = [bytes([number]) * 105 for number in (1, 2, 3)]
    ds = dicom.encapsulated(frames, extended_offset_table=True, **_SIXTY_FOUR)
    ds.ExtendedOffsetTable = struct.pack("<3Q", *offsets)
    ds.ExtendedOffsetTableLengths = struct.pack("<3Q", 105, 105, 105)
    _store(http, ds, syntax=dicom.JPEG_BASELINE)
    answer = http.get(f"{_path(ds)}/frames/1,2,3", headers={"Accept": OCTETS})
    assert [content[:105] for _, content in _parts(answer)] == frames


@pytest.mark.bug_report(29)
def test_accept_of_an_instance_decides(http: httpx.Client) -> None:
    ds = dicom.ct()
    _store(http, ds)
    single = http.get(_path(ds), headers={"Accept": "application/dicom"})
    assert single.headers["content-type"].startswith("application/dicom;")
    assert http.get(_path(ds), headers={"Accept": "text/plain"}).status_code == 406
    mixed = http.get(_path(ds), headers={"Accept": "image/jpeg, application/dicom;q=0.1"})
    assert mixed.headers["content-type"].startswith("application/dicom;")


@pytest.mark.bug_report(32, 34)
def test_metadata_for_viewers_that_list_odd_types(http: httpx.Client) -> None:
    ds = dicom.ct()
    _store(http, ds)
    for accept in (
        "multipart/related; type=application/dicom+json, application/dicom+json",
        "application/dicom+json, multipart/related; type=application/octet-stream; "
        "transfer-syntax=*; transfer-syntax=*",
    ):
        answer = http.get(f"{_path(ds)}/metadata", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/dicom+json"


def test_023_024_033_accept_of_a_store(http: httpx.Client) -> None:
    for accept in ("application/dicom", "application/data"):
        headers = {**DICOM, "Accept": accept}
        assert http.post("/studies", content=dicom.base(), headers=headers).status_code == 406
    for accept in ("*/*", "application/*", "Application/Dicom+JSON"):
        data = dicom.part10(dicom.ct())
        headers = {**DICOM, "Accept": accept}
        assert http.post("/studies", content=data, headers=headers).status_code == 200


def test_058_059_nul_padding_v2(http: httpx.Client) -> None:
    ds = dicom.ct()
    data = dicom.splice(dicom.part10(ds), dicom.element(0x00080060, "CS", b"X\0"))
    answer = http.post("/studies", content=data, headers=DICOM)
    assert answer.status_code == 200
    assert answer.json()["00081199"]["Value"][0]["00741048"] == {"vr": "SQ"}
    [row] = http.get(f"{_path(ds)}/metadata").json()
    assert row["00080060"]["Value"] == ["X\0"]
    for value in ("X", "X%00"):
        found = http.get(f"/studies/{ds.StudyInstanceUID}/series?Modality={value}")
        assert found.status_code == 200

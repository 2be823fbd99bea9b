import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DicomServiceError, MalformedRequest, NotAcceptable, UnsupportedMediaType
from shared.web.media_types import (
    MediaType,
    MultipartBody,
    SingleBody,
    accepts,
    parse_accept,
    parse_media_type,
    require_dicom_part,
    require_json_acceptable,
    store_body,
)

HARD_BOUNDARY = "a b'()+_,-./:=?c"  # bug report 4


@pytest.mark.parametrize(
    ("text", "name", "parameters", "weight"),
    [
        ("application/dicom", "application/dicom", {}, 1),
        (" Application/DICOM ; Foo = Bar ", "application/dicom", {"foo": "Bar"}, 1),
        ("a/b;q=0.5", "a/b", {}, 0.5),
        ("a/b;Q=.5;x=1", "a/b", {"x": "1"}, 0.5),
        ("a/b;q=0", "a/b", {}, 0),
        ("a/b;q=0.000", "a/b", {}, 0),
        ("a/b;q=1.0", "a/b", {}, 1),
        ("a/b;q=7", "a/b", {}, 1),
        ("a/b;q=high", "a/b", {}, 1),
        ("a/b;q=-1", "a/b", {}, 1),
        ("a/b;q=nan", "a/b", {}, 1),
        ("a/b;q=", "a/b", {}, 1),
        ("a/b;q=.", "a/b", {}, 1),
        ('a/b;x="1;2,3 \\"4\\\\"', "a/b", {"x": '1;2,3 "4\\'}, 1),
        ('a/b;x="1" ;y=2', "a/b", {"x": "1", "y": "2"}, 1),
        ("a/b;x=;y=2;", "a/b", {"x": "", "y": "2"}, 1),
        ("a/b;;x=1", "a/b", {"x": "1"}, 1),
        ("a/b;x=1;x=2", "a/b", {"x": "1"}, 1),
        ("multipart/related;type=application/dicom", "multipart/related",
         {"type": "application/dicom"}, 1),
        ("image/", "image/*", {}, 1),
        ("*/*", "*/*", {}, 1),
    ],
)  # fmt: skip
def test_media_type_is_parsed(text, name, parameters, weight):
    assert parse_media_type(text) == MediaType(name, parameters, weight)


@pytest.mark.parametrize(
    "text",
    ["", " ", "dicom", "/dicom", "a b/c", "a/b c", 'a/b;x="1', 'a/b;x="1"2', 'a/b;x=1"2', "a/b;x",
     "a/b;=1", "a/b,c/d", "a/b/c", "é/b"],
)  # fmt: skip
def test_what_is_no_media_type_is_none(text):
    assert parse_media_type(text) is None


def test_accept_list_is_split_outside_quotes_and_garbage_is_ignored():
    header = 'foo, a/b;x="1,2" ,, c/d;q=0.3, "e/f", g/h;x="unclosed, i/j'
    assert [(m.name, dict(m.parameters), m.weight) for m in parse_accept(header)] == [
        ("a/b", {"x": "1,2"}, 1.0),
        ("c/d", {}, 0.3),
    ]


@pytest.mark.parametrize("header", [None, "", "  ", ", ,"])
def test_missing_accept_is_anything(header):
    assert parse_accept(header) == (MediaType("*/*"),)


JSON_FITS = [
    None,
    "",
    "application/dicom+json",
    "*/*",
    "application/*",
    "Application/Dicom+JSON",
    "application/json",
    "application/dicom+json; charset=utf-8",
    "text/html, application/json;q=0.2",
    "application/xml, */*;q=0.1",
    "application/dicom+json, application/json",  # dicomweb-client (Python)
    "application/dicom, application/dicom+json",
    "application/dicom+json;q=0, application/json",
    # bug report 32, 34
    "multipart/related; type=application/dicom+json, application/dicom+json",
    "application/dicom+json, multipart/related; type=application/octet-stream; "
    "transfer-syntax=*; transfer-syntax=*",
    # browsers
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
]
JSON_DOES_NOT_FIT = [
    "application/dicom",  # scenario 23
    "application/data",  # scenario 24, 133
    "text/plain",
    "garbage",
    "application/dicom+xml",
    "multipart/related; type=application/dicom+json",
    "application/dicom+json;q=0, application/json;q=0",
    "*/*;q=0",
    "application/*;q=0, */*",
    "application/dicom+json;q=0, application/json;q=0, */*",
]


@pytest.mark.parametrize("header", JSON_FITS)
def test_033_json_is_acceptable(header):
    require_json_acceptable(header)


@pytest.mark.parametrize("header", JSON_DOES_NOT_FIT)
def test_023_024_133_json_is_not_acceptable(header):
    with pytest.raises(NotAcceptable):
        require_json_acceptable(header)


def test_most_specific_range_decides():
    assert accepts("application/json;q=0, */*", "application/dicom+json")
    assert not accepts("application/json;q=0, */*", "application/json")
    assert accepts("*/*;q=0, application/json", "application/json")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("application/dicom", SingleBody()),
        ("APPLICATION/dicom", SingleBody()),
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1", SingleBody()),
        ('multipart/related; type="application/dicom"; boundary=x1',
         MultipartBody("x1", "application/dicom")),
        # bug report 5
        ("multipart/related; type=application/dicom; boundary=x1",
         MultipartBody("x1", "application/dicom")),
        (f'Multipart/Related; Boundary="{HARD_BOUNDARY}"; Type="Application/DICOM"',
         MultipartBody(HARD_BOUNDARY, "application/dicom")),
        # bug report 4, without the quotes that it needs
        (f"multipart/related; boundary={HARD_BOUNDARY}; type=application/dicom",
         MultipartBody(HARD_BOUNDARY, "application/dicom")),
        ("multipart/related; boundary=x1", MultipartBody("x1", None)),
        ("multipart/related; type=application/dicom; boundary=x1; boundary=x1",
         MultipartBody("x1", "application/dicom")),
    ],
)  # fmt: skip
def test_content_type_of_a_store(header, expected):
    assert store_body(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "multipart/form-data; boundary=x",  # scenario 25
        "multipart/related",  # scenario 32
        'multipart/related; boundary=""',
        'multipart/related; type="application/dicom+xml"; boundary=x',
        "application/octet-stream",
        "application/json",
        "text/plain",
        "dicom",
        'multipart/related; boundary="x',
    ],
)
def test_025_032_content_type_of_a_store_is_unsupported(header):
    with pytest.raises(UnsupportedMediaType):
        store_body(header)


def test_032_start_parameter_is_malformed():
    with pytest.raises(MalformedRequest, match="start"):
        store_body('multipart/related; type="application/dicom"; start=a; boundary=x')


def test_message_repeats_no_control_characters_and_not_much():
    with pytest.raises(UnsupportedMediaType) as caught:
        store_body("multipart/related; boundary=x; type=\x07é" + "a" * 1000)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


TYPED = MultipartBody("x", "application/dicom")
UNTYPED = MultipartBody("x", None)


@pytest.mark.parametrize(
    ("header", "body", "index"),
    [
        (None, TYPED, 0),  # scenario 29
        ("application/dicom", TYPED, 0),
        ("application/dicom", UNTYPED, 0),
        ("Application/Dicom", UNTYPED, 5),
        # bug report 8
        ("application/dicom; transfer-syntax=1.2.840.10008.1.2.1", TYPED, 1),
    ],
)
def test_029_part_of_a_store_is_taken(header, body, index):
    require_dicom_part(header, body, index)


@pytest.mark.parametrize(
    ("header", "body", "index"),
    [
        (None, TYPED, 1),  # scenario 30
        (None, UNTYPED, 0),
        ("", TYPED, 1),
        ("text/plain", TYPED, 0),  # scenario 31
        ("text/plain", TYPED, 3),
        ("application/dicom+json", TYPED, 0),
    ],
)
def test_030_031_part_of_a_store_is_unsupported(header, body, index):
    with pytest.raises(UnsupportedMediaType, match=f"Part {index + 1} "):
        require_dicom_part(header, body, index)


HEADER = st.text(alphabet=st.sampled_from('ab/*+;=, "\\q01.\tmultipart/related;type=é\x00'))


@given(HEADER)
def test_no_header_raises_anything_else(header):
    parse_accept(header)
    accepts(header, "application/dicom+json")
    for call in (store_body, require_json_acceptable):
        with contextlib.suppress(DicomServiceError):
            call(header)


@given(st.text(max_size=60))
def test_quoted_parameter_survives(value):
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    if "\n" in value:
        return
    found = parse_media_type(f'a/b; x="{quoted}"; y=1')
    assert found is not None
    assert found.parameters == {"x": value, "y": "1"}
    assert parse_accept(f'c/d, a/b; x="{quoted}"; y=1')[1] == found


@pytest.mark.parametrize(
    "evil", [";" + " " * 60_000 + '"', ";a=" + " " * 60_000 + '"', ';a="' + "\\a" * 30_000,
             "a" * 60_000, " " * 60_000 + "/", ';a="' * 15_000, ";" * 60_000]
)  # fmt: skip
def test_long_headers_take_linear_time(evil):
    began = time.process_time()
    parse_media_type("a/b" + evil)
    parse_media_type(evil)
    parse_accept(evil)
    parse_accept("a/b" + evil)
    assert time.process_time() - began < 1

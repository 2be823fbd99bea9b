import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import NotAcceptable
from shared.web.negotiation import (
    BULK_DATA_OFFERS,
    COMPRESSED,
    FRAME_OFFERS,
    INSTANCE_OFFERS,
    STUDY_OFFERS,
    Payload,
    first_fitting,
    negotiate,
    ranked,
)

EVLE = "1.2.840.10008.1.2.1"
J2K = "1.2.840.10008.1.2.4.90"
JPEG = "1.2.840.10008.1.2.4.50"
RLE = "1.2.840.10008.1.2.5"
JLS = "1.2.840.10008.1.2.4.80"
MPEG2 = "1.2.840.10008.1.2.4.100"
HEVC = "1.2.840.10008.1.2.4.108"
SINGLE, MULTIPART = Payload.SINGLE, Payload.MULTIPART
DICOM, OCTETS = "application/dicom", "application/octet-stream"
TARGETS = frozenset({EVLE, J2K})


def mp(media_type, syntax=None, q=None):
    text = f'multipart/related; type="{media_type}"'
    text += f"; transfer-syntax={syntax}" if syntax else ""
    return text + (f"; q={q}" if q is not None else "")


def one(media_type, syntax=None, q=None):
    text = media_type + (f"; transfer-syntax={syntax}" if syntax else "")
    return text + (f"; q={q}" if q is not None else "")


def best(header, offers):
    choice = negotiate(header, offers)
    return choice.payload, choice.media_type, choice.transfer_syntax


# Studies and series


@pytest.mark.parametrize(
    ("header", "syntax"),
    [
        (mp(DICOM), EVLE),  # scenario 71; dicomweb-client's default
        (mp(DICOM, EVLE), EVLE),  # 72
        (mp(DICOM, J2K), J2K),  # 73
        (mp(DICOM, "*"), "*"),  # 74, 78, 80, 82
        (mp("*/*"), "*"),
        (mp("*/*", "*"), "*"),
        (mp("*/*", EVLE), EVLE),
        ("multipart/related", "*"),
        ("multipart/*", "*"),
        ("multipart/related; type=application/dicom; transfer-syntax=*", "*"),
        ("Multipart/Related; Type=Application/DICOM; Transfer-Syntax=*", "*"),
        (f'multipart/related; type="application/dicom"; transfer-syntax="{EVLE}"', EVLE),
        ("*/*", "*"),  # 87
        (None, "*"),
        ("", "*"),
        ("text/html, */*;q=0.8", "*"),
        # bug report 16: any still-image syntax may be asked for
        (mp(DICOM, RLE), RLE),
        (mp(DICOM, JPEG), JPEG),
        (f"{one(DICOM, '*')}, {mp(DICOM, '*')}", "*"),
    ],
)
def test_071_to_087_study_is_multipart(header, syntax):
    assert best(header, STUDY_OFFERS) == (MULTIPART, DICOM, syntax)


@pytest.mark.parametrize(
    "header",
    [
        one(DICOM, "*"),  # scenario 75
        one(DICOM),
        mp(OCTETS, "*"),  # 76
        mp(DICOM, MPEG2),  # 77
        mp(DICOM, "1.2.3"),
        "text/plain",
        "garbage",
        mp(DICOM, q=0),
        "*/*;q=0",
        "multipart/form-data",
        f"{mp(DICOM, '*', q=0)}, {mp(DICOM, EVLE, q='0.0')}",
    ],
)
def test_075_076_077_study_is_not_acceptable(header):
    with pytest.raises(NotAcceptable, match="application/dicom"):
        negotiate(header, STUDY_OFFERS)


# Instances


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (one(DICOM), (SINGLE, DICOM, EVLE)),  # scenario 88
        (one(DICOM, EVLE), (SINGLE, DICOM, EVLE)),  # 89
        (one(DICOM, J2K), (SINGLE, DICOM, J2K)),  # 90
        (one(DICOM, "*"), (SINGLE, DICOM, "*")),  # 91, 96, 98
        (mp(DICOM, "*"), (MULTIPART, DICOM, "*")),  # 92
        (mp(DICOM), (MULTIPART, DICOM, EVLE)),  # 92
        (mp(DICOM, EVLE), (MULTIPART, DICOM, EVLE)),  # 92
        (None, (MULTIPART, DICOM, "*")),  # 104, bug report 29
        ("*/*", (MULTIPART, DICOM, "*")),  # 105
        ("application/*", (SINGLE, DICOM, "*")),
        # 106: as stored goes first among equals
        (f"{one(DICOM, EVLE)}, {one(DICOM, '*')}", (SINGLE, DICOM, "*")),
        (f"{one(DICOM, EVLE)}, {mp(DICOM, '*')}", (MULTIPART, DICOM, "*")),
        (f"{one(DICOM, EVLE)}, {one(DICOM, '*', q=0.9)}", (SINGLE, DICOM, EVLE)),
        (f"{one(DICOM, '*', q=0)}, {one(DICOM, EVLE)}", (SINGLE, DICOM, EVLE)),
        (f"{one(DICOM, q=0.2)}, {mp(DICOM, q=0.7)}", (MULTIPART, DICOM, EVLE)),
        (f"{one(DICOM)}, {mp(DICOM)}", (SINGLE, DICOM, EVLE)),
        # a named type goes before a wildcard
        ("application/dicom, */*", (SINGLE, DICOM, EVLE)),
        ("*/*, application/dicom", (SINGLE, DICOM, EVLE)),
        (f"{one(DICOM, '1.2.3')}, */*;q=0.1", (MULTIPART, DICOM, "*")),
        # the more specific range tells the weight
        (f"*/*, {mp(DICOM, q=0.1)}", (SINGLE, DICOM, "*")),
        (f"*/*, {mp(DICOM, q=0)}", (SINGLE, DICOM, "*")),
        (f"*/*, {one(DICOM, q=0)}", (MULTIPART, DICOM, "*")),
        (f"{one(DICOM, q=0)}, {one(DICOM, '*')}", (SINGLE, DICOM, "*")),
        (f"{one(DICOM, EVLE, q=0)}, {one(DICOM, J2K)}", (SINGLE, DICOM, J2K)),
        # bug report 29: types that do not fit are passed over
        ("application/dicom, image/jpeg", (SINGLE, DICOM, EVLE)),
        ("image/jpeg, text/plain;q=0.5, application/dicom;q=0.1", (SINGLE, DICOM, EVLE)),
    ],
)
def test_088_to_106_instance(header, expected):
    assert best(header, INSTANCE_OFFERS) == expected


@pytest.mark.parametrize(
    "header",
    [
        one(OCTETS, "*"),  # scenario 93
        mp(OCTETS, "*"),
        one(DICOM, MPEG2),  # 94
        "text/plain",  # bug report 29
        "application/pdf",  # bug report 28
        "image/jpeg",
        f"{one(DICOM, EVLE, q=0)}, {one(DICOM)}",
    ],
)
def test_093_094_instance_is_not_acceptable(header):
    with pytest.raises(NotAcceptable):
        negotiate(header, INSTANCE_OFFERS)


@pytest.mark.parametrize(
    ("header", "stored", "convertible", "sent"),
    [
        (one(DICOM), J2K, TARGETS, EVLE),  # scenario 88
        (one(DICOM, J2K), EVLE, TARGETS, J2K),  # 90
        (one(DICOM, "*"), MPEG2, (), MPEG2),  # 96
        (one(DICOM, EVLE), MPEG2, (), None),  # 95, 79
        (one(DICOM, EVLE), EVLE, (), EVLE),
        (one(DICOM, RLE), RLE, (), RLE),
        (one(DICOM, RLE), EVLE, TARGETS, None),
        (f"{one(DICOM, EVLE)}, {one(DICOM, RLE, q=0.5)}", RLE, (), RLE),
    ],
)
def test_088_to_096_what_is_sent_depends_on_what_is_stored(header, stored, convertible, sent):
    found = first_fitting(ranked(header, INSTANCE_OFFERS), stored, convertible)
    assert (found and found[1]) == sent


# Frames


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (mp(OCTETS), (MULTIPART, OCTETS, EVLE)),  # scenario 109; the JavaScript client's default
        (mp(OCTETS, EVLE), (MULTIPART, OCTETS, EVLE)),  # 110
        (mp(OCTETS, "*"), (MULTIPART, OCTETS, "*")),  # 111, 114, 117, 124
        (mp("image/jp2"), (MULTIPART, "image/jp2", J2K)),  # 112
        (mp("image/jp2", J2K), (MULTIPART, "image/jp2", J2K)),  # 113
        (mp("*/*", "*"), (MULTIPART, OCTETS, "*")),  # 115
        (mp("*/*"), (MULTIPART, OCTETS, "*")),  # dicomweb-client's default
        ("*/*", (MULTIPART, OCTETS, "*")),
        (None, (MULTIPART, OCTETS, "*")),
        (OCTETS, (SINGLE, OCTETS, EVLE)),  # 118
        (one(OCTETS, "*"), (SINGLE, OCTETS, "*")),
        # bug report 31
        (f"{mp(OCTETS, '*')}, {one(OCTETS, q=0.5)}", (MULTIPART, OCTETS, "*")),
        (f"{mp(OCTETS, '*', q=0.5)}, {one(OCTETS)}", (SINGLE, OCTETS, EVLE)),
        # OHIF, with and without omitQuotationForMultipartRequest
        ("multipart/related; type=application/octet-stream; transfer-syntax=*",
         (MULTIPART, OCTETS, "*")),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*; "
         "transfer-syntax=*", (MULTIPART, OCTETS, "*")),
        ('multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50',
         (MULTIPART, "image/jpeg", JPEG)),
        # Cornerstone's image loader
        ("multipart/related; type=application/octet-stream; transfer-syntax=*,*/*",
         (MULTIPART, OCTETS, "*")),
        (f"{mp('image/jpeg')}, {mp(OCTETS, '*', q=0.3)}",
         (MULTIPART, "image/jpeg", "1.2.840.10008.1.2.4.70")),
        ("image/jls", (SINGLE, "image/jls", JLS)),
    ],
)  # fmt: skip
def test_109_to_118_frames(header, expected):
    assert best(header, FRAME_OFFERS) == expected


@pytest.mark.parametrize(
    "header",
    [
        mp(OCTETS, J2K),  # scenario 116
        one(OCTETS, J2K),
        mp("image/jp2", EVLE),
        mp("image/jpeg", J2K),
        mp(DICOM, "*"),
        "image/png",
        "video/mp4",
        "text/html",
    ],
)
def test_116_frames_are_not_acceptable(header):
    with pytest.raises(NotAcceptable):
        negotiate(header, FRAME_OFFERS)


def sent(header, stored, convertible=()):
    found = first_fitting(ranked(header, FRAME_OFFERS), stored, convertible)
    return found and (found[0].payload, found[0].media_type, found[1])


@pytest.mark.parametrize(
    ("media_type", "syntax"),
    [(name, syntax) for name, syntaxes in COMPRESSED.items() for syntax in syntaxes],
)
def test_frame_type_takes_each_of_its_syntaxes_as_stored(media_type, syntax):
    for wanted in (None, "*", syntax):
        assert sent(mp(media_type, wanted), syntax) == (MULTIPART, media_type, syntax)
    assert sent(mp("image/*"), syntax) == (MULTIPART, media_type, syntax)
    assert sent(mp(media_type), EVLE) is None
    assert sent(mp(media_type, "*"), EVLE, TARGETS) is None


def test_017_label_matches_the_bytes():
    """Bug report 17: a JPEG frame is never called image/jp2."""
    assert sent(mp("image/jpeg"), JPEG) == (MULTIPART, "image/jpeg", JPEG)
    assert sent(mp("image/jp2"), JPEG) is None
    assert sent(mp("image/jp2"), JPEG, TARGETS) == (MULTIPART, "image/jp2", J2K)


def test_114_116_video_frame_only_as_stored():
    assert sent(mp(OCTETS, "*"), HEVC) == (MULTIPART, OCTETS, HEVC)
    assert sent(mp(OCTETS), HEVC) is None
    assert sent(mp("image/jp2"), HEVC) is None


ALL_FRAME_TYPES = (  # what dicomweb-client in Python and JavaScript makes of a list of types
    'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1, '
    'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50, '
    'multipart/related; type="image/x-jls"; transfer-syntax=1.2.840.10008.1.2.4.80, '
    'multipart/related; type="image/x-dicom-rle"; transfer-syntax=1.2.840.10008.1.2.5, '
    'multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.90, '
    'multipart/related; type="image/jhc"; transfer-syntax=1.2.840.10008.1.2.4.201'
)


@pytest.mark.parametrize(
    ("stored", "media_type"),
    [
        (EVLE, OCTETS),
        (JPEG, "image/jpeg"),
        (JLS, "image/jls"),
        (RLE, "image/dicom-rle"),
        (J2K, "image/jp2"),
        ("1.2.840.10008.1.2.4.201", "image/jphc"),
    ],
)
def test_list_of_frame_types_gets_the_stored_one(stored, media_type):
    assert sent(ALL_FRAME_TYPES, stored) == (MULTIPART, media_type, stored)


def test_list_of_frame_types_gets_a_conversion_where_none_is_stored():
    jpeg_ls_lossy = "1.2.840.10008.1.2.4.81"
    assert sent(ALL_FRAME_TYPES, jpeg_ls_lossy, TARGETS) == (MULTIPART, OCTETS, EVLE)
    assert sent(ALL_FRAME_TYPES, jpeg_ls_lossy) is None


def test_image_with_trailing_slash_of_dicomweb_client():
    assert sent('multipart/related; type="image/"', JPEG) == (MULTIPART, "image/jpeg", JPEG)


# Bulk data


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("*/*", (SINGLE, OCTETS, "*")),  # bug report 37
        (None, (SINGLE, OCTETS, "*")),
        (OCTETS, (SINGLE, OCTETS, EVLE)),
        (mp(OCTETS), (MULTIPART, OCTETS, EVLE)),
        (mp("*/*"), (MULTIPART, OCTETS, "*")),
    ],
)
def test_shape_of_bulk_data_follows_accept(header, expected):
    assert best(header, BULK_DATA_OFFERS) == expected


# Everything

PIECE = st.sampled_from(
    ["multipart/related", "application/dicom", "application/octet-stream", "*/*", "image/jp2",
     "image/*", ";", "; type=", "; transfer-syntax=", "; q=", '"', ",", "*", EVLE, J2K, "0", "0.5",
     "1", "é", " ", "\x00", "garbage"]
)  # fmt: skip


@given(st.lists(PIECE).map("".join), st.sampled_from([EVLE, J2K, HEVC, ""]))
def test_no_header_raises_anything_but_not_acceptable(header, stored):
    for offers in (STUDY_OFFERS, INSTANCE_OFFERS, FRAME_OFFERS, BULK_DATA_OFFERS):
        try:
            choices = ranked(header, offers)
        except NotAcceptable:
            continue
        assert choices
        first_fitting(choices, stored, TARGETS)


def test_many_members_take_linear_time():
    header = ", ".join(mp("image/*", "*", q=0.5) for _ in range(1000))
    began = time.process_time()
    ranked(header, FRAME_OFFERS)
    assert time.process_time() - began < 1

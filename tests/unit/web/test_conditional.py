import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import RangeNotSatisfiable
from shared.ports import ByteSpan
from shared.web.conditional import entity_tag, not_modified
from shared.web.ranges import content_range, range_applies, requested_span

TAG = '"25-Ab"'


def test_entity_tag_is_quoted():
    assert entity_tag("25-Ab") == TAG


@pytest.mark.parametrize("value", ['a"b', "a\nb", "é"])
def test_entity_tag_cannot_break_the_header(value):
    with pytest.raises(ValueError, match="entity tag"):
        entity_tag(value)


@pytest.mark.parametrize(
    "header",
    [TAG, "25-Ab", '"25-aB"', 'W/"25-Ab"', 'w/"25-Ab"', "*", " * ", f'"1", {TAG}', f"1,{TAG} , 2",
     '"a,b", 25-Ab', f'W/"7",W/{TAG}'],
)  # fmt: skip
def test_140_not_modified(header):
    assert not_modified(header, TAG)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        '""',
        f"1{TAG}",
        "125-Ab",
        '"25-Ab',
        '25-Ab"',
        '"1", "2"',
        '"*"',
        f'"x,{TAG},y"',
        ",",
    ],
)
def test_141_142_modified(header):
    assert not not_modified(header, TAG)


@given(st.text())
def test_any_header_is_compared(header):
    not_modified(header, TAG)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-99", ByteSpan(0, 100)),  # bug report 37
        ("bytes=0-0", ByteSpan(0, 1)),
        ("bytes=10-", ByteSpan(10, 990)),
        ("bytes=999-", ByteSpan(999, 1)),
        ("bytes=-1", ByteSpan(999, 1)),
        ("bytes=-5000", ByteSpan(0, 1000)),
        ("bytes=500-5000", ByteSpan(500, 500)),
        ("Bytes= 0 - 1 ", ByteSpan(0, 2)),
        ("bytes=00-09", ByteSpan(0, 10)),
        # ignored
        (None, None),
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=+1-2", None),
        ("bytes=٣-٤", None),
        ("bytes=0-99999999999999999999", None),
    ],
)
def test_range_of_a_thousand_bytes(header, expected):
    assert requested_span(header, 1000) == expected


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=1000-", 1000), ("bytes=1000-1001", 1000), ("bytes=-0", 1000), ("bytes=0-", 0),
     ("bytes=-5", 0)],
)  # fmt: skip
def test_range_outside(header, size):
    with pytest.raises(RangeNotSatisfiable) as caught:
        requested_span(header, size)
    assert caught.value.size == size


def test_content_range():
    assert content_range(ByteSpan(10, 5), 1000) == "bytes 10-14/1000"


def test_if_range_names_this_version_exactly():
    assert range_applies(None, TAG)
    assert range_applies(None, None)
    assert range_applies(TAG, TAG)
    assert not range_applies('W/"25-Ab"', TAG)
    assert not range_applies("Wed, 21 Oct 2015 07:28:00 GMT", TAG)
    assert not range_applies(TAG, None)


@given(st.one_of(st.text(), st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}")), st.integers(0, 2000))
def test_any_range_is_inside_or_refused(header, size):
    try:
        span = requested_span(header, size)
    except RangeNotSatisfiable:
        return
    if span is not None:
        assert span.offset >= 0
        assert span.length >= 1
        assert span.end <= size

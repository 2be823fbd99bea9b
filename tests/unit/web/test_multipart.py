import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import MalformedRequest, PayloadTooLarge
from shared.web.multipart import MultipartWriter, OutgoingPart, parts

HARD_BOUNDARY = "a b'()+_,-./:=?c"


async def pieces(body, *, cuts=None, size=None):
    if size is not None:
        cuts = range(size, len(body), size)
    ends = [*sorted(set(cuts or ())), len(body)]
    start = 0
    for end in ends:
        yield body[start:end]
        start = end


async def taken(body, boundary="b", *, cuts=None, size=None, max_parts=10, **more):
    found = []
    async for part in parts(
        pieces(body, cuts=cuts, size=size), boundary, max_parts=max_parts, **more
    ):
        found.append((part.headers, b"".join([piece async for piece in part.content])))
    return found


TWO = (
    b"--b\r\nContent-Type: application/dicom\r\n\r\none\r\n"
    b"--b\r\ncontent-type:application/dicom\r\nX-Y: z \r\n\r\n\r\ntwo\r\n\r\n--b--\r\n"
)
TWO_PARTS = [
    ({"content-type": "application/dicom"}, b"one"),
    ({"content-type": "application/dicom", "x-y": "z"}, b"\r\ntwo\r\n"),
]


@pytest.mark.parametrize("size", [None, 1, 2, 3, 4, 5, 7, 11, 16])
async def test_two_parts_in_pieces_of_any_size(size):
    assert await taken(TWO, size=size) == TWO_PARTS


async def test_empty_pieces_are_skipped():
    async def body():
        for byte in TWO:
            yield b""
            yield bytes([byte])
        yield b""

    found = [
        (part.headers, b"".join([piece async for piece in part.content]))
        async for part in parts(body(), "b", max_parts=2)
    ]
    assert found == TWO_PARTS


@pytest.mark.parametrize("boundary", ["b", HARD_BOUNDARY, "x" * 70, "--", "-", "=_1"])
async def test_004_every_legal_boundary(boundary):
    delimiter = b"--" + boundary.encode()
    body = delimiter + b"\r\nA: 1\r\n\r\nx\r\n" + delimiter + b"--"
    for size in (None, 1, 3):
        assert await taken(body, boundary, size=size) == [({"a": "1"}, b"x")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"--b--", []),  # scenario 26
        (b"--b--\r\n", []),
        (b"--b--epilogue", []),
        (b"\r\n--b--", []),
        (b"--b\r\n\r\n--b--\r\n", []),  # scenario 26 as .NET sends it
        (b"preamble --b\r\n--x\r\n\r\n--b\r\nA: 1\r\n\r\nx\r\n--b--\r\nepilogue\r\n--b\r\n",
         [({"a": "1"}, b"x")]),
        (b"--b\r\nA: 1\r\n\r\n\r\n--b--", [({"a": "1"}, b"")]),  # scenario 27
        (b"--b\r\nA: 1\r\n\r\n--b--", [({"a": "1"}, b"")]),
        (b"--b\r\n\r\n\r\n--b--", [({}, b"")]),
        (b"--b\r\n\r\nx\r\n--b--", [({}, b"x")]),  # scenario 29
        (b"--b \t \r\nA: 1\r\n\r\nx\r\n--b\t\r\nA: 2\r\n\r\ny\r\n--b--  \r\n",
         [({"a": "1"}, b"x"), ({"a": "2"}, b"y")]),
        (b"--b\r\nA: 1\r\n 2\r\n\t3\r\nB:4\r\n\r\nx\r\n--b--", [({"a": "1 2 3", "b": "4"}, b"x")]),
        (b"--b\r\nA: 1\r\na: 2\r\nEmpty:\r\n\r\nx\r\n--b--", [({"a": "1", "empty": ""}, b"x")]),
        (b"--b\r\nA: 1\r\n\r\n\r\n-\r\n--\r\n\r\r\n--a\n--b\n\r\n--b--",
         [({"a": "1"}, b"\r\n-\r\n--\r\n\r\r\n--a\n--b\n")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [None, 1, 2, 3])
async def test_026_027_029_framing_that_is_understood(body, expected, size):
    assert await taken(body, size=size) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        b"--c\r\nA: 1\r\n\r\nx\r\n--c--",
        b"x--b\r\nA: 1\r\n\r\nx",
        b"--b",
        b"--b-",
        b"--b\r",
        b"--b\r\n",
        b"--b\r\n\r\n",
        b"--b\r\nA: 1",
        b"--b\r\nA: 1\r\n\r\n",
        b"--b\r\nA: 1\r\n\r\nx",
        b"--b\r\nA: 1\r\n\r\nx\r\n--b",  # scenario 32: closing boundary missing
        b"--b\r\nA: 1\r\n\r\nx\r\n--b\r\n",
        b"--b\nA: 1\n\nx\n--b--\n",
        b"--b\r\nA: 1\n\nx\r\n--b--",
        b"--bc\r\nA: 1\r\n\r\nx\r\n--b--",
        b"--b \t-\r\nA: 1\r\n\r\nx\r\n--b--",
        b"--b --\r\n",
        b"--b-\r\nA: 1\r\n\r\nx\r\n--b--",
        b"--b\r\nno header\r\n\r\nx\r\n--b--",
        b"--b\r\n: 1\r\n\r\nx\r\n--b--",
        b"--b\r\n folded\r\n\r\nx\r\n--b--",
        b"--b\r\nA: 1\rB: 2\r\n\r\nx\r\n--b--",
        b"--b\r\nA: \x00\r\n\r\nx\r\n--b--",
        b"--b\r\nA\xe9: 1\r\n\r\nx\r\n--b--",
        b"--b\r\n--b--",
    ],
)
@pytest.mark.parametrize("size", [None, 1, 2])
async def test_032_framing_that_is_malformed(body, size):
    with pytest.raises(MalformedRequest):
        await taken(body, size=size)


@pytest.mark.parametrize("boundary", ["", "x" * 257, "a\r\nb", "a\0b", "a\u20ac"])
async def test_boundary_that_cannot_be(boundary):
    with pytest.raises(MalformedRequest, match="boundary"):
        await taken(b"--b--", boundary)


@pytest.mark.parametrize("size", [None, 1, 64])
async def test_headers_have_a_limit(size):
    for length in (200, 100_000):
        body = b"--b\r\nA: " + b"x" * length + b"\r\n\r\n\r\n--b--"
        with pytest.raises(MalformedRequest, match="exceed 100 bytes"):
            await taken(body, size=size, max_header_bytes=100)
    body = b"--b\r\nA: " + b"x" * 90 + b"\r\n\r\n\r\n--b--"
    assert len(await taken(body, size=size, max_header_bytes=100)) == 1


async def test_headers_that_never_end_are_not_gathered():
    async def body():
        yield b"--b\r\n"
        for _ in range(1000):
            yield b"A: 1\r\n" * 1000
        pytest.fail("the whole body was read")

    with pytest.raises(MalformedRequest, match="16384"):
        async for _ in parts(body(), "b", max_parts=1):
            pass


async def test_parts_have_a_limit():
    body = b"--b\r\nA: 1\r\n\r\nx\r\n" * 4 + b"--b--"
    assert len(await taken(body, max_parts=4)) == 4
    with pytest.raises(PayloadTooLarge, match="3 parts"):
        await taken(body, max_parts=3)


async def test_content_flows_before_the_part_is_complete():
    sent = []

    async def body():
        for piece in (b"--b\r\nA: 1\r\n\r\n", b"first", b"second\r", b"\n--third", b"\r\n--b--"):
            sent.append(piece)
            yield piece

    async for part in parts(body(), "b", max_parts=1):
        assert await anext(part.content) == b"first"
        assert sent[-1] == b"first"
        assert await anext(part.content) == b"second"
        assert await anext(part.content) == b"\r\n--third"
        assert sent[-1] == b"\n--third"
        with pytest.raises(StopAsyncIteration):
            await anext(part.content)
        with pytest.raises(StopAsyncIteration):
            await anext(part.content)


async def test_whole_pieces_are_passed_on_without_a_copy():
    piece = b"\x00" * 1000

    async def body():
        yield b"--b\r\nA: 1\r\n\r\n"
        yield b"first"
        yield piece
        yield b"\r\n--b--"

    async for part in parts(body(), "b", max_parts=1):
        assert await anext(part.content) == b"first"
        assert await anext(part.content) is piece


async def test_unread_parts_are_skipped():
    names = []
    contents = []
    async for part in parts(pieces(TWO, size=3), "b", max_parts=5):
        names.append(part.headers)
        contents.append(part.content)
    assert names == [headers for headers, _ in TWO_PARTS]
    assert [[piece async for piece in content] for content in contents] == [[], []]


async def test_half_read_part_is_skipped():
    found = []
    async for part in parts(pieces(TWO, size=2), "b", max_parts=5):
        found.append(await anext(part.content))
    assert found == [b"on", b"\r\nt"]


async def test_old_content_yields_nothing_of_the_next_part():
    old = None
    async for part in parts(pieces(TWO), "b", max_parts=5):
        if old is not None:
            with pytest.raises(StopAsyncIteration):
                await anext(old)
            assert await anext(part.content) == b"\r\ntwo\r\n"
        old = part.content


async def test_errors_of_the_source_pass_through():
    async def body():
        yield b"--b\r\nA: 1\r\n\r\nx"
        raise ConnectionError

    async for part in parts(body(), "b", max_parts=1):
        assert await anext(part.content) == b"x"
        with pytest.raises(ConnectionError):
            await anext(part.content)
        break


async def test_long_padding_takes_linear_time_and_no_memory():
    async def body():
        yield b"--b"
        for _ in range(2000):
            yield b" " * 5000
        yield b"\r\nA: 1\r\n\r\nx\r\n--b--"

    assert [part.headers async for part in parts(body(), "b", max_parts=1)] == [{"a": "1"}]


CONTENT = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--", b"b", b"\r\n", b"\r\n--", b"\r\n--B", b"x", b""])
    | st.binary(max_size=8)
).map(b"".join)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "content-location", "x"]),
    st.text(alphabet="ab:;/ =", max_size=9).map(str.strip),
    min_size=1,
)
BOUNDARY = st.sampled_from(["b", "bb", "-b", HARD_BOUNDARY, "0123456789abcdef0123456789abcdef"])


@given(st.data(), BOUNDARY, st.lists(st.tuples(HEADERS, CONTENT), max_size=4))
async def test_any_split_gives_the_same_parts(data, boundary, wanted):
    delimiter = b"--" + boundary.encode()
    wanted = [(h, c) for h, c in wanted if b"\r\n" + delimiter not in b"\r\n" + c + b"\r\n"]
    body = bytearray()
    for headers, content in wanted:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        body += delimiter + b"\r\n" + lines.encode() + b"\r\n" + content + b"\r\n"
    body += delimiter + b"--\r\n"
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=20))
    assert await taken(bytes(body), boundary, cuts=cuts) == wanted
    assert await taken(bytes(body), boundary, size=1) == wanted


@given(st.lists(CONTENT | st.sampled_from([b"--b", b"\r\n--b", b"A: 1", b" "])), st.integers(1, 9))
async def test_any_split_of_anything_gives_the_same_or_the_same_error(body, size):
    async def outcome(**how):
        try:
            return await taken(b"".join(body), **how)
        except (MalformedRequest, PayloadTooLarge) as error:
            return str(error)

    assert await outcome(size=size) == await outcome()


# Responses


async def content(*data):
    for piece in data:
        yield piece


async def test_response_is_framed_as_ps3_18_wants_it():
    writer = MultipartWriter("application/dicom", boundary="b")
    assert writer.content_type == ('multipart/related; type="application/dicom"; boundary="b"')
    body = writer.body(
        [
            OutgoingPart("application/dicom; transfer-syntax=1.2.5", content(b"on", b"e")),
            OutgoingPart("application/dicom; transfer-syntax=1.2", content(), "https://h/i"),
        ]
    )
    assert b"".join([piece async for piece in body]) == (
        b"--b\r\nContent-Type: application/dicom; transfer-syntax=1.2.5\r\n\r\none\r\n"
        b"--b\r\nContent-Type: application/dicom; transfer-syntax=1.2\r\n"
        b"Content-Location: https://h/i\r\n\r\n\r\n"
        b"--b--\r\n"
    )


async def test_what_is_being_read_is_closed_when_the_client_goes_away():
    closed = []

    async def endless(name):
        try:
            while True:
                yield b"x"
        finally:
            closed.append(name)

    async def outgoing():
        try:
            yield OutgoingPart("a/b", endless("content"))
        finally:
            closed.append("outgoing")

    body = MultipartWriter("a/b").body(outgoing())
    await anext(body)
    assert await anext(body) == b"x"
    await body.aclose()
    assert closed == ["content", "outgoing"]


def test_boundaries_differ():
    assert MultipartWriter("a/b").boundary != MultipartWriter("a/b").boundary


@given(st.lists(st.tuples(CONTENT, st.booleans()), max_size=5))
async def test_response_can_be_read_back_and_its_length_is_known(contents):
    writer = MultipartWriter("application/octet-stream")

    async def outgoing():
        for data, located in contents:
            yield OutgoingPart("a/b", content(data), "https://h/x" if located else None)

    body = b"".join([piece async for piece in writer.body(outgoing())])
    sizes = [
        (writer.before("a/b", "https://h/x" if located else None), len(data))
        for data, located in contents
    ]
    assert writer.length(sizes) == len(body)
    found = await taken(body, writer.boundary)
    assert [data for _, data in found] == [data for data, _ in contents]
    assert ["content-location" in headers for headers, _ in found] == [x for _, x in contents]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "é", "a\0"])
def test_header_value_cannot_break_the_framing(value):
    with pytest.raises(ValueError, match="Content-Location"):
        MultipartWriter("a/b").before("a/b", value)

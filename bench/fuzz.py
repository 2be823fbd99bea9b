"""Hostile input by the million: mutated requests into the parsers of the service.

    python -m bench.fuzz multipart --minutes 10 --seed 1

Each target takes examples, mutates them by a seeded generator, and feeds them in pieces of random
sizes. A target passes if nothing but the service's own refusals is raised, no input takes longer
than ``SLOWEST_S``, and the process does not grow by more than ``MOST_GROWTH_MB``. The last line
says seed, count, share of accepted inputs, slowest input and growth; a failure prints the input.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import resource
import sys
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from pydicom.data import get_testdata_file

from functions.retrieve import frame_numbers
from shared.auth.issuers import parse_issuer
from shared.auth.tokens import Tokens
from shared.config import Limits
from shared.dicom.attributes import INDEXED_ATTRIBUTES
from shared.dicom.reader import InstanceReader
from shared.dicom.validation import StoreValidation
from shared.errors import DicomServiceError
from shared.store.assembly import instances
from shared.store.intake import bulk_data_uri
from shared.web import query
from shared.web.media_types import MultipartBody, store_body
from shared.web.multipart import parts
from shared.web.negotiation import file_offers, ranked
from shared.web.ranges import requested_span
from shared.web.wado_uri import parse_wado_uri
from tests.support import dicom
from tests.support.auth import MemoryPublished
from tests.support.issuer import Issuer
from tests.support.requests import MULTIPART, bulk_request, multipart

SLOWEST_S = 2.0
MOST_GROWTH_MB = 256
_LIMITS = Limits(header_bytes=1 << 20, metadata_bytes=1 << 20, bulk_data_bytes=4 << 20, parts=50)
_INTERESTING = (
    b"\0", b"\xff", b"\xff\xff", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\r\n", b"--", b"\\",
    b"=", b"^", b'"', b"{", b"[", b"]", b"}", b"%00", b"9" * 20, b"1e999", b"\xc3",
)  # fmt: skip
_WORDS = {
    "multipart": (b"\r\n--b\r\n", b"\r\n--b--", b"Content-Type: ", b"\r\n\r\n", b"boundary="),
    "part10": (
        b"SQ", b"OB", b"UN", b"UT", b"PN", b"DICM", b"\xfe\xff\xdd\xe0", b"\xfe\xff\x0d\xe0",
    ),
    "json": (
        b'"Value":', b'"BulkDataURI":', b'"InlineBinary":', b'"vr":"SQ"', b"null", b"-1", b"1e400",
    ),
    "query": (
        b"&", b"%2C", b"*", b"?", b"StudyDate=", b"-", b"includefield=", b"\xcc\x81", b";q=", b",",
    ),
    "token": (b".", b"e30", b"eyJ", b"_", b"AAAA"),
}  # fmt: skip

Feed = Callable[[bytes, random.Random], Awaitable[None]]


def _mutated(data: bytes, words: Sequence[bytes], chance: random.Random) -> bytes:
    """A copy with some bytes changed, taken out, doubled, or put in."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(7):
            case 0:
                found[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del found[at : at + chance.choice((1, 2, 8, 64))]
            case 2:
                found[at:at] = chance.choice(_INTERESTING)
            case 3:
                found[at:at] = chance.choice(words)
            case 4:
                end = at + chance.choice((2, 8, 64, 512))
                found[at:at] = found[at:end] * chance.choice((1, 2, 9))
            case 5:
                found[at : at + 4] = chance.randbytes(4)
            case _:
                del found[at:]
    return bytes(found)


async def _pieces(data: bytes, chance: random.Random) -> AsyncIterator[bytes]:
    at = 0
    while at < len(data):
        size = chance.choice((1, 7, 100, 4096, 65_536))
        yield data[at : at + size]
        at += size


# Targets ----------------------------------------------------------------------------------


async def _multipart(data: bytes, chance: random.Random) -> None:
    kind, _, body = data.partition(b"\n")
    asked = store_body(kind.decode("latin-1"))
    boundary = asked.boundary if isinstance(asked, MultipartBody) else "b"
    async for part in parts(_pieces(body, chance), boundary, max_parts=_LIMITS.parts):
        async for _ in part.content:
            pass


def _multipart_examples() -> list[bytes]:
    kind = MULTIPART["Content-Type"].encode() + b"\n"
    other = b'multipart/related; type="application/dicom+json"; boundary="a b"\n'
    return [
        kind + multipart([b"x" * 10, dicom.base()[:700]]),
        kind + multipart([b"\r\n--b", b"--b--"]),
        other + b"--a b\r\n\r\n[]\r\n--a b--",
        b"application/dicom\n",
    ]


async def _part10(data: bytes, chance: random.Random) -> None:
    checker = StoreValidation(chance.choice((1, 2)))
    reader = InstanceReader(
        limits=_LIMITS,
        wanted=INDEXED_ATTRIBUTES,
        checker=checker,
        bulk_data_uri=bulk_data_uri("https://dicom.example/main/v2"),
    )
    async for piece in _pieces(data, chance):
        reader.feed(piece)
    facts = reader.finish()
    checker.finish(facts.identifiers, None)


def _part10_examples() -> list[bytes]:
    files = [dicom.part10(dicom.ct(), syntax) for syntax in (
        dicom.EXPLICIT_LE, dicom.IMPLICIT_LE, dicom.EXPLICIT_BE, dicom.DEFLATED
    )]  # fmt: skip
    files.append(dicom.part10(dicom.multi_frame(frames=3)))
    names = (
        "JPEG2000.dcm", "rtplan.dcm", "liver_1frame.dcm", "UN_sequence.dcm", "badVR.dcm",
        "image_dfl.dcm", "reportsi.dcm", "chrH31.dcm", "emri_small_jpeg_ls_lossless.dcm",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [get_testdata_file(name) for name in names]
    return files + [Path(str(path)).read_bytes()[:20_000] for path in found if path]


async def _json(data: bytes, chance: random.Random) -> None:
    async for content in instances(parts(_pieces(data, chance), "b", max_parts=50), _LIMITS):
        async for _ in content:
            pass


def _json_examples() -> list[bytes]:
    found = []
    for ds in (dicom.ct(), dicom.multi_frame(frames=2)):
        meta = json.loads(ds.to_json())
        meta["00020010"] = {"vr": "UI", "Value": [dicom.EXPLICIT_LE]}
        found.append(bulk_request([meta]))
        pixels = bytes(ds.PixelData)
        meta["7FE00010"] = {"vr": "OW", "BulkDataURI": "https://x/1"}
        part = ("application/octet-stream", "https://x/1", pixels)
        found.append(bulk_request([meta], part))
    deep: object = {}
    for _ in range(30):
        deep = {"00081115": {"vr": "SQ", "Value": [deep]}}
    return [*found, bulk_request([deep])]


async def _query(data: bytes, chance: random.Random) -> None:
    text = data.decode("utf-8", "replace")
    items = parse_qsl(text, keep_blank_values=True)
    scope = chance.choice((query.STUDIES, query.SERIES, query.INSTANCES, query.SERIES_OF_STUDY))
    for step in (
        lambda: query.require_harmless(text),
        lambda: query.parse_search_query(items, scope, most=200),
        lambda: parse_wado_uri(items),
        lambda: ranked(text, file_offers()),
        lambda: store_body(text),
        lambda: requested_span(text, 1000),
        lambda: frame_numbers(text, 1000),
    ):
        try:
            step()
        except DicomServiceError:
            continue


def _query_examples() -> list[bytes]:
    return [
        b"StudyDate=20200101-20201231&PatientName=Sm*th^J?n&limit=10&offset=0&fuzzymatching=true",
        b"00100020=1%2C2&includefield=00081115.00080018&includefield=all&ModalitiesInStudy=CT",
        b"StudyInstanceUID=1.2.3%5C1.2.4&AcquisitionDateTime=20200101101112.5%2B0100-",
        b"requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4&region=0,0,0.5,0.5&rows=9",
        b'multipart/related; type="application/dicom"; transfer-syntax=*; q=0.5, */*;q=0.1',
        b"bytes=0-99,200-",
        b"1,2,3,4",
    ]


_ISSUER = Issuer()
_PARSED = parse_issuer(_ISSUER.url)
_TOKENS = Tokens(
    MemoryPublished(
        {
            _PARSED.metadata_url: {"issuer": _ISSUER.url, "jwks_uri": f"{_ISSUER.url}/keys"},
            f"{_ISSUER.url}/keys": {"keys": _ISSUER.jwks},
        }
    )
)


async def _token(data: bytes, chance: random.Random) -> None:
    """A token, mutated as text or below its base64."""
    text = data.decode("latin-1")
    if chance.random() < 0.5:
        words = text.split(".")
        which = chance.randrange(len(words))
        try:
            inner = base64.urlsafe_b64decode(words[which] + "==")
        except ValueError:
            inner = b"{}"
        inner = _mutated(inner, _WORDS["json"], chance)
        words[which] = base64.urlsafe_b64encode(inner).rstrip(b"=").decode("ascii")
        text = ".".join(words)
    await _TOKENS.verified(text, {_ISSUER.url: _PARSED})


def _token_examples() -> list[bytes]:
    return [
        _ISSUER.token(roles=["Dicom.DataOwner"], scp="Dicom.ReadWrite").encode(),
        _ISSUER.token(algorithm="PS256", aud=["a", "b"]).encode(),
        _ISSUER.unsigned().encode(),
        _ISSUER.confused().encode(),
    ]


TARGETS: dict[str, tuple[Feed, Callable[[], list[bytes]]]] = {
    "multipart": (_multipart, _multipart_examples),
    "part10": (_part10, _part10_examples),
    "json": (_json, _json_examples),
    "query": (_query, _query_examples),
    "token": (_token, _token_examples),
}


# The run ----------------------------------------------------------------------------------


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def fuzz(target: str, seconds: float, seed: int) -> str:
    """Run a target; the line that says what was seen.

    Raises
    ------
    AssertionError
        An input broke the rules above; it is printed.
    """
    feed, examples_of = TARGETS[target]
    examples, chance = examples_of(), random.Random(seed)
    before, count, accepted, slowest = 0.0, 0, 0, 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = _mutated(chance.choice(examples), _WORDS[target], chance)
        began = time.process_time()
        try:
            await feed(data, chance)
            accepted += 1
        except DicomServiceError:
            pass
        except BaseException:
            print(f"{target} seed {seed} input {count}: {data!r}", file=sys.stderr)
            raise
        slowest = max(slowest, time.process_time() - began)
        assert slowest < SLOWEST_S, f"{target} seed {seed} input {count} took {slowest} s: {data!r}"
        count += 1
        if count % 50 == 0:
            await asyncio.sleep(0)  # generators that a refusal left are closed by the loop
        if count == 2_000:
            before = _resident_mb()  # all is imported and compiled
    growth = _resident_mb() - before if before else 0.0
    assert growth < MOST_GROWTH_MB, f"{target}: grew by {growth} MB"
    return (
        f"{target}: seed {seed}, {count} inputs in {seconds:.0f} s, "
        f"{accepted / count:.0%} accepted, slowest {slowest * 1000:.0f} ms of CPU, "
        f"grew by {growth:.0f} MB"
    )


def main() -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(
        prog="bench.fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for target in arguments.targets or TARGETS:
        print(asyncio.run(fuzz(target, arguments.minutes * 60, arguments.seed)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

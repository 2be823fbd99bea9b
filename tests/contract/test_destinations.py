"""The ports of exports on Azurite, with real signatures."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared import resilience
from shared.adapters.azure import destinations
from shared.adapters.azure.blobs import AzureBlobs, ensure_container
from shared.adapters.azure.clients import PIECE
from shared.adapters.azure.destinations import AzureDestination, AzureDestinations, AzureLinks
from shared.errors import (
    AlreadyStored,
    CorruptData,
    DestinationTrouble,
    DestinationUnusable,
)
from shared.export.models import Credential, Target
from shared.export.ports import Copied
from tests.support.export import ALL, Place, new_place

pytestmark = pytest.mark.azurite

_KEY = "instances/Microsoft.Default/1.2/1.2.3/1.2.3.4/0000000000000000001.dcm"
_NEEDED = "racw"


@pytest.fixture(scope="module")
def place(new_account: Callable[[], str]) -> Place:
    return new_place(new_account())


def _target(place: Place, permissions: str = ALL) -> Target:
    return Target(place.address, Credential.SAS, place.sas(permissions), private=True)


@pytest.fixture
async def destination(place: Place) -> AsyncIterator[AzureDestination]:
    async with AzureDestinations(None).open(_target(place, _NEEDED)) as opened:
        yield opened


@pytest.fixture
async def ours(blob_client: Any, fresh_name: str) -> AzureBlobs:
    await ensure_container(blob_client, fresh_name)
    return AzureBlobs(blob_client, fresh_name)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that are made from here on retry at once."""
    monkeypatch.setattr(resilience, "_PAUSE_S", 0.0)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 1024 * 1024):
        yield data[at : at + 1024 * 1024]


# Logs -------------------------------------------------------------------------------------


async def test_a_log_grows_and_each_append_happens_once(
    destination: AzureDestination, fresh_name: str
) -> None:
    name = f"{fresh_name}/errors.log"
    await destination.create_log(name)
    assert await destination.log_after(name, 0) == b""
    await destination.append(name, 0, b"one\n")
    await destination.create_log(name)  # it stays
    await destination.append(name, 0, b"one\n")  # as if the answer had been lost
    with pytest.raises(DestinationTrouble):
        await destination.append(name, 0, b"two\n")
    await destination.append(name, 4, b"two\n")
    assert await destination.log_after(name, 0) == b"one\ntwo\n"
    assert await destination.log_after(name, 4) == b"two\n"
    assert await destination.log_after(name, 8) == b""


async def test_whose_exports_a_container_takes(blob_client: Any, fresh_name: str) -> None:
    target = Target(f"https://account/{fresh_name}", Credential.IDENTITY)
    await ensure_container(blob_client, fresh_name)
    container = blob_client.get_container_client(fresh_name)
    destination = AzureDestination(blob_client, target)
    assert await destination.tenants() == frozenset()
    await container.set_container_metadata({"DicomTenants": "main, other"})
    assert await destination.tenants() == {"main", "other"}


# Files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PIECE, 2 * PIECE + 5])
async def test_a_file_is_written_once(
    destination: AzureDestination, place: Place, fresh_name: str, size: int
) -> None:
    name, data = f"{fresh_name}/{size}.dcm", os.urandom(size)
    stored = await destination.put(name, _pieces(data), {"dicom_batch": "7"})
    assert (stored.size, stored.sha256) == (size, hashlib.sha256(data).digest())
    with pytest.raises(AlreadyStored):
        await destination.put(name, _pieces(b"other"), {"dicom_batch": "8"})
    assert place.content(name) == {"": data}
    marks = await destination.marks(name)
    assert marks is not None
    assert marks["dicom_batch"] == "7"
    assert await destination.marks(name + ".not") is None


async def test_a_file_that_breaks_off_does_not_appear(
    destination: AzureDestination, place: Place, fresh_name: str
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield os.urandom(PIECE + 1)
        raise CorruptData("Its file is not what was stored.")

    with pytest.raises(CorruptData):
        await destination.put(f"{fresh_name}/a.dcm", broken(), {})
    assert not place.content(fresh_name)


async def test_the_destination_fetches_a_file_of_ours(
    destination: AzureDestination, place: Place, ours: AzureBlobs, blob_client: Any, fresh_name: str
) -> None:
    """From another account, which looks at the link's signature."""
    data = os.urandom(3 * 1024 * 1024)
    await ours.put(_KEY, _pieces(data))
    link = await AzureLinks(blob_client, fresh_name).link(_KEY)
    assert link is not None
    name = f"{fresh_name}/a.dcm"
    assert await destination.copy(name, link, {"dicom_batch": "1"}) is Copied.DONE
    assert place.content(name) == {"": data}
    marks = await destination.marks(name)
    assert marks is not None
    assert marks["dicom_batch"] == "1"
    with pytest.raises(AlreadyStored):
        await destination.copy(name, link, {})
    absent = await AzureLinks(blob_client, fresh_name).link(_KEY + "x")
    assert absent is not None
    other = f"{fresh_name}/b.dcm"
    assert await destination.copy(other, absent, {}) in (Copied.NOT_THIS, Copied.NEVER)
    unsigned = link.partition("?")[0]
    assert await destination.copy(other, unsigned, {}) in (Copied.NOT_THIS, Copied.NEVER)
    assert not place.content(other)


async def test_a_link_leads_to_one_file(
    ours: AzureBlobs, blob_client: Any, fresh_name: str
) -> None:
    import httpx

    for key in (_KEY, _KEY + "2"):
        await ours.put(key, _pieces(b"data"))
    link = await AzureLinks(blob_client, fresh_name).link(_KEY) or ""
    async with httpx.AsyncClient() as client:
        assert (await client.get(link)).content == b"data"
        assert (await client.get(link.replace(".dcm?", ".dcm2?"))).status_code == 403
        assert (await client.put(link, headers={"x-ms-blob-type": "BlockBlob"})).status_code == 403


# Refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("permissions", ["r", "cw", "rl", "c"])
async def test_a_signature_that_permits_too_little(place: Place, permissions: str) -> None:
    async with AzureDestinations(None).open(_target(place, permissions)) as destination:
        name = f"{permissions}/errors.log"

        async def probe() -> None:
            await destination.create_log(name)
            await destination.log_after(name, 0)

        with pytest.raises(DestinationUnusable, match="does not let the service in") as raised:
            await probe()
        _holds_no_secret(raised.value)


async def test_a_container_that_is_not_there(place: Place) -> None:
    address = place.address + "-not"
    target = Target(address, Credential.SAS, place.sas(), private=True)
    async with AzureDestinations(None).open(target) as destination:
        for call in (
            destination.create_log("a"),
            destination.log_after("a", 0),
            destination.append("a", 0, b"x"),
            destination.put("a", _pieces(b"x"), {}),
        ):
            with pytest.raises(DestinationUnusable, match="-not of account") as raised:
                await call
            _holds_no_secret(raised.value)


async def test_a_signature_that_expired(place: Place) -> None:
    sas = place.sas(lasts=timedelta(minutes=-1))
    target = Target(place.address, Credential.SAS, sas, private=True)
    async with AzureDestinations(None).open(target) as destination:
        with pytest.raises(DestinationUnusable) as raised:
            await destination.put("a", _pieces(b"x"), {})
        _holds_no_secret(raised.value)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server that sends all requests on, and the requests that it got."""
    got: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            got.append(self.path)
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{port}/stolen/container/x?sig=1")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{port}", got
    server.shutdown()
    thread.join()
    server.server_close()


async def test_redirects_are_not_followed(elsewhere: tuple[str, list[str]]) -> None:
    address, got = elsewhere
    target = Target(f"{address}/account/container", Credential.SAS, "sig=c2VjcmV0", private=True)
    async with AzureDestinations(None).open(target) as destination:
        with pytest.raises(DestinationTrouble):
            await destination.create_log("errors.log")
    assert got
    assert not [path for path in got if "stolen" in path]


async def test_a_name_of_a_private_address_is_not_connected_to(
    elsewhere: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, no_waiting: None
) -> None:
    """Looked at when the connection is made: the answer of the name server may change."""
    address, got = elsewhere
    by_name = address.replace("127.0.0.1", "localhost")
    for private in (False, True):
        target = Target(f"{by_name}/account/container", Credential.SAS, "sig=x", private=private)
        async with AzureDestinations(None).open(target) as destination:
            with pytest.raises(DestinationTrouble):
                await destination.create_log("errors.log")
        assert bool(got) is private


async def test_nothing_that_is_raised_has_the_signature(place: Place, no_waiting: None) -> None:
    sas = place.sas()
    target = Target("http://127.0.0.1:9/account/container", Credential.SAS, sas, private=True)
    async with AzureDestinations(None).open(target) as destination:
        for call in (
            destination.create_log("a"),
            destination.marks("a"),
            destination.copy("a", f"http://127.0.0.1:9/a/b?{sas}", {}),
            destination.put("a", _pieces(b"x"), {}),
        ):
            with pytest.raises(DestinationTrouble, match="does not answer") as raised:
                await asyncio.wait_for(call, 30)
            _holds_no_secret(raised.value)


def _holds_no_secret(error: BaseException) -> None:
    """Neither it nor what a log would print behind it."""
    assert error.__suppress_context__
    assert error.__cause__ is None
    assert "sig" not in str(error)


# Delegated signatures ---------------------------------------------------------------------


class _Delegating:
    """As much of a blob service as signs in by identity: Azurite has none without TLS."""

    account_name = "account"
    credential = object()

    def __init__(self, *, allowed: bool) -> None:
        self.allowed = allowed
        self.asked = 0

    def get_container_client(self, name: str) -> Any:
        from azure.storage.blob.aio import ContainerClient

        return ContainerClient("https://account.blob.core.windows.net", name, "sig=unused")

    async def get_user_delegation_key(self, start: Any, expiry: Any) -> Any:
        from azure.core.exceptions import HttpResponseError
        from azure.storage.blob import UserDelegationKey

        self.asked += 1
        if not self.allowed:
            raise HttpResponseError("no")
        key = UserDelegationKey()
        key.signed_oid = key.signed_tid = "00000000-0000-0000-0000-000000000001"
        key.signed_start, key.signed_expiry = start.isoformat(), expiry.isoformat()
        key.signed_service, key.signed_version = "b", "2025-01-05"
        key.value = "a2V5"
        return key


@pytest.mark.parametrize("allowed", [True, False])
async def test_links_in_the_name_of_our_identity(*, allowed: bool) -> None:
    service: Any = _Delegating(allowed=allowed)
    links = AzureLinks(service, "dicom-main")
    made = [await links.link(f"{_KEY}{number}") for number in range(3)]
    assert service.asked == 1, "a key serves for hours, and so does a no"
    for number, link in enumerate(made):
        if not allowed:
            assert link is None
            continue
        assert link is not None
        assert link.startswith(f"https://account.blob.core.windows.net/dicom-main/{_KEY}{number}?")
        assert "sp=r&" in link
        assert "skoid=" in link
        assert "sr=b" in link
    assert timedelta(hours=1) >= destinations._LINK_LASTS


# What Azure says where Azurite says otherwise ------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (412, "ConditionNotMet", AlreadyStored),
        (409, "BlobAlreadyExists", AlreadyStored),
        (409, "CopyAcrossAccountsNotSupported", Copied.NOT_THIS),
        (404, "BlobNotFound", Copied.NOT_THIS),
        (500, "CannotVerifyCopySource", Copied.NOT_THIS),
        (403, "AuthorizationFailure", Copied.NEVER),
        (400, "InvalidHeaderValue", Copied.NEVER),
        (501, "NotImplemented", Copied.NEVER),
        (503, "ServerBusy", DestinationTrouble),
    ],
)
async def test_answers_to_a_copy(
    place: Place, monkeypatch: pytest.MonkeyPatch, status: int, code: str, expected: Any
) -> None:
    from azure.core.exceptions import HttpResponseError
    from azure.storage.blob.aio import BlobClient

    async def refused(*_: Any, **__: Any) -> None:
        error: Any = HttpResponseError("https://account/container?sig=c2VjcmV0")
        error.status_code, error.error_code = status, code
        raise error

    monkeypatch.setattr(BlobClient, "start_copy_from_url", refused)
    async with AzureDestinations(None).open(_target(place)) as destination:
        call = destination.copy("a", "https://ours/a?sig=x", {})
        if isinstance(expected, Copied):
            assert await call is expected
            return
        with pytest.raises(expected) as raised:
            await call
        _holds_no_secret(raised.value)

"""Exports by the service's identity, on an Azurite that takes tokens.

It does so over TLS only, and reads of a token what Entra ID would sign: issuer, audience, times.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared import resilience
from shared.adapters.azure import destinations
from shared.adapters.azure.blobs import AzureBlobs, ensure_container
from shared.adapters.azure.clients import foreign_blob_service
from shared.adapters.azure.destinations import AzureDestination, AzureDestinations, AzureLinks
from shared.errors import DestinationTrouble, DestinationUnusable
from shared.export.models import Credential, Target
from shared.export.ports import Copied
from tests.support.processes import free_ports, node_script, running

pytestmark = pytest.mark.azurite

_KEY = "instances/Microsoft.Default/1.2/1.2.3/1.2.3.4/0000000000000000001.dcm"
_SOMEBODY = "00000000-0000-0000-0000-000000000001"


@dataclass
class Identity:
    """A credential whose tokens are as those of Entra ID, but for their signature."""

    lasts_s: int = 3600
    failing: bool = False
    scopes: list[str] = field(default_factory=list)

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        if self.failing:
            raise ClientAuthenticationError("no identity here")
        self.scopes += scopes
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": f"https://sts.windows.net/{_SOMEBODY}/",
            "iat": now - 7200,
            "nbf": now - 7200,
            "exp": now + self.lasts_s,
            "oid": _SOMEBODY,
            "tid": _SOMEBODY,
        }
        parts = ({"alg": "RS256", "typ": "JWT"}, claims)
        words = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts]
        token = b".".join([*(word.rstrip(b"=") for word in words), b"c2ln"]).decode()
        return AccessToken(token, now + 3600)

    async def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 and, beside it, its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture(scope="module")
def store(certificate: Path) -> Iterator[str]:
    """Address of a blob service, of which each name is an account."""
    [port] = free_ports(1)
    command = [
        *node_script("azurite", "dist", "src", "blob", "main.js"),
        *("--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence"),
        *("--cert", str(certificate), "--key", str(certificate.with_suffix(".key"))),
        *("--oauth", "basic", "--silent", "--skipApiVersionCheck", "--disableTelemetry"),
    ]
    key = base64.b64encode(os.urandom(64)).decode()
    environment = {
        "AZURITE_ACCOUNTS": f"ours:{key};theirs:{key}",
        "NODE_EXTRA_CA_CERTS": str(certificate),
    }
    with running(command, [port], certificate.with_suffix(".log"), environment):
        yield f"https://127.0.0.1:{port}"


@pytest.fixture
def identity(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """The service's identity, on a machine that trusts the certificate."""
    context = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", context)
    found = Identity()
    monkeypatch.setattr(destinations, "token_credential", lambda _client_id: found)
    return found


@pytest.fixture
async def ours(store: str, identity: Identity) -> AsyncIterator[Any]:
    """A client of our own store."""
    resolver = destinations.resolver(private=True)
    async with foreign_blob_service(f"{store}/ours", identity, resolver) as client:
        yield client


@pytest.fixture
async def theirs(store: str, identity: Identity, fresh_name: str) -> Target:
    """A container of others."""
    resolver = destinations.resolver(private=True)
    async with foreign_blob_service(f"{store}/theirs", identity, resolver) as client:
        await ensure_container(client, fresh_name)
        container = client.get_container_client(fresh_name)
        await container.set_container_metadata({"dicomtenants": "main"})
    identity.scopes.clear()
    return Target(f"{store}/theirs/{fresh_name}", Credential.IDENTITY, private=True)


@pytest.fixture
async def destination(theirs: Target) -> AsyncIterator[AzureDestination]:
    async with AzureDestinations(None).open(theirs) as opened:
        yield opened


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_a_container_is_entered_with_a_token(
    destination: AzureDestination, identity: Identity
) -> None:
    assert await destination.tenants() == {"main"}
    await destination.create_log("a/errors.log")
    await destination.append("a/errors.log", 0, b"one\n")
    assert await destination.log_after("a/errors.log", 0) == b"one\n"
    await destination.put("a/b.dcm", _one(b"data"), {"dicom_batch": "1"})
    marks = await destination.marks("a/b.dcm")
    assert marks is not None
    assert marks["dicom_batch"] == "1"
    assert set(identity.scopes) == {"https://storage.azure.com/.default"}


async def test_a_link_in_the_name_of_our_identity(
    ours: Any, destination: AzureDestination, fresh_name: str
) -> None:
    """Azurite gives the key, but refuses the link: it knows an older form of what is signed.

    So what a destination does that is refused our file is seen here too: nothing.
    """
    await ensure_container(ours, fresh_name)
    await AzureBlobs(ours, fresh_name).put(_KEY, _one(b"data"))
    link = await AzureLinks(ours, fresh_name).link(_KEY)
    assert link is not None
    address, _, query = link.partition("?")
    assert address.endswith(f"/ours/{fresh_name}/{_KEY}")
    signed = dict(parse_qsl(query))
    assert (signed["sp"], signed["sr"], signed["skoid"]) == ("r", "b", _SOMEBODY)
    lasts = datetime.fromisoformat(signed["se"]) - datetime.now(UTC)
    assert timedelta(minutes=55) < lasts <= timedelta(hours=1)
    assert await destination.copy("a/b.dcm", link, {}) is Copied.NEVER
    assert await destination.marks("a/b.dcm") is None


async def test_a_token_that_does_not_serve(
    store: str, theirs: Target, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resilience, "_PAUSE_S", 0.0)
    identity.lasts_s = -60
    async with AzureDestinations(None).open(theirs) as destination:
        with pytest.raises(DestinationUnusable, match="does not let the service in"):
            await destination.create_log("a/errors.log")
    identity.failing = True
    async with AzureDestinations(None).open(theirs) as destination:
        with pytest.raises(DestinationTrouble, match="cannot sign in"):
            await destination.create_log("a/errors.log")

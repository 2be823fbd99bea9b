"""The FHIR client: signing in, pages, and servers that behave badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from shared.adapters.fhir import tokens
from shared.adapters.fhir.client import FhirClient
from shared.adapters.fhir.tokens import FhirSignIn
from shared.cast.bundle import escaped, token
from shared.cast.failures import Away, Refused
from shared.cast_settings import CastSettings
from tests.support import dicom
from tests.support.fhir import FhirServer
from tests.support.processes import free_ports
from tests.unit.cast.conftest import Cast, no_token


@pytest.fixture
async def raw() -> AsyncIterator[SimpleNamespace]:
    """A server that answers as a test says, and what it was sent."""
    state = SimpleNamespace(answer=None, seen=[], url="")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        state.seen.append(head)
        writer.write(state.answer.encode())
        await writer.drain()
        writer.close()

    (port,) = free_ports(1)
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    state.url = f"http://127.0.0.1:{port}/fhir"
    async with server:
        yield state


def _answer(status: str, body: str = "", *headers: str) -> str:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", body])


async def _search(raw: SimpleNamespace) -> Any:
    client = FhirClient(raw.url, no_token)
    try:
        return await client.search("Patient", [("identifier", "a|b")], most=10)
    finally:
        await client.close()


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (_answer("302 Found", "", "Location: http://127.0.0.1:1/"), Refused),
        (_answer("200 OK", "<html>"), Refused),
        (_answer("200 OK", '{"resourceType": "Patient"}'), Refused),
        (_answer("404 Not Found", "{}"), Away),
        (_answer("502 Bad Gateway", "<html>"), Away),
        (_answer("400 Bad Request", '{"issue": "?"}'), Refused),
        ("", Away),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", Away),
    ],
)
async def test_answers_of_all_kinds(
    raw: SimpleNamespace, answer: str, raised: type[Exception]
) -> None:
    raw.answer = answer
    with pytest.raises(raised) as trouble:
        await _search(raw)
    assert "a|b" not in str(trouble.value)


async def test_a_page_elsewhere_is_not_fetched(raw: SimpleNamespace) -> None:
    link = '[{"relation": "next", "url": "http://127.0.0.1:1/fhir/Patient"}]'
    raw.answer = _answer("200 OK", f'{{"resourceType": "Bundle", "link": {link}}}')
    with pytest.raises(Refused, match="another server"):
        await _search(raw)


async def test_nobody_there() -> None:
    (port,) = free_ports(1)
    client = FhirClient(f"http://127.0.0.1:{port}", no_token)
    with pytest.raises(Away):
        await client.capabilities()
    await client.close()


def test_special_characters_of_search_values() -> None:
    assert escaped("a,b|c$d\\e") == "a\\,b\\|c\\$d\\\\e"
    assert token("", "A") == "|A"


# Signing in -------------------------------------------------------------------------------


class _Credential:
    def __init__(self) -> None:
        self.scopes: list[str] = []

    async def get_token(self, scope: str) -> Any:
        self.scopes.append(scope)
        return SimpleNamespace(token="secret-token")

    async def close(self) -> None:
        self.scopes.append("closed")


@pytest.mark.parametrize("auth", ["managedIdentity", "clientCredentials"])
async def test_tokens(monkeypatch: pytest.MonkeyPatch, fhir: FhirServer, auth: Any) -> None:
    credential = _Credential()
    made: list[tuple[Any, ...]] = []

    def make(*words: Any) -> _Credential:
        made.append(words)
        return credential

    monkeypatch.setattr(tokens, "token_credential", make)
    monkeypatch.setattr(tokens, "client_credential", make)
    monkeypatch.setenv("FHIR_SECRET", "s3cret")
    settings = CastSettings(
        fhir.url, auth=auth, client_id="me", authority_tenant="dir", secret_setting="FHIR_SECRET"
    )
    sign_in = FhirSignIn(settings)
    client = FhirClient(fhir.url, sign_in)
    fhir.settings(token="secret-token")
    assert (await client.capabilities())["fhirVersion"] == "4.0.1"
    assert credential.scopes == [f"{fhir.url}/.default"]
    assert made == [("me",) if auth == "managedIdentity" else ("dir", "me", "s3cret")]
    fhir.settings(token="another")
    with pytest.raises(Away, match="401"):
        await client.capabilities()
    fhir.settings(token=None)
    await client.close()
    await sign_in.close()


async def test_a_secret_that_is_missing_is_named() -> None:
    settings = CastSettings("http://x", auth="clientCredentials", secret_setting="NO_SUCH_SETTING")
    with pytest.raises(Away, match="NO_SUCH_SETTING"):
        await FhirSignIn(settings)()


async def test_patients_with_special_characters(cast: Cast) -> None:
    """The engine does not know escapes, so the patient is found only by servers that do."""
    await cast.cast(dicom.ct(PatientID="a b&c=d+e%f#ü"))
    await cast.cast(dicom.ct(PatientID="a b&c=d+e%f#ü"))
    assert cast.one("Patient")["identifier"][0]["value"] == "a b&c=d+e%f#ü"

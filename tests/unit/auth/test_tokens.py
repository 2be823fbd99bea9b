"""Tokens: what counts as valid, and how keys are kept."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from shared.auth import tokens as tokens_module
from shared.auth.issuers import parse_issuer
from shared.auth.keys import BETWEEN_S, REFRESH_S, STALE_S
from shared.auth.tokens import Tokens
from shared.errors import NotAuthenticated, Unavailable
from tests.support.auth import MemoryPublished
from tests.support.issuer import Issuer, public_jwk, rsa_key

DIRECTORY = "11111111-2222-3333-4444-555555555555"
ENTRA = parse_issuer(f"https://login.microsoftonline.com/{DIRECTORY}")


class World:
    """An issuer whose documents are in memory, and a clock for the age of keys."""

    def __init__(self) -> None:
        self.issuer = Issuer()
        self.parsed = parse_issuer(self.issuer.url)
        self.trusted = {self.issuer.url: self.parsed}
        self.published = MemoryPublished({})
        self.now = 1_000_000.0
        self.tokens = Tokens(self.published, lambda: self.now)
        self.publish()

    def publish(self) -> None:
        self.published.documents |= {
            self.parsed.metadata_url: {
                "issuer": self.issuer.url,
                "jwks_uri": f"{self.issuer.url}/keys",
            },
            f"{self.issuer.url}/keys": {"keys": self.issuer.jwks},
        }

    async def accepts(self, token: str) -> bool:
        try:
            await self.tokens.verified(token, self.trusted)
        except NotAuthenticated:
            return False
        return True


@pytest.fixture
def world() -> World:
    return World()


async def test_a_good_token_says_whose_it_is(world: World) -> None:
    token = world.issuer.token(aud=["api://a/", "b"], roles=["r"])
    found = await world.tokens.verified(token, world.trusted)
    assert found.audiences == {"api://a", "b"}
    assert found.claims["roles"] == ["r"]
    assert found.issuer == world.parsed


@pytest.mark.spec("partitions-and-security", 17)
async def test_times_issuer_and_signature_must_fit(world: World) -> None:
    now = int(time.time())
    good = world.issuer.token
    for token in (
        good(exp=now - 61),
        good(exp=None),
        good(nbf=now + 120),
        good(iss="https://other.example"),
        good(iss=None),
        good(aud=None),
        good(kid="unknown"),
        good()[:-8] + "AAAAAAAA",
        world.issuer.unsigned(),
        world.issuer.confused(),
    ):
        assert not await world.accepts(token), token
    assert await world.accepts(good(exp=now - 30)), "clocks may differ by a minute"
    assert await world.accepts(good(nbf=now + 30))


async def test_a_token_without_key_id_means_the_only_key(world: World) -> None:
    token = jwt.encode(world.issuer.claims(), world.issuer.key, "RS256")
    assert await world.accepts(token)
    world.issuer.jwks.append(public_jwk(rsa_key(1), "second"))
    world.publish()
    world.tokens = Tokens(world.published, lambda: world.now)
    assert not await world.accepts(token)


async def test_another_issuers_key_does_not_sign(world: World) -> None:
    stranger = jwt.encode(
        world.issuer.claims(), rsa_key(7), "RS256", headers={"kid": world.issuer.kid}
    )
    assert not await world.accepts(stranger)


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256"])
async def test_rsa_signatures(world: World, algorithm: str) -> None:
    assert await world.accepts(world.issuer.token(algorithm=algorithm))


@pytest.mark.parametrize(
    ("curve", "algorithm"), [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384")]
)
async def test_elliptic_curves(world: World, curve: ec.EllipticCurve, algorithm: str) -> None:
    world.issuer.key = ec.generate_private_key(curve)
    world.issuer.jwks = [public_jwk(world.issuer.key, world.issuer.kid)]
    world.publish()
    assert await world.accepts(world.issuer.token(algorithm=algorithm))


async def test_a_key_bound_to_one_algorithm_signs_by_no_other(world: World) -> None:
    world.issuer.jwks = [public_jwk(rsa_key(), world.issuer.kid, alg="RS256")]
    world.publish()
    assert await world.accepts(world.issuer.token())
    assert not await world.accepts(world.issuer.token(algorithm="PS256"))


async def test_keys_that_must_not_sign_are_left_out(world: World) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    secret = base64.urlsafe_b64encode(b"secret" * 8).decode()
    world.issuer.jwks = [
        public_jwk(weak, "weak"),
        public_jwk(rsa_key(), "encryption", use="enc"),
        {"kty": "oct", "kid": "secret", "k": secret},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        "no key at all",  # type: ignore[list-item]
        public_jwk(rsa_key(), "good"),
    ]
    world.publish()
    assert await world.accepts(world.issuer.token(kid="good"))
    for kid in ("encryption", "broken"):
        assert not await world.accepts(world.issuer.token(kid=kid))
    with pytest.warns(Warning, match="key"):
        small = jwt.encode(world.issuer.claims(), weak, "RS256", headers={"kid": "weak"})
    assert not await world.accepts(small)
    hashed = jwt.encode(world.issuer.claims(), b"secret" * 8, "HS256", headers={"kid": "secret"})
    assert not await world.accepts(hashed)


@pytest.mark.parametrize(
    "headers",
    [
        {"crit": ["exp"], "exp": 1},
        {"typ": "dpop+jwt"},
        {"jku": "https://evil.example/keys", "kid": "evil"},
        {"x5u": "https://evil.example/keys", "kid": "evil"},
        {"jwk": public_jwk(rsa_key(7), "evil"), "kid": "evil"},
    ],
)
async def test_a_header_brings_no_keys_and_no_rules(world: World, headers: dict[str, Any]) -> None:
    signer = rsa_key(7) if headers.get("kid") == "evil" else world.issuer.key
    token = jwt.encode(
        world.issuer.claims(), signer, "RS256", headers={"kid": world.issuer.kid, **headers}
    )
    assert not await world.accepts(token)
    assert "evil.example" not in " ".join(world.published.calls)


async def test_a_changed_key_is_found_and_the_old_one_is_no_more(world: World) -> None:
    old = world.issuer.token()
    assert await world.accepts(old)
    world.issuer.rotate(1)
    world.publish()
    world.now += BETWEEN_S + 1
    assert await world.accepts(world.issuer.token())
    assert not await world.accepts(old), "verified before, but its key is withdrawn"


async def test_unknown_keys_do_not_make_us_call_the_issuer_at_will(world: World) -> None:
    assert await world.accepts(world.issuer.token())
    for number in range(20):
        assert not await world.accepts(world.issuer.token(kid=f"unknown-{number}"))
    assert len(world.published.calls) == 4  # twice metadata and keys
    world.now += BETWEEN_S + 1
    await asyncio.gather(*(world.accepts(world.issuer.token(kid=f"n{n}")) for n in range(20)))
    assert len(world.published.calls) == 6


async def test_an_outage_is_endured_for_a_day(world: World) -> None:
    token = world.issuer.token
    assert await world.accepts(token())
    world.published.away = True
    world.now += REFRESH_S + 1
    assert await world.accepts(token(sub="1"))
    await asyncio.sleep(0)  # the keys are looked for beside
    assert len(world.published.calls) == 3
    world.now += STALE_S - REFRESH_S - 10
    assert await world.accepts(token(sub="2"))
    world.now += 20
    with pytest.raises(Unavailable):
        await world.tokens.verified(token(sub="3"), world.trusted)
    calls = len(world.published.calls)
    with pytest.raises(Unavailable):
        await world.tokens.verified(token(sub="4"), world.trusted)
    assert len(world.published.calls) == calls, "an issuer that is away is not called each time"
    world.published.away = False
    world.now += 10
    assert await world.accepts(token(sub="5"))


async def test_metadata_of_another_issuer_are_not_believed(world: World) -> None:
    world.published.documents[world.parsed.metadata_url]["issuer"] = "https://other.example"
    with pytest.raises(Unavailable):
        await world.tokens.verified(world.issuer.token(), world.trusted)


async def test_a_verified_token_is_not_verified_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.issuer.token()
    first = await world.tokens.verified(token, world.trusted)
    monkeypatch.setattr(tokens_module, "_claims", None)  # the signature would be checked there
    assert await world.tokens.verified(token, world.trusted) is first
    with pytest.raises(NotAuthenticated):
        await world.tokens.verified(token, {})


async def test_what_is_kept_ends_with_the_token_and_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.issuer.token(exp=int(time.time()) + 5)
    assert await world.accepts(token)
    real = time.time
    monkeypatch.setattr(tokens_module.time, "time", lambda: real() + 66)
    monkeypatch.setattr(tokens_module, "LEEWAY_S", -66)
    assert not await world.accepts(token)
    monkeypatch.undo()
    monkeypatch.setattr(tokens_module, "MOST_KEPT", 3)
    for number in range(6):
        assert await world.accepts(world.issuer.token(sub=str(number)))
    assert len(world.tokens._kept) == 3


# Entra ID ---------------------------------------------------------------------------------


def test_a_directory_of_entra_has_the_names_of_both_versions() -> None:
    assert ENTRA.names == {
        f"https://login.microsoftonline.com/{DIRECTORY}/v2.0",
        f"https://sts.windows.net/{DIRECTORY}/",
    }
    for text in (
        f"https://login.microsoftonline.com/{DIRECTORY}/v2.0",
        f"https://login.microsoftonline.com/{DIRECTORY}/",
        f"https://sts.windows.net/{DIRECTORY.upper()}/",
    ):
        assert parse_issuer(text) == ENTRA


@pytest.mark.parametrize(
    "text",
    [
        "https://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com/contoso.com",
        "http://issuer.example",
        "http://127.0.0.1.evil.example",
        "https://user@issuer.example",
        "https://issuer.example?x=1",
        "issuer.example",
        "file:///keys",
        "https://[",
    ],
)
def test_what_is_no_issuer_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 — the words are for people
        parse_issuer(text)


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"iss": f"https://sts.windows.net/{DIRECTORY}/", "appid": "a", "ver": "1.0"}, True),
        ({"iss": f"https://login.microsoftonline.com/{DIRECTORY}/v2.0", "azp": "a"}, True),
        ({"azp": "a", "tid": "99999999-2222-3333-4444-555555555555"}, False),
        ({"azp": "a", "tid": None}, False),
        ({"nonce": "an identity token"}, False),
    ],
)
async def test_tokens_of_entra(world: World, changes: dict[str, Any], good: bool) -> None:
    keys = "https://login.microsoftonline.com/keys"
    name = f"https://login.microsoftonline.com/{DIRECTORY}/v2.0"
    world.published.documents |= {
        ENTRA.metadata_url: {"issuer": name, "jwks_uri": keys},
        keys: {"keys": world.issuer.jwks},
    }
    world.trusted = dict.fromkeys(ENTRA.names, ENTRA)
    token = world.issuer.token(**{"iss": name, "tid": DIRECTORY, **changes})
    assert await world.accepts(token) == good


# Anything at all --------------------------------------------------------------------------

_WORLD = World()


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_ALGORITHMS = st.sampled_from(["RS256", "none", "HS256"]) | _JSON
_HEADERS = st.fixed_dictionaries(
    {}, optional={"alg": _ALGORITHMS, "kid": _JSON, "typ": _JSON, "crit": _JSON}
)
_ISSUERS = st.just(_WORLD.issuer.url) | _JSON
_CLAIMS = st.fixed_dictionaries(
    {}, optional={"iss": _ISSUERS, "exp": _JSON, "nbf": _JSON, "aud": _JSON, "sub": _JSON}
)
_TOKENS = st.builds(
    "{}.{}.{}".format,
    st.builds(_part, _HEADERS),
    st.builds(_part, _CLAIMS),
    st.sampled_from(["", "AAAA", "!"]),
)


@given(st.text(max_size=200) | _TOKENS)
async def test_no_token_is_more_than_refused(text: str) -> None:
    assert not await _WORLD.accepts(text)


@given(_CLAIMS)
async def test_no_signed_claims_break_the_check(claims: dict[str, Any]) -> None:
    head = _part({"alg": "RS256", "kid": _WORLD.issuer.kid})
    body = f"{head}.{_part(claims)}"
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(
        body.encode(), rsa_key()
    )
    await _WORLD.accepts(f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}")


async def test_deep_json_is_refused(world: World) -> None:
    deep = base64.urlsafe_b64encode(b"[" * 10_000).rstrip(b"=").decode()
    good = _part({"alg": "RS256", "kid": world.issuer.kid})
    for token in (f"{deep}.e30.AAAA", f"{good}.{deep}.AAAA", "a" * 20_000):
        assert not await world.accepts(token)

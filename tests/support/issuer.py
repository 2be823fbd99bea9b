"""A local issuer of tokens: publishes its keys over HTTP, and changes them when told.

with Issuer() as issuer:
    token = issuer.token(aud="…", roles=["DICOM Data Owner"])
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AnyKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def _rsa_key(number: int) -> rsa.RSAPrivateKey:
    """A key, made once a session."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def rsa_key(number: int = 0) -> rsa.RSAPrivateKey:
    """The RSA key of a number, the same for all issuers of the session."""
    return _rsa_key(number)


def public_jwk(key: AnyKey, kid: str, **members: Any) -> dict[str, Any]:
    """The public half, as it is published."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        found = RSAAlgorithm.to_jwk(public, as_dict=True)
    else:
        found = ECAlgorithm.to_jwk(public, as_dict=True)
    return {**found, "kid": kid, "use": "sig", **members}


def public_pem(key: AnyKey) -> bytes:
    """The public half, as the classic attack on HS256 takes it."""
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class Issuer:
    """An OpenID issuer on loopback; as a context it answers, else it only signs.

    Parameters
    ----------
    key : int
        Number of its first key; issuers with different numbers cannot sign for each other.
    """

    def __init__(self, key: int = 0) -> None:
        self._number = key
        self.requests: list[str] = []
        self.away = False
        self.key: AnyKey = rsa_key(key)
        self.kid = f"key-{key}"
        self.jwks: list[dict[str, Any]] = [public_jwk(self.key, self.kid)]
        self.url = f"http://127.0.0.1:{key + 1}/issuer"

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/issuer"
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self, number: int) -> None:
        """Sign with another key; it alone is published."""
        self.key, self.kid = rsa_key(number), f"key-{number}"
        self.jwks = [public_jwk(self.key, self.kid)]

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What a good token says; ``None`` leaves a claim out."""
        now = int(time.time())
        found = {
            "iss": self.url,
            "aud": "nobody",
            "sub": "subject",
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            **changes,
        }
        return {name: value for name, value in found.items() if value is not None}

    def token(self, *, algorithm: str = "RS256", kid: str | None = None, **changes: Any) -> str:
        """A signed token."""
        return jwt.encode(
            self.claims(**changes), self.key, algorithm, headers={"kid": kid or self.kid}
        )

    def unsigned(self, **changes: Any) -> str:
        """A token with ``alg: none``."""
        return jwt.encode(self.claims(**changes), "", "none", headers={"kid": self.kid})

    def confused(self, **changes: Any) -> str:
        """A token signed by HS256, with the public key as the secret."""
        head, body = (
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode("ascii")
            for part in (
                {"alg": "HS256", "typ": "JWT", "kid": self.kid},
                self.claims(**changes),
            )
        )
        return f"{head}.{body}.{hmac_signature(f'{head}.{body}', public_pem(self.key))}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.requests.append(self.path)
                found = issuer.document(self.path)
                self.send_response(404 if found is None else 503 if issuer.away else 200)
                self.end_headers()
                if found is not None and not issuer.away:
                    self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler

    def document(self, path: str) -> dict[str, Any] | None:
        """What is published at a path."""
        if path == "/issuer/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        return {"keys": self.jwks} if path == "/issuer/keys" else None


def hmac_signature(text: str, secret: bytes) -> str:
    """The signature of HS256."""
    digest = hmac.new(secret, text.encode("ascii"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")

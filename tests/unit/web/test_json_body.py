"""JSON bodies: what is none, too large, or does not come, is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request

from functions import _body
from functions._body import json_body, json_object
from shared.errors import MalformedRequest, RequestTooSlow, UnsupportedMediaType


def _request(pieces: Sequence[bytes], kind: str = "application/json", wait_s: float = 0) -> Request:
    left = list(pieces)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(wait_s)
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    headers = [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


async def test_json_in_pieces() -> None:
    assert await json_body(_request([b"[1, ", b'{"a": 2}]']), 100) == [1, {"a": 2}]
    kind = "Application/JSON; charset=utf-8"
    assert await json_object(_request([b'{"a": ', b"2}"], kind), 100) == {"a": 2}
    assert await json_object(_request([b""], ""), 100, optional=True) == {}


async def test_what_is_refused() -> None:
    for content in (b"", b"{", b"\xff", b"[" * 100_000, b'{"a": 1} x', b"[NaN]", b"[-Infinity]",
                    b'["\\ud800"]'):  # fmt: skip
        with pytest.raises(MalformedRequest):
            await json_body(_request([content]), 1_000_000)
    with pytest.raises(MalformedRequest, match="object"):
        await json_object(_request([b"[]"]), 100)
    with pytest.raises(MalformedRequest, match="100 bytes"):
        await json_body(_request([b"[", b" " * 100, b"]"]), 100)
    with pytest.raises(UnsupportedMediaType):
        await json_body(_request([b"{}"], "text/plain"), 100)


async def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_body, "_MOST_SECONDS", 0.05)
    with pytest.raises(RequestTooSlow):
        await json_body(_request([b"{"] + [b" "] * 100 + [b"}"], wait_s=0.02), 1000)

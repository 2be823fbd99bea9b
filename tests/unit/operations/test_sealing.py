"""Secrets of operations where they lie."""

from __future__ import annotations

import base64
import secrets

import pytest

from shared.operations.sealing import SealBroken, Sealer


def _key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def test_only_its_own_operation_opens_it() -> None:
    sealer = Sealer([_key()])
    sealed = sealer.seal("sig=ä", "operation")
    assert "sig" not in sealed
    assert sealer.open(sealed, "operation") == "sig=ä"
    assert sealer.seal("sig=ä", "operation") != sealed
    for broken, owner in ((sealed, "another"), (sealed[:-8] + "AAAAAAA=", "operation"), ("", "x")):
        with pytest.raises(SealBroken):
            sealer.open(broken, owner)


def test_a_key_is_changed_while_operations_run() -> None:
    old, new = _key(), _key()
    sealed = Sealer([old]).seal("secret", "operation")
    both = Sealer([new, old])
    assert both.open(sealed, "operation") == "secret"
    assert Sealer([new]).open(both.seal("secret", "operation"), "operation") == "secret"
    with pytest.raises(SealBroken):
        Sealer([new]).open(sealed, "operation")


def test_without_a_key() -> None:
    assert not Sealer([]).has_key
    with pytest.raises(SealBroken):
        Sealer([]).open("x", "operation")

"""Which origins are let in, and what they are told."""

from __future__ import annotations

import pytest

from shared.config import SettingMissing, load_settings
from shared.web.cors import CrossOrigin

_BASE = {
    "DicomStorage": "x",
    "DICOM_SQLITE_DIRECTORY": "x",
    "DICOM_PUBLIC_BASE_URL": "https://a",
    "DICOM_SIGN_IN": "off",
}
_VIEWER = "https://viewer.example"


def test_no_origin_is_let_in_by_default() -> None:
    policy = load_settings(_BASE).cross_origin
    assert policy == CrossOrigin()
    assert not policy.headers(_VIEWER)
    assert not policy.preflight(_VIEWER, ["GET"], asked_headers="a", private_network=True)
    assert not policy.varies


def test_listed_origins_are_let_in_and_no_others() -> None:
    text = f"{_VIEWER.upper()}, http://localhost:3000"
    policy = load_settings({**_BASE, "DICOM_CORS_ORIGINS": text}).cross_origin
    assert policy.varies
    assert policy.headers(_VIEWER)["Access-Control-Allow-Origin"] == _VIEWER
    assert policy.allows("http://localhost:3000")
    for other in ("https://viewer.example.evil", "http://viewer.example", "null", "*", None):
        assert not policy.headers(other)


def test_all_are_let_in_only_if_the_setting_says_so() -> None:
    policy = load_settings({**_BASE, "DICOM_CORS_ORIGINS": "*"}).cross_origin
    assert policy.headers("null")["Access-Control-Allow-Origin"] == "*"
    assert not policy.varies
    assert not policy.headers(None)


def test_a_preflight_repeats_the_headers_that_are_asked_for() -> None:
    policy = CrossOrigin(frozenset({_VIEWER}), 60)
    found = policy.preflight(
        _VIEWER, ["GET", "HEAD"], asked_headers="authorization,x-a", private_network=False
    )
    assert found == {
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Allow-Headers": "authorization,x-a",
        "Access-Control-Max-Age": "60",
    }
    odd = policy.preflight(_VIEWER, ["GET"], asked_headers="a\r\nb: c", private_network=True)
    assert "Access-Control-Allow-Headers" not in odd
    assert odd["Access-Control-Allow-Private-Network"] == "true"


@pytest.mark.parametrize("text", ["viewer.example", "https://viewer.example/", "https://", "://x"])
def test_what_is_no_origin_stops_the_app(text: str) -> None:
    with pytest.raises(SettingMissing, match="DICOM_CORS_ORIGINS"):
        load_settings({**_BASE, "DICOM_CORS_ORIGINS": text})

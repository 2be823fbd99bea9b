"""Whatever is asked, the answer is an operation or a refusal that gives nothing away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import BadRequest
from shared.export.addresses import container_address
from shared.export.models import Credential
from shared.export.request import parse_export
from shared.export.sources import _parsed
from tests.unit.export.conftest import ADDRESS, DESTINATION, RULES

_T = TypeVar("_T")
_SECRET = "c2lnbmF0dXJl"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
_NAMES = ("blobContainerUri", "connectionString", "blobContainerName", "useManagedIdentity")
_PIECES = st.sampled_from(
    [
        "https", "http", ":", "//", "/", "@", "#", "?", "\\", "[", "]", "%", "%00", "..", " ", "\n",
        "127.0.0.1", "localhost", "::1", "account", ".blob.core.windows.net", "container", ":443",
        ":99999", "sig=", _SECRET, "&", "sv=1", ";", "AccountKey=", "BlobEndpoint=", "AccountName=",
        "SharedAccessSignature=", "UseDevelopmentStorage=true", "EndpointSuffix=", "é", "\u2025",
    ]
)  # fmt: skip
_ADDRESSES = st.lists(_PIECES, max_size=14).map("".join) | st.sampled_from([ADDRESS, ""])


def _outcome(call: Callable[[], _T]) -> tuple[_T | None, str]:
    """What a call gives, or with what words it refuses."""
    try:
        return call(), ""
    except BadRequest as refused:
        return None, str(refused)


@given(text=_ADDRESSES)
@settings(max_examples=300, deadline=None)
def test_any_address(text: str) -> None:
    found, refusal = _outcome(lambda: container_address(text, RULES.hosts))
    assert _SECRET not in refusal
    if found is not None:
        address = found[0]
        host = address.split("/")[2].rpartition(":")[0] or address.split("/")[2]
        assert host in ("127.0.0.1", "account.blob.core.windows.net")
        assert address.startswith("https://") or host == "127.0.0.1"


@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            "source": _JSON
            | st.fixed_dictionaries({"type": st.just("identifiers"), "settings": _JSON}),
            "destination": st.fixed_dictionaries(
                {
                    "type": st.just("azureblob"),
                    "settings": st.dictionaries(st.sampled_from(_NAMES), _ADDRESSES | _JSON),
                }
            )
            | st.just(DESTINATION)
            | _JSON,
        },
    )
)
@settings(max_examples=300, deadline=None)
def test_any_body(body: dict[str, Any]) -> None:
    good = {"source": {"type": "identifiers", "settings": {"values": ["1.2"]}}}
    for asked in (body, good | body):
        request, refusal = _outcome(lambda asked=asked: parse_export(asked, RULES))
        assert _SECRET not in refusal
        if request is not None:
            by_sas = request.target.credential is Credential.SAS
            assert bool(request.target.sas) == by_sas


@given(
    text=st.lists(
        st.sampled_from(
            ["studies", "series", "instances", "/", "1.2", "?", "&", "=", "PatientID", "limit", "%"]
        ),
        max_size=12,
    ).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_any_search(text: str) -> None:
    try:
        _parsed(text)
    except BadRequest:
        return
    assert text.partition("?")[0].strip("/").rpartition("/")[2] in (
        "studies",
        "series",
        "instances",
    )

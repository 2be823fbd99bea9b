"""Messages of Event Grid: which blobs they tell of, in both schemas, whatever they are called."""

from __future__ import annotations

import json
from typing import Any

import pytest
from azure.storage.blob import BlobClient, ContainerClient
from hypothesis import given
from hypothesis import strategies as st

from functions._blob_events import MalformedEvent, NewBlob, new_blobs
from local_host.event_grid import event_of
from local_host.scanning import FoundBlob

_SUBJECT = "/blobServices/default/containers/dicom-main/blobs/"
_URL = "https://account.blob.core.windows.net/dicom-main/"
_HALF = "\ufffd"


def _event_grid(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "topic": "/subscriptions/x/providers/Microsoft.Storage/storageAccounts/account",
        "subject": _SUBJECT + name,
        "eventType": "Microsoft.Storage.BlobCreated",
        "id": "1",
        "data": {
            "api": "PutBlockList",
            "eTag": "0x8D4BCC2E4835CD0",
            "contentLength": 524288,
            "blobType": "BlockBlob",
            "url": _URL + name,
            "sequencer": "00000000000004420000000000028963",
        },
        "dataVersion": "",
        "metadataVersion": "1",
        "eventTime": "2026-11-25T12:00:00Z",
    } | changes


def _cloud(name: str, **changes: Any) -> dict[str, Any]:
    event = _event_grid(name)
    return {
        "specversion": "1.0",
        "source": event["topic"],
        "subject": event["subject"],
        "type": event["eventType"],
        "id": "1",
        "time": event["eventTime"],
        "data": event["data"],
    } | changes


def _read(body: object) -> list[NewBlob]:
    return new_blobs(json.dumps(body).encode())


@pytest.mark.parametrize("made", [_event_grid, _cloud])
def test_both_schemas_alone_and_in_a_list(made: Any) -> None:
    one, two = NewBlob("dicom-main", ("import/a",)), NewBlob("dicom-main", ("import/b/c",))
    assert _read(made("import/a")) == [one]
    assert _read([made("import/a"), made("import/b/c")]) == [one, two]
    assert _read([]) == []


@pytest.mark.parametrize(
    ("api", "counts"),
    [
        ("PutBlob", True),
        ("PutBlockList", True),
        ("CopyBlob", True),
        ("FlushWithClose", True),
        ("SftpCommit", True),
        ("CreateFile", False),  # empty: its bytes come later
        ("SftpCreate", False),
        ("DeleteBlob", False),
    ],
)
def test_only_whole_blobs_count(api: str, counts: bool) -> None:
    event = _event_grid("import/a")
    event["data"]["api"] = api
    assert bool(_read(event)) is counts


@pytest.mark.parametrize(
    "kind",
    [
        "Microsoft.Storage.BlobDeleted",
        "Microsoft.Storage.BlobTierChanged",
        "Microsoft.EventGrid.SubscriptionValidationEvent",
    ],
)
def test_other_events_are_none_of_ours(kind: str) -> None:
    assert _read(_event_grid("import/a", eventType=kind)) == []
    assert _read(_cloud("import/a", type=kind)) == []
    assert _read({"eventType": kind}) == []


@pytest.mark.parametrize(
    ("subject", "url", "names"),
    [
        # as it is, and percent-encoded: whether the subject is encoded is not documented
        ("import/a b+c", "import/a%20b+c", ("import/a b+c",)),
        ("import/a%20b", "import/a%20b", ("import/a b", "import/a%20b")),
        ("import/100%25", "import/100%2525", ("import/100%25", "import/100%")),
        ("import/m\u00fcller/\u60a3\u8005", "import/m%C3%BCller/%E6%82%A3%E8%80%85",
         ("import/m\u00fcller/\u60a3\u8005",)),
        # the subject loses what is outside the basic plane
        (f"import/{_HALF * 2}", "import/%F0%9F%92%8E", ("import/\U0001f48e",)),
        ("import/dicom-main/x", "import/dicom-main/x", ("import/dicom-main/x",)),
        ("import/a\\b?c#d\ne", "import/a%5Cb%3Fc%23d%0Ae", ("import/a\\b?c#d\ne",)),
        ("import/half", "import/%ED%A0%BD", ("import/half",)),
    ],
)  # fmt: skip
def test_names_of_any_kind(subject: str, url: str, names: tuple[str, ...]) -> None:
    event = _event_grid("x", subject=_SUBJECT + subject)
    event["data"]["url"] = _URL + url
    assert _read(event) == [NewBlob("dicom-main", names)]


@pytest.mark.parametrize(
    "name",
    ["import/../../dicom-other/import/x", "import/%2e%2e/x", "import/..\\x", "import/./x", "..",
     "import/" + "x" * 1_024, f"import/{_HALF}"],
)  # fmt: skip
def test_no_name_leads_out_of_the_container(name: str) -> None:
    [blob] = _read(_event_grid(name))
    assert blob.container == "dicom-main"
    assert not [one for one in blob.names if ".." in one.replace("\\", "/").split("/")]
    assert all(one in (name,) for one in blob.names)
    assert all("%2e" in one for one in blob.names), "which is a name like any other"


def test_a_url_that_is_none_leaves_the_subject() -> None:
    for url in (None, 7, "http://[", "https://host/elsewhere/import/a"):
        event = _event_grid("import/a")
        event["data"]["url"] = url
        assert _read(event) == [NewBlob("dicom-main", ("import/a",))]


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\xff", b"{", b"7", b"null", b'"x"', b"[[]]", b"{}", b"[" * 60_000,
        b'{"eventType": 7}', b'{"type": null}',
        b'{"eventType": "Microsoft.Storage.BlobCreated"}',
        b'{"eventType": "Microsoft.Storage.BlobCreated", "data": []}',
        b'{"eventType": "Microsoft.Storage.BlobCreated", "data": {"api": "PutBlob"}}',
        json.dumps({**_event_grid("a"), "subject": "/x"}).encode(),
        json.dumps(_event_grid("")).encode(),
        json.dumps({**_event_grid("a"), "data": {"api": ["PutBlob"]}}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_message_of_event_grid_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedEvent) as raised:
        new_blobs(message)
    assert "Microsoft" not in str(raised.value), "the log must not repeat what was sent"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9),
                    lambda some: st.lists(some, max_size=3) | st.dictionaries(
                        st.sampled_from(["type", "eventType", "subject", "data", "api", "url"]),
                        some | st.sampled_from(["Microsoft.Storage.BlobCreated", "PutBlob",
                                                _SUBJECT + "a/..", _SUBJECT + "\ud83d"])),
                    max_leaves=12))  # fmt: skip
def test_any_json_is_read_or_refused(body: object) -> None:
    try:
        found = new_blobs(json.dumps(body).encode())
    except MalformedEvent:
        return
    for blob in found:
        for name in blob.names:
            assert BlobClient("https://host", blob.container, name).url.startswith("https://host/")


@pytest.mark.parametrize("name", ["import/a b", "import/\u60a3\u8005 \U0001f48e/100%.dcm"])
def test_the_local_host_says_what_event_grid_would(name: str) -> None:
    container = ContainerClient("https://account.blob.core.windows.net", "dicom-main")
    event = event_of(container, FoundBlob(name, "0x8D4BCC2E4835CD0", 12))
    assert event.keys() == _event_grid("a").keys()
    assert event["data"].keys() <= _event_grid("a")["data"].keys()
    [blob] = _read(event)
    assert blob.container == "dicom-main"
    assert blob.names[0] == name

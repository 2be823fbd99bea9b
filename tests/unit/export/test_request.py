"""What an export may be asked for, and where it may go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.errors import DestinationUnusable, MalformedQuery, MalformedRequest
from shared.export.addresses import AllowedHosts, OwnStore, container_address, may_connect
from shared.export.models import Credential
from shared.export.request import EMULATOR_KEY, parse_export
from shared.ports import Json, JsonObject
from tests.unit.export.conftest import ADDRESS, DESTINATION, PARTITION, RULES, Bench

_SAS = "sv=2025-01-01&sp=racw&se=2030-01-01&sr=c&sig=c2VjcmV0"
_SOURCE = {"type": "identifiers", "settings": {"values": ["1.2/3.4/5.6"]}}
_LOCAL = "http://127.0.0.1:10000/devstoreaccount1"
_EMULATOR = f"AccountName=devstoreaccount1;AccountKey={EMULATOR_KEY};BlobEndpoint={_LOCAL}"


def _body(settings: JsonObject | None = None, source: Json = None) -> JsonObject:
    destination = DESTINATION if settings is None else {"type": "azureBlob", "settings": settings}
    return {"source": source or _SOURCE, "destination": destination}


def _identifiers(values: Json) -> JsonObject:
    return {"type": "identifiers", "settings": {"values": values}}


@pytest.mark.spec("operations", 27)
@pytest.mark.parametrize(
    ("values", "culprit"),
    [
        (None, "source.settings.values"),
        ("1.2", "source.settings.values"),
        ([], "source.settings.values"),
        (["abc"], r"values\[0\]"),
        (["1.2", "1/2/3/4"], r"values\[1\]"),
        (["1.2", "1.2/", "x"], r"values\[1\]"),
        (["1.2", ""], r"values\[1\]"),
        (["1.2", 3], r"values\[1\]"),
        (["1.2", "1." + "2" * 63], r"values\[1\]"),
        (["1.2", "1.2/../3"], r"values\[1\]"),
    ],
)
def test_bad_identifiers(values: Json, culprit: str) -> None:
    with pytest.raises(MalformedRequest, match=culprit):
        parse_export(_body(source=_identifiers(values)), RULES)


@pytest.mark.spec("operations", 28)
def test_unknown_types_and_members() -> None:
    for body, culprit in (
        (_body(source={"type": "studies", "settings": {}}), "source.type"),
        (_body() | {"destination": {"type": "s3", "settings": {}}}, "destination.type"),
        (_body() | {"destination": {"type": 1, "settings": {}}}, "destination.type"),
        (_body() | {"destination": {"type": "azureblob"}}, "destination.settings"),
        ({"source": _SOURCE}, "destination"),
        ({"destination": DESTINATION}, "source"),
        (_body() | {"note": "x"}, "note"),
        (_body() | {"Source": _SOURCE}, "source twice"),
        (_body({"blobContainerUri": f"{ADDRESS}?{_SAS}", "useManagedIdentiy": True}), "Identiy"),
        (_body(source={"type": "changes", "settings": {"after": -1}}), "after"),
        (_body(source={"type": "changes", "settings": {"after": True}}), "after"),
        (_body(source={"type": "search", "settings": {"query": 5}}), "query"),
    ):
        with pytest.raises(MalformedRequest, match=culprit):
            parse_export(body, RULES)


def test_names_in_any_case() -> None:
    body = {
        "SOURCE": {"Type": "IDENTIFIERS", "settings": {"VALUES": ["1.2"]}},
        "destination": {
            "type": "AzureBlob",
            "Settings": {"BlobContainerURI": f"{ADDRESS}?{_SAS}", "connectionString": None},
        },
    }
    request = parse_export(body, RULES)
    assert request.source == {"type": "identifiers", "values": ["1.2"]}
    assert (request.target.address, request.target.sas) == (ADDRESS, _SAS)
    assert "c2VjcmV0" not in repr(request)
    assert str(request.target) == "container container of account account"


@pytest.mark.spec("operations", 29)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"blobContainerUri": f"{ADDRESS}?{_SAS}", "connectionString": _EMULATOR},
        {"connectionString": _EMULATOR},
        {"connectionString": "", "blobContainerName": "container"},
        {"blobContainerUri": f"{ADDRESS}?{_SAS}", "blobContainerName": "container"},
        {"blobContainerUri": ADDRESS},
        {"blobContainerUri": ["x"]},
    ],
)
def test_one_connection_and_all_of_it(settings: JsonObject) -> None:
    with pytest.raises(MalformedRequest):
        parse_export(_body(settings), RULES)


@pytest.mark.spec("operations", 30)
def test_account_keys_only_of_the_emulator() -> None:
    for text in (_EMULATOR, _EMULATOR + ";", _EMULATOR.replace("10000", "10010")):
        settings = {"connectionString": text, "blobContainerName": "container"}
        target = parse_export(_body(settings), RULES).target
        assert target.credential is Credential.EMULATOR
        assert target.address.endswith("/devstoreaccount1/container")
    development = {
        "connectionString": "UseDevelopmentStorage=true;",
        "blobContainerName": "container",
    }
    assert parse_export(_body(development), RULES).target.address == f"{_LOCAL}/container"
    for text in (
        f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={EMULATOR_KEY}",
        f"AccountName=devstoreaccount1;AccountKey={EMULATOR_KEY}",
        _EMULATOR.replace(EMULATOR_KEY, "a2V5"),
        f"AccountName=account;AccountKey={EMULATOR_KEY};SharedAccessSignature={_SAS}",
        "AccountName=account",
        "nonsense",
    ):
        settings = {"connectionString": text, "blobContainerName": "container"}
        with pytest.raises(MalformedRequest) as raised:
            parse_export(_body(settings), RULES)
        assert EMULATOR_KEY not in str(raised.value)
    with_signature = (
        f"BlobEndpoint=https://account.blob.core.windows.net/;SharedAccessSignature=?{_SAS}"
    )
    settings = {"connectionString": with_signature, "blobContainerName": "container"}
    target = parse_export(_body(settings), RULES).target
    assert (target.address, target.sas) == (ADDRESS, _SAS)
    away = replace(RULES, hosts=AllowedHosts(("*.blob.core.windows.net",)))
    with pytest.raises(DestinationUnusable):
        parse_export(_body(development), away)


@pytest.mark.spec("operations", 31)
def test_an_identity_goes_alone() -> None:
    identity = {"blobContainerUri": ADDRESS, "useManagedIdentity": True}
    target = parse_export(_body(identity), RULES).target
    assert (target.credential, target.sas) == (Credential.IDENTITY, "")
    for settings in (
        identity | {"blobContainerUri": f"{ADDRESS}?{_SAS}"},
        {
            "connectionString": _EMULATOR,
            "blobContainerName": "container",
            "useManagedIdentity": True,
        },
        identity | {"useManagedIdentity": "yes"},
    ):
        with pytest.raises(MalformedRequest, match="useManagedIdentity"):
            parse_export(_body(settings), RULES)
    with pytest.raises(MalformedRequest, match="no identity"):
        parse_export(_body(identity), replace(RULES, has_identity=False))


def test_credentials_that_are_switched_off() -> None:
    signature = {"blobContainerUri": f"{ADDRESS}?{_SAS}"}
    identity = {"blobContainerUri": ADDRESS, "useManagedIdentity": True}
    with pytest.raises(MalformedRequest, match="by sas"):
        parse_export(_body(signature), replace(RULES, credentials={"identity"}))
    with pytest.raises(MalformedRequest, match="by identity"):
        parse_export(_body(identity), replace(RULES, credentials={"sas"}))
    with pytest.raises(MalformedRequest, match="no key"):
        parse_export(_body(signature), replace(RULES, has_key=False))


# Addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://account.blob.core.windows.net/container",
        "ftp://account.blob.core.windows.net/container",
        "//account.blob.core.windows.net/container",
        "https://account.blob.core.windows.net",
        "https://account.blob.core.windows.net/",
        "https://account.blob.core.windows.net/container/blob",
        "https://account.blob.core.windows.net/container//",
        "https://account.blob.core.windows.net/../container",
        "https://account.blob.core.windows.net/Container",
        "https://account.blob.core.windows.net/$root",
        "https://account.blob.core.windows.net/%63ontainer",
        "https://account.blob.core.windows.net/container#x",
        "https://account.blob.core.windows.net/con tainer",
        "https://account.blob.core.windows.net/container\n",
        "https://user:pass@account.blob.core.windows.net/container",
        "https://account.blob.core.windows.net:x/container",
        "https://account.blob.core.windows.net:99999/container",
        "https://account.blob.core.windows.net\\@127.0.0.1/container",
        "https://äccount.blob.core.windows.net/container",
        "https:///container",
        "http://127.0.0.1:10000/container",
        "http://127.0.0.1:10000/a/b/container",
        "x" * 5000,
        f"{ADDRESS}?restype=container&{_SAS}",
        f"{ADDRESS}?sv=1&sp=rw",
        f"{ADDRESS}?{_SAS}&sig=another",
        f"{ADDRESS}?sig",
    ],
)
def test_what_is_no_address_of_a_container(address: str) -> None:
    with pytest.raises(MalformedRequest) as raised:
        container_address(address, RULES.hosts)
    assert "c2VjcmV0" not in str(raised.value)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "blob.core.windows.net",
        "a.b.blob.core.windows.net",
        "account.blob.core.windows.net.evil.example",
        "account.blob.core.windows.net:8443",
        "169.254.169.254",
        "10.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "0.0.0.0",
    ],
)
def test_hosts_that_are_not_allowed(host: str) -> None:
    for scheme in ("https", "http"):
        with pytest.raises(DestinationUnusable):
            container_address(f"{scheme}://{host}/account/container?{_SAS}", RULES.hosts)


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "127.1", "account.blob.core.windows.net."]
)
def test_other_spellings_of_hosts(host: str) -> None:
    with pytest.raises((DestinationUnusable, MalformedRequest)):
        container_address(f"https://{host}/container?{_SAS}", RULES.hosts)


def test_addresses_that_are_taken() -> None:
    assert container_address(f"{ADDRESS}/?{_SAS}", RULES.hosts) == (ADDRESS, _SAS, False)
    named = "https://named.blob.core.windows.net/container"
    assert container_address(named, RULES.hosts) == (named, "", True)
    with_port = ADDRESS.replace(".net", ".net:443")
    assert container_address(with_port, RULES.hosts) == (with_port, "", False)
    local = f"{_LOCAL}/container"
    assert container_address(local, RULES.hosts) == (local, "", True)
    assert container_address(local, AllowedHosts(("127.0.0.1:10000",)))[2]
    with pytest.raises(DestinationUnusable):
        container_address(local, AllowedHosts(("127.0.0.1:10001",)))


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("20.60.1.1", True, True),
        ("2603:1030::1", True, True),
        ("10.1.2.3", False, True),
        ("192.168.0.1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("100.64.0.1", False, True),
        ("169.254.169.254", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
    ],
)
def test_addresses_that_may_be_connected_to(address: str, *, public: bool, private: bool) -> None:
    assert may_connect(address, private=False) is public
    assert may_connect(address, private=True) is private


async def test_nothing_goes_where_our_own_data_lie() -> None:
    async def containers() -> frozenset[str]:
        return frozenset({"dicom-main", "dicom-other"})

    own = OwnStore("https://own.blob.core.windows.net/", containers)
    account = "https://own.blob.core.windows.net"
    assert await own.holds(account, "dicom-other", identity=False)
    assert await own.holds(account + ":443", "dicom-other", identity=False)
    assert await own.holds(account, "exports", identity=True)
    assert not await own.holds(account, "exports", identity=False)
    assert not await own.holds("https://their.blob.core.windows.net", "dicom-main", identity=True)
    local = OwnStore("http://127.0.0.1:10000/devstoreaccount1", containers)
    other = "http://localhost:10000/devstoreaccount1"
    assert await local.holds(other, "dicom-main", identity=False)
    assert not await local.holds(other + "2", "dicom-main", identity=False)


# Searches ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", MalformedRequest),
        ("patients?PatientID=1", MalformedRequest),
        ("https://host/main/v2/studies", MalformedRequest),
        ("studies/1.2", MalformedRequest),
        ("studies/1.2/studies", MalformedRequest),
        ("studies/../series", MalformedRequest),
        ("studies?Nonsense=1", MalformedQuery),
        ("studies?StudyDate=tomorrow", MalformedQuery),
        ("studies?limit=5", MalformedQuery),
        ("studies?Offset=5", MalformedQuery),
        ("studies?PatientID=<", MalformedQuery),
        ("studies?PatientID=1&PatientID=2", MalformedQuery),
    ],
)
async def test_what_is_no_search_starts_nothing(
    bench: Bench, query: str, error: type[Exception]
) -> None:
    body = _body(source={"type": "search", "settings": {"query": query}})
    with pytest.raises(error):
        await bench.service.start(body, PARTITION)
    assert not bench.destination.content
    assert not bench.queue.sent

"""The body of an export request, understood or refused (spec operations.md §4.1).

::

    {"source": {"type": "identifiers", "settings": {"values": ["{study}[/{series}[/{instance}]]"]}},
     "destination": {"type": "azureblob", "settings": {"blobContainerUri": "…"}}}

Beside ``identifiers`` there are two sources of ours::

    {"type": "search", "settings": {"query": "studies?PatientID=4711"}}     all that it finds
    {"type": "changes", "settings": {"after": 1234}}        all that the feed tells after an entry

No message repeats a value: an address may hold a signature, and a query a patient's name.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from shared.dicom import uid
from shared.errors import MalformedRequest
from shared.export.addresses import AllowedHosts, container_address, signature
from shared.export.models import Credential, Target
from shared.ports import Json, JsonObject

IDENTIFIERS = "identifiers"
SEARCH = "search"
CHANGES = "changes"
EMULATOR_ACCOUNT = "devstoreaccount1"
EMULATOR_KEY = (  # of Azurite, and public knowledge
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

_LEVELS = 3
_MOST_SEQUENCE = 2**53
_BLOB = "azureblob"
_DEVELOPMENT = "UseDevelopmentStorage"
_HOST_OF_EMULATOR = "127.0.0.1:10000"
_SUFFIX = re.compile(r"[a-z0-9.-]{1,253}")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator's settings allow.

    Parameters
    ----------
    hosts : AllowedHosts
        Where containers may lie.
    credentials : Collection of str
        With what they may be entered.
    has_identity : bool
        The service has an identity of its own to sign in with.
    has_key : bool
        Secrets can be kept.
    """

    hosts: AllowedHosts
    credentials: Collection[str]
    has_identity: bool
    has_key: bool


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What is asked: ``source`` is kept as it is in the operation's input."""

    source: JsonObject
    target: Target


def parse_export(body: JsonObject, rules: Rules) -> ExportRequest:
    """Understand a request.

    Raises
    ------
    MalformedRequest
        It breaks a rule; the message names the member.
    DestinationUnusable
        The destination's host is not allowed.
    """
    members = _members(body, "the body", ("source", "destination"))
    source = _part(members, "source")
    destination = _part(members, "destination")
    if str(destination["type"]).lower() != _BLOB:
        raise MalformedRequest("destination.type must be 'azureblob'.")
    return ExportRequest(_source(source), _target(destination["settings"], rules))


def _part(members: JsonObject, name: str) -> JsonObject:
    part = _members(_required(members, name, dict), name, ("type", "settings"))
    kind = _required(part, "type", str, f"{name}.type")
    return {"type": kind, "settings": _required(part, "settings", dict, f"{name}.settings")}


# Sources ----------------------------------------------------------------------------------


def _source(source: JsonObject) -> JsonObject:
    where = "source.settings"
    match str(source["type"]).lower():
        case "identifiers":
            settings = _members(source["settings"], where, ("values",))
            return {"type": IDENTIFIERS, "values": _identifiers(settings)}
        case "search":
            settings = _members(source["settings"], where, ("query",))
            query = _required(settings, "query", str, f"{where}.query")
            return {"type": SEARCH, "query": query}
        case "changes":
            settings = _members(source["settings"], where, ("after",))
            return {"type": CHANGES, "after": _sequence(settings)}
        case _:
            raise MalformedRequest(
                f"source.type must be '{IDENTIFIERS}', '{SEARCH}' or '{CHANGES}'."
            )


def _identifiers(settings: JsonObject) -> list[str]:
    values = _required(settings, "values", list, "source.settings.values")
    if not values:
        raise MalformedRequest("source.settings.values must have at least one identifier.")
    for number, value in enumerate(values):
        uids = value.split("/") if isinstance(value, str) else []
        if not 1 <= len(uids) <= _LEVELS or not all(uid.is_valid(each) for each in uids):
            raise MalformedRequest(
                f"source.settings.values[{number}] must be one to three UIDs with '/' between them."
            )
    return list(values)


def _sequence(settings: JsonObject) -> int:
    after = settings.get("after")
    if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after <= _MOST_SEQUENCE:
        raise MalformedRequest("source.settings.after must be a sequence number of the feed, or 0.")
    return after


# Destinations -----------------------------------------------------------------------------


def _target(settings: JsonObject, rules: Rules) -> Target:
    names = ("blobContainerUri", "connectionString", "blobContainerName", "useManagedIdentity")
    found = _members(settings, "destination.settings", names)
    uri, connection, container = (_text(found, name) for name in names[:3])
    identity = found.get("useManagedIdentity") or False
    if not isinstance(identity, bool):
        raise MalformedRequest("useManagedIdentity must be true or false.")
    if (uri is None) == (connection is None):
        raise MalformedRequest("Give either blobContainerUri or connectionString.")
    if (connection is None) != (container is None):
        raise MalformedRequest("connectionString and blobContainerName belong together.")
    if identity and connection is not None:
        raise MalformedRequest("useManagedIdentity goes with blobContainerUri only.")
    if connection is not None:
        target = _by_connection_string(connection, container or "", rules.hosts)
    else:
        target = _by_uri(uri or "", rules, identity=identity)
    if target.credential is Credential.SAS and not rules.has_key:
        raise MalformedRequest("The service is not set up to keep signatures: it has no key.")
    if target.credential not in {*rules.credentials, Credential.EMULATOR}:
        raise MalformedRequest(f"The service is set up not to export by {target.credential}.")
    return target


def _by_uri(uri: str, rules: Rules, *, identity: bool) -> Target:
    address, sas, private = container_address(uri, rules.hosts)
    if identity and sas:
        raise MalformedRequest("useManagedIdentity needs a blobContainerUri without a signature.")
    if identity and not rules.has_identity:
        raise MalformedRequest("useManagedIdentity: the service has no identity.")
    if not identity and not sas:
        raise MalformedRequest("blobContainerUri needs a signature, or useManagedIdentity true.")
    credential = Credential.IDENTITY if identity else Credential.SAS
    return Target(address, credential, sas, private)


def _by_connection_string(text: str, container: str, hosts: AllowedHosts) -> Target:
    parts = {
        name.strip(): value.strip()
        for name, separator, value in (part.partition("=") for part in text.split(";"))
        if separator
    }
    if parts.get(_DEVELOPMENT, "").lower() == "true":
        account = f"http://{_HOST_OF_EMULATOR}/{EMULATOR_ACCOUNT}"
        parts |= {
            "BlobEndpoint": account,
            "AccountName": EMULATOR_ACCOUNT,
            "AccountKey": EMULATOR_KEY,
        }
    endpoint = parts.get("BlobEndpoint") or _endpoint(parts)
    address, _, private = container_address(f"{endpoint.rstrip('/')}/{container}", hosts)
    if "AccountKey" in parts:
        known = parts.get("AccountName"), parts["AccountKey"]
        local = address.startswith("http://")  # which only this machine's own address may be
        if known != (EMULATOR_ACCOUNT, EMULATOR_KEY) or not local:
            raise MalformedRequest("connectionString: an account key is not taken; give a SAS.")
        return Target(address, Credential.EMULATOR, private=private)
    sas = parts.get("SharedAccessSignature", "").removeprefix("?")
    if not sas:
        raise MalformedRequest("connectionString must have a SharedAccessSignature.")
    return Target(address, Credential.SAS, signature("connectionString", sas), private)


def _endpoint(parts: dict[str, str]) -> str:
    account, suffix = parts.get("AccountName", ""), parts.get("EndpointSuffix", "core.windows.net")
    if not account.isalnum() or not _SUFFIX.fullmatch(suffix):
        raise MalformedRequest("connectionString must have a BlobEndpoint or an AccountName.")
    return f"https://{account}.blob.{suffix}"


# JSON -------------------------------------------------------------------------------------


def _members(body: JsonObject, where: str, names: tuple[str, ...]) -> JsonObject:
    """Members under their own spelling; they may be written in any case (spec §1)."""
    spelled = {name.lower(): name for name in names}
    found: JsonObject = {}
    for name, value in body.items():
        known = spelled.get(name.lower())
        if known is None:
            shown = "".join(letter for letter in name[:40] if letter.isalnum())
            raise MalformedRequest(f"{where} has the member '{shown}', which has no meaning.")
        if known in found:
            raise MalformedRequest(f"{where} has the member {known} twice.")
        found[known] = value
    return found


def _required(members: JsonObject, name: str, kind: type, where: str | None = None) -> Json:
    value = members.get(name)
    if not isinstance(value, kind):
        word = "an object" if kind is dict else "a list" if kind is list else "a text"
        raise MalformedRequest(f"{where or name} must be {word}.")
    return value


def _text(members: JsonObject, name: str) -> str | None:
    value = members.get(name)
    if value is None or (isinstance(value, str) and value):
        return value
    raise MalformedRequest(f"{name} must be a text.")

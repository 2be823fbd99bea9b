"""The settings, read once from the environment. ``docs/settings.md`` documents each name."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.auth.settings import SignIn, load_sign_in
from shared.cast_settings import CastSettings, CastSettingWrong, parse_cast
from shared.resilience import FRONT_END_S, TIDY_S, Patience
from shared.web.cors import CrossOrigin

MIB = 1024 * 1024
_KEY_BYTES = 32
_CENTURY_DAYS = 36_500.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for (architecture §10). Sizes in bytes."""

    request_bytes: int = 4096 * MIB
    instance_bytes: int = 4096 * MIB
    parts: int = 10_000
    header_bytes: int = 64 * MIB
    nesting: int = 128
    elements: int = 5_000_000
    frames_per_request: int = 1_000
    metadata_bytes: int = 16 * MIB
    bulk_data_bytes: int = 512 * MIB
    search_limit: int = 200
    rendered_pixels: int = 100_000_000


@dataclass(frozen=True, slots=True)
class StorageConnection:
    """How to reach one storage account: a connection string, or service addresses.

    ``client_id`` names the user-assigned identity; absent, the default credential is used.
    """

    connection_string: str | None = None
    blob_uri: str | None = None
    queue_uri: str | None = None
    table_uri: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class CosmosConnection:
    """How to reach the Cosmos account. ``key`` is for emulators only; in Azure it is absent."""

    endpoint: str
    key: str | None = None
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """Where exports may go (``shared.export.addresses``). Without credentials there is no export.

    ``credentials`` has ``sas`` and ``identity``, or one of them. ``at_once`` is how many files of
    one export are under way at a time, each with some 12 MiB of memory where the destination does
    not fetch it itself.
    """

    hosts: tuple[str, ...] = ("*.blob.core.windows.net",)
    credentials: frozenset[str] = frozenset({"sas", "identity"})
    at_once: int = 8


@dataclass(frozen=True, slots=True)
class FanOutSettings:
    """Where events may go: hosts of webhooks, endpoints of an Event Grid topic and Web PubSub."""

    webhook_hosts: tuple[str, ...] = ()
    topic: str | None = None
    web_pubsub: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of the app.

    Exactly one of ``cosmos`` and ``sqlite_directory`` is set: it says where the index lives.
    ``public_base_url`` has no trailing slash. ``retention_days`` is how long a deleted
    instance's files stay, ``workitem_retention_days`` how long a work item that is over.
    ``behind_front_end`` is whether Azure's front end adds the caller's address to
    ``X-Forwarded-For``. ``audit_file`` takes the audit log in place of the usual logs.
    ``commit_grace_s`` is the age in seconds from which a blob
    that no index names is taken for the work of a process that died.
    """

    public_base_url: str
    storage: StorageConnection
    cosmos: CosmosConnection | None
    sqlite_directory: str | None
    tenants: tuple[str, ...] = ("main",)
    retention_days: float = 3.0
    workitem_retention_days: float = 30.0
    commit_grace_s: float = 900.0
    limits: Limits = field(default_factory=Limits)
    patience: Patience = field(default_factory=Patience)
    cross_origin: CrossOrigin = field(default_factory=CrossOrigin)
    export: ExportSettings = field(default_factory=ExportSettings)
    fanout: FanOutSettings = field(default_factory=FanOutSettings)
    sign_in: SignIn = field(default_factory=SignIn)
    behind_front_end: bool = False
    audit_file: str | None = None
    secrets_keys: tuple[str, ...] = field(default=(), repr=False)
    cast: Mapping[str, CastSettings] = field(default_factory=dict)


class SettingMissing(Exception):
    """A setting is absent or malformed; the message names it."""


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) < 1:
        raise SettingMissing(f"{name} must be a whole number from 1, not {text!r}")
    return int(text)


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingMissing(f"{name} must be a number, not {text!r}") from None
    if not 0 <= value < float("inf"):
        raise SettingMissing(f"{name} must not be negative")
    return value


def _limits(environment: Mapping[str, str]) -> Limits:
    default = Limits()
    return Limits(
        request_bytes=_positive(environment, "DICOM_MAX_REQUEST_BYTES", default.request_bytes),
        instance_bytes=_positive(environment, "DICOM_MAX_INSTANCE_BYTES", default.instance_bytes),
        parts=_positive(environment, "DICOM_MAX_PARTS", default.parts),
        header_bytes=_positive(environment, "DICOM_MAX_HEADER_BYTES", default.header_bytes),
        nesting=_positive(environment, "DICOM_MAX_NESTING", default.nesting),
        elements=_positive(environment, "DICOM_MAX_ELEMENTS", default.elements),
        metadata_bytes=_positive(environment, "DICOM_MAX_METADATA_BYTES", default.metadata_bytes),
        bulk_data_bytes=_positive(
            environment, "DICOM_MAX_BULK_DATA_BYTES", default.bulk_data_bytes
        ),
        frames_per_request=_positive(environment, "DICOM_MAX_FRAMES", default.frames_per_request),
        search_limit=_positive(environment, "DICOM_MAX_SEARCH_LIMIT", default.search_limit),
        rendered_pixels=_positive(
            environment, "DICOM_MAX_RENDERED_PIXELS", default.rendered_pixels
        ),
    )


def _patience(environment: Mapping[str, str]) -> Patience:
    default = Patience()
    found = Patience(
        silence_s=_number(environment, "DICOM_STORE_SILENCE_SECONDS", default.silence_s),
        tries=_positive(environment, "DICOM_STORE_TRIES", default.tries),
        request_s=_number(environment, "DICOM_REQUEST_SECONDS", default.request_s),
    )
    if not found.silence_s or not found.request_s:
        raise SettingMissing(
            "DICOM_STORE_SILENCE_SECONDS and DICOM_REQUEST_SECONDS must be more than 0"
        )
    if not found.fits:
        raise SettingMissing(
            f"DICOM_REQUEST_SECONDS must be less than {FRONT_END_S - TIDY_S:.0f}: "
            "Azure's front end does not wait for longer"
        )
    return found


def _cross_origin(environment: Mapping[str, str]) -> CrossOrigin:
    words = environment.get("DICOM_CORS_ORIGINS", "").replace(",", " ").split()
    for word in words:
        scheme, separator, host = word.partition("://")
        if word != "*" and not (scheme and separator and host and "/" not in host):
            raise SettingMissing(
                f"DICOM_CORS_ORIGINS must list origins as https://viewer.example, not {word!r}"
            )
    return CrossOrigin(
        frozenset(word.lower() for word in words),
        _positive(environment, "DICOM_CORS_MAX_AGE_SECONDS", CrossOrigin().max_age_s),
    )


def _export(environment: Mapping[str, str]) -> ExportSettings:
    default = ExportSettings()
    hosts = _words(environment, "DICOM_EXPORT_HOSTS") or default.hosts
    for host in hosts:
        if "*" in host.removeprefix("*.") or "/" in host:
            raise SettingMissing(
                f"DICOM_EXPORT_HOSTS must list hosts as account.blob.core.windows.net, not {host!r}"
            )
    words = _words(environment, "DICOM_EXPORT_CREDENTIALS") or tuple(default.credentials)
    if words != ("off",) and not set(words) <= default.credentials:
        raise SettingMissing("DICOM_EXPORT_CREDENTIALS must be off, or list sas and identity")
    return ExportSettings(
        hosts,
        default.credentials & set(words),
        _positive(environment, "DICOM_EXPORT_CONCURRENCY", default.at_once),
    )


def _fan_out(environment: Mapping[str, str]) -> FanOutSettings:
    hosts = _words(environment, "DICOM_WEBHOOK_HOSTS")
    for host in hosts:
        if "*" in host.removeprefix("*.") or "/" in host:
            raise SettingMissing(
                f"DICOM_WEBHOOK_HOSTS must list hosts as hooks.example.com, not {host!r}"
            )
    topic = _endpoint(environment, "DICOM_EVENTGRID_ENDPOINT")
    web_pubsub = _endpoint(environment, "DICOM_WEBPUBSUB_ENDPOINT")
    return FanOutSettings(hosts, topic, web_pubsub and web_pubsub.rstrip("/"))


def _endpoint(environment: Mapping[str, str], name: str) -> str | None:
    address = environment.get(name) or None
    if address is not None and not address.startswith(("https://", "http://127.0.0.1")):
        raise SettingMissing(f"{name} must be an https address")
    return address


def _secrets_keys(environment: Mapping[str, str]) -> tuple[str, ...]:
    keys = tuple(environment.get("DICOM_SECRETS_KEY", "").replace(",", " ").split())
    if not all(_is_key(key) for key in keys):  # the message must not repeat it
        raise SettingMissing("DICOM_SECRETS_KEY must be 32 bytes in URL-safe base64")
    return keys


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, altchars=b"-_", validate=True)) == _KEY_BYTES
    except ValueError:
        return False


def _words(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(environment.get(name, "").lower().replace(",", " ").split())


def _sign_in(environment: Mapping[str, str], base_url: str, tenants: tuple[str, ...]) -> SignIn:
    try:
        return load_sign_in(environment, base_url, tenants)
    except ValueError as error:
        raise SettingMissing(str(error)) from None


def _cast(environment: Mapping[str, str]) -> Mapping[str, CastSettings]:
    try:
        return parse_cast(environment.get("DICOM_CAST", ""))
    except CastSettingWrong as wrong:
        raise SettingMissing(str(wrong)) from None


def storage_connection(environment: Mapping[str, str]) -> StorageConnection:
    """The storage account.

    Raises
    ------
    SettingMissing
        Neither connection string nor addresses are set.
    """
    connection = StorageConnection(
        connection_string=environment.get("DicomStorage"),
        blob_uri=environment.get("DicomStorage__blobServiceUri"),
        queue_uri=environment.get("DicomStorage__queueServiceUri"),
        table_uri=environment.get("DicomStorage__tableServiceUri"),
        client_id=environment.get("DicomStorage__clientId"),
    )
    if connection.connection_string is None and not (
        connection.blob_uri and connection.queue_uri and connection.table_uri
    ):
        raise SettingMissing(
            "DicomStorage is missing: give a connection string, or DicomStorage__blobServiceUri, "
            "DicomStorage__queueServiceUri and DicomStorage__tableServiceUri"
        )
    return connection


def _cosmos(environment: Mapping[str, str]) -> CosmosConnection | None:
    endpoint = environment.get("DicomCosmos__accountEndpoint")
    if not endpoint:
        return None
    return CosmosConnection(
        endpoint=endpoint,
        key=environment.get("DicomCosmos__accountKey"),
        client_id=environment.get("DicomCosmos__clientId"),
    )


def _public_base_url(environment: Mapping[str, str]) -> str:
    explicit = environment.get("DICOM_PUBLIC_BASE_URL")
    if explicit:
        return explicit.rstrip("/")
    hostname = environment.get("WEBSITE_HOSTNAME")  # set by Azure
    if hostname:
        return f"https://{hostname}"
    raise SettingMissing("DICOM_PUBLIC_BASE_URL is missing: the address that clients use")


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises
    ------
    SettingMissing
        A setting is absent or malformed; the message names it.
    """
    cosmos = _cosmos(environment)
    sqlite_directory = environment.get("DICOM_SQLITE_DIRECTORY") or None
    if (cosmos is None) == (sqlite_directory is None):
        raise SettingMissing(
            "give exactly one of DicomCosmos__accountEndpoint and DICOM_SQLITE_DIRECTORY"
        )
    base_url = _public_base_url(environment)
    tenants = tuple(environment.get("DICOM_TENANTS", "main").replace(" ", "").split(","))
    return Settings(
        public_base_url=base_url,
        storage=storage_connection(environment),
        cosmos=cosmos,
        sqlite_directory=sqlite_directory,
        tenants=tenants,
        retention_days=_number(environment, "DICOM_RETENTION_DAYS", 3.0),
        workitem_retention_days=min(
            _number(environment, "DICOM_WORKITEM_RETENTION_DAYS", 30.0), _CENTURY_DAYS
        ),
        commit_grace_s=_number(environment, "DICOM_COMMIT_GRACE_SECONDS", 900.0),
        limits=_limits(environment),
        patience=_patience(environment),
        cross_origin=_cross_origin(environment),
        export=_export(environment),
        fanout=_fan_out(environment),
        behind_front_end="WEBSITE_HOSTNAME" in environment,
        audit_file=environment.get("DICOM_AUDIT_FILE") or None,
        sign_in=_sign_in(environment, base_url, tenants),
        secrets_keys=_secrets_keys(environment),
        cast=_cast(environment),
    )

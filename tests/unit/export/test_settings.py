"""The operator's settings of exports."""

from __future__ import annotations

import pytest

from shared.config import SettingMissing, load_settings
from tests.support.server import SECRETS_KEY

_BASE = {
    "DICOM_PUBLIC_BASE_URL": "http://host",
    "DicomStorage": "UseDevelopmentStorage=true",
    "DICOM_SQLITE_DIRECTORY": "index",
    "DICOM_SIGN_IN": "off",
}


def test_defaults() -> None:
    settings = load_settings(_BASE)
    assert settings.export.hosts == ("*.blob.core.windows.net",)
    assert settings.export.credentials == {"sas", "identity"}
    assert settings.secrets_keys == ()


def test_what_is_set() -> None:
    settings = load_settings(
        {
            **_BASE,
            "DICOM_EXPORT_HOSTS": "Account.blob.core.windows.net, 127.0.0.1:10000",
            "DICOM_EXPORT_CREDENTIALS": "SAS",
            "DICOM_EXPORT_CONCURRENCY": "3",
            "DICOM_SECRETS_KEY": f"{SECRETS_KEY},{SECRETS_KEY}",
        }
    )
    assert settings.export.hosts == ("account.blob.core.windows.net", "127.0.0.1:10000")
    assert settings.export.credentials == {"sas"}
    assert settings.export.at_once == 3
    assert settings.secrets_keys == (SECRETS_KEY, SECRETS_KEY)
    assert SECRETS_KEY not in repr(settings)
    off = load_settings({**_BASE, "DICOM_EXPORT_CREDENTIALS": "off"})
    assert off.export.credentials == frozenset()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DICOM_EXPORT_HOSTS", "*"),
        ("DICOM_EXPORT_HOSTS", "a.*.net"),
        ("DICOM_EXPORT_HOSTS", "https://account.blob.core.windows.net"),
        ("DICOM_EXPORT_CREDENTIALS", "key"),
        ("DICOM_EXPORT_CREDENTIALS", "off,sas"),
        ("DICOM_EXPORT_CONCURRENCY", "0"),
        ("DICOM_SECRETS_KEY", "secret-that-is-short"),
        ("DICOM_SECRETS_KEY", SECRETS_KEY + "!"),
    ],
)
def test_what_is_malformed_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingMissing, match=name) as raised:
        load_settings({**_BASE, name: value})
    if name == "DICOM_SECRETS_KEY":
        assert value not in str(raised.value)

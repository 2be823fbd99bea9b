"""``dev.py tenant``: the registry from the command line."""

from __future__ import annotations

import pytest

from devtools.process import Stop
from devtools.tenants import tenant
from local_host.tenants import run
from shared.errors import AlreadyStored, MalformedRequest, StateConflict, TenantNotFound


@pytest.fixture(autouse=True)
def environment(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DicomStorage": account,
        "DICOM_SQLITE_DIRECTORY": "unused",
        "DICOM_PUBLIC_BASE_URL": "http://127.0.0.1:7071",
        "DICOM_TENANTS": "main",
        "DICOM_SIGN_IN": "off",
    }.items():
        monkeypatch.setenv(name, value)


async def test_a_tenant_from_its_beginning_to_its_end() -> None:
    assert await run(["list"]) == []
    added = await run(["add", "clinic", "--issuer", "https://i.example", "--audience", "api://c"])
    line = "clinic  active  dicom-clinic  dicom-clinic"
    trust = "issuer=https://i.example  audience=api://c"
    assert added == [f"{line}  {trust}"]
    assert await run(["list"]) == added
    assert await run(["suspend", "clinic"]) == [added[0].replace("active", "suspended")]
    assert await run(["resume", "clinic"]) == added
    changed = await run(["change", "clinic", "--audience", "a", "--audience", "b"])
    assert changed == [f"{line}  issuer=https://i.example  audience=a  audience=b"]
    assert await run(["remove", "clinic"]) == [changed[0].replace("active", "deleting")]
    assert await run(["remove", "clinic"]) == ["clinic is forgotten"]
    assert await run(["list"]) == []


async def test_what_cannot_be_done_is_said() -> None:
    await run(["add", "clinic"])
    with pytest.raises(AlreadyStored):
        await run(["add", "clinic", "--audience", "x"])
    for verb in ("suspend", "resume", "change", "remove"):
        with pytest.raises(TenantNotFound):
            await run([verb, "unknown"])
    with pytest.raises(MalformedRequest):
        await run(["add", "No Name"])
    with pytest.raises(MalformedRequest):
        await run(["add", "other", "--issuer", "http://i.example"])
    await run(["add", "main"])
    await run(["remove", "main"])
    with pytest.raises(StateConflict, match="DICOM_TENANTS"):
        await run(["remove", "main"])
    with pytest.raises(SystemExit):
        await run(["erase", "main"])


def test_without_a_service_it_says_so(tmp_path) -> None:
    with pytest.raises(Stop, match="no service runs"):
        tenant(["list"], tmp_path)

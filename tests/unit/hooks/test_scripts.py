"""The three scripts as azd runs them: the credential asks a program ``azd`` for tokens."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infra.hooks import postdeploy, postprovision, preprovision
from infra.hooks.azd import HookStopped, run
from tests.support import cloud as cloud_module

HOOKS = Path(__file__).resolve().parents[3] / "infra" / "hooks"
_OID = base64.urlsafe_b64encode(json.dumps({"oid": "person-1"}).encode()).rstrip(b"=").decode()
_TOKEN = f"head.{_OID}.signature"
_DIRECTORY = "11111111-2222-3333-4444-555555555555"
_PROGRAM = """#!/bin/sh
echo "$*" >> "{log}"
[ "$1 $2" = "auth token" ] && echo '{answer}'
exit {status}
"""


@pytest.fixture
def azd(tmp_path, monkeypatch):
    """Puts an ``azd`` on the path that is signed in, or not; gives its log."""

    def install(*, signed_in=True):
        log, program = tmp_path / "log", tmp_path / "bin" / "azd"
        program.parent.mkdir(exist_ok=True)
        answer = json.dumps({"token": _TOKEN, "expiresOn": "2999-01-01T00:00:00Z"})
        text = _PROGRAM.format(log=log, answer=answer if signed_in else "", status=not signed_in)
        program.write_text(text.replace("exit True", "exit 1").replace("exit False", "exit 0"))
        program.chmod(program.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
        return log

    monkeypatch.setattr(cloud_module, "TOKEN", _TOKEN)
    for name, value in {
        "AZURE_ENV_NAME": "prod",
        "AZURE_TENANT_ID": _DIRECTORY,
        "AZURE_SUBSCRIPTION_ID": "s-1",
        "AZURE_RESOURCE_GROUP": "rg-dicom",
        "DICOM_STORAGE_ACCOUNT": "no.such.account.invalid",
        "DICOM_KEY_VAULT": "kv-1",
        "DICOM_API_CLIENT_ID": "",
        "SERVICE_API_URI": "https://127.0.0.1:9",
        "DICOM_SMOKE_TEST": "off",
    }.items():
        monkeypatch.setenv(name, value)
    return install


def test_before_provisioning_it_registers_as_who_is_signed_in(azd, cloud, monkeypatch):
    log = azd()
    monkeypatch.setattr(preprovision, "GRAPH", cloud.url)
    preprovision.main()
    (application,) = cloud.applications.values()
    assert {one["principalId"] for one in cloud.assignments} == {"person-1"}
    lines = log.read_text("utf-8").splitlines()
    asked = [line for line in lines if line.startswith("auth token")]
    assert len(asked) == 1
    assert f"--scope {cloud.url}/.default" in asked[0]
    assert f"--tenant-id {_DIRECTORY}" in asked[0]
    assert lines[-1] == f"env set DICOM_API_CLIENT_ID {application['appId']}"


def test_after_provisioning_it_makes_the_key_though_the_table_is_out_of_reach(
    azd, cloud, monkeypatch, capsys
):
    azd()
    monkeypatch.setattr(postprovision, "MANAGEMENT", cloud.url)
    monkeypatch.setattr("infra.hooks.registry._RETRIES", 0)
    postprovision.main()
    assert cloud.secrets["dicom-secrets-key"]
    assert "The table of tenants could not be written" in capsys.readouterr().out


def test_after_deployment_it_needs_the_registration(azd, monkeypatch):
    azd()
    with pytest.raises(HookStopped, match="DICOM_API_CLIENT_ID is not set"):
        postdeploy.main()
    monkeypatch.setenv("DICOM_API_CLIENT_ID", "client-1")
    postdeploy.main()


@pytest.mark.parametrize("script", [preprovision, postprovision])
def test_who_is_not_signed_in_is_told_so(azd, script, capsys):
    azd(signed_in=False)
    assert run(script.main) == 1
    assert "Sign in with azd auth login (or az login)" in capsys.readouterr().err


def test_a_pipeline_that_may_not_ask_graph_goes_on_with_ids_that_are_set(azd, capsys, monkeypatch):
    azd(signed_in=False)
    monkeypatch.setenv("DICOM_API_CLIENT_ID", "by-hand")
    preprovision.main()
    assert "the registrations are taken as they are" in capsys.readouterr().out
    monkeypatch.setenv("DICOM_TENANTS", "main,clinic")
    with pytest.raises(HookStopped):
        preprovision.main()


@pytest.mark.parametrize("name", ["preprovision", "postprovision", "postdeploy"])
def test_a_script_runs_from_its_own_folder(name):
    outcome = subprocess.run(
        [sys.executable, f"{name}.py"],
        cwd=HOOKS,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 1
    said = "No token for" if name == "preprovision" else "is not set. azd sets it"
    assert said in outcome.stderr


def test_what_the_hooks_import_is_in_their_requirements():
    """Their environment has nothing else; what lies deeper was tried by hand."""
    listed = (HOOKS / "requirements.txt").read_text("utf-8")
    used = {"httpx": "httpx", "azure.identity": "azure-identity", "pydicom": "pydicom",
            "azure.data.tables": "azure-data-tables"}  # fmt: skip
    code = "".join(path.read_text("utf-8") for path in HOOKS.glob("*.py"))
    for module, package in used.items():
        assert module in code
        assert f"{package}>=" in listed

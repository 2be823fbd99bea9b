"""Registration in Entra ID, against a Graph on this machine."""

from __future__ import annotations

import base64
import json
import re
import shlex

import httpx
import pytest

from infra.hooks import entra
from infra.hooks.azd import Deployment, HookStopped, run
from infra.hooks.preprovision import work
from infra.hooks.rest import Rest
from shared.auth.roles import grants_of
from shared.auth.settings import load_sign_in
from tests.support.cloud import TOKEN

ENVIRONMENT = {"AZURE_ENV_NAME": "prod"}
PERSON = "person-1"


def roles_of(application):
    return {role["value"]: role["id"] for role in application["appRoles"]}


def test_one_tenant_is_registered_and_its_id_is_stored(cloud, rest, azd, capsys):
    work(ENVIRONMENT, rest, PERSON)
    (application,) = cloud.applications.values()
    client_id = application["appId"]
    assert azd() == {"DICOM_API_CLIENT_ID": client_id}
    assert application["displayName"] == "DICOM prod main"
    assert application["signInAudience"] == "AzureADMyOrg"
    assert application["identifierUris"] == [f"api://{client_id}"]
    assert application["api"]["requestedAccessTokenVersion"] == 2
    (scope,) = application["api"]["oauth2PermissionScopes"]
    (client,) = application["api"]["preAuthorizedApplications"]
    assert client["delegatedPermissionIds"] == [scope["id"]]
    assert set(roles_of(application)) == {
        "Dicom.DataOwner", "Dicom.DataReader", "Dicom.ServiceAdministrator",
    }  # fmt: skip
    assert client_id in cloud.principals
    given = {one["appRoleId"] for one in cloud.assignments if one["principalId"] == PERSON}
    roles = roles_of(application)
    assert given == {roles["Dicom.DataOwner"], roles["Dicom.ServiceAdministrator"]}
    assert client_id in capsys.readouterr().out


def test_the_app_knows_each_role_by_its_name():
    found = load_sign_in({"DICOM_ISSUERS": "https://i.example"}, "https://s.example", ("main",))
    plan = entra.wanted("prod", "main", administers=True)
    for role in plan["appRoles"]:
        known = found.roles | found.admin_roles
        assert grants_of([role["value"]], known), role["value"]


def test_a_second_run_changes_nothing(cloud, rest, azd):
    work(ENVIRONMENT, rest, PERSON)
    before = json.dumps([cloud.applications, cloud.principals, cloud.assignments])
    cloud.requests.clear()
    work({**ENVIRONMENT, **azd()}, rest, PERSON)
    assert json.dumps([cloud.applications, cloud.principals, cloud.assignments]) == before
    assert {method for method, _, _ in cloud.requests} == {"GET"}


def test_what_an_administrator_added_stays_and_what_was_taken_away_comes_back(cloud, rest, azd):
    work(ENVIRONMENT, rest, PERSON)
    (application,) = cloud.applications.values()
    own = {
        "id": "5c1d9f0a-6f0d-5d0e-9a63-000000000001", "value": "night-shift",
        "displayName": "Night", "description": "d", "allowedMemberTypes": ["User"],
        "isEnabled": True,
    }  # fmt: skip
    application["appRoles"] = [own, *application["appRoles"][1:]]
    application["identifierUris"] = ["https://dicom.example.com"]
    other = {"appId": "a viewer", "delegatedPermissionIds": []}
    application["api"]["preAuthorizedApplications"].append(other)
    work({**ENVIRONMENT, **azd()}, rest, PERSON)
    assert own in application["appRoles"]
    assert len(application["appRoles"]) == 4
    assert application["identifierUris"] == [
        "https://dicom.example.com", f"api://{application['appId']}",
    ]  # fmt: skip
    assert other in application["api"]["preAuthorizedApplications"]


def test_each_tenant_has_a_registration_so_that_roles_do_not_mix(cloud, rest, azd):
    work({**ENVIRONMENT, "DICOM_TENANTS": "main, clinic,lab"}, rest, PERSON)
    assert set(cloud.applications) == {"dicom-prod-main", "dicom-prod-clinic", "dicom-prod-lab"}
    ids = {name: one["appId"] for name, one in cloud.applications.items()}
    assert azd() == {
        "DICOM_API_CLIENT_ID": ids["dicom-prod-main"],
        "DICOM_API_CLIENT_IDS": f"clinic={ids['dicom-prod-clinic']},lab={ids['dicom-prod-lab']}",
    }
    assert "Dicom.ServiceAdministrator" not in roles_of(cloud.applications["dicom-prod-clinic"])
    known = Deployment({**azd(), "DICOM_TENANTS": "main,clinic,lab"}).client_ids
    assert known == {name.removeprefix("dicom-prod-"): value for name, value in ids.items()}


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_run_that_was_cut_off_anywhere_is_completed_by_the_next(cloud, rest, azd, cut):
    calls = 0

    def cut_off(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == cut:
            cloud.refused = [(method, ".") for method in ("GET", "PATCH", "POST")]

    cloud.on_call = cut_off
    run(lambda: work(ENVIRONMENT, rest, PERSON))
    assert calls >= cut
    cloud.on_call, cloud.refused = lambda *_: None, []
    work({**ENVIRONMENT, **azd()}, rest, PERSON)
    (application,) = cloud.applications.values()
    assert azd() == {"DICOM_API_CLIENT_ID": application["appId"]}
    assert len(application["appRoles"]) == 3
    assert application["identifierUris"] == [f"api://{application['appId']}"]
    assert application["api"]["preAuthorizedApplications"]
    assert cloud.assignments


def test_the_directory_may_be_slow_to_know_what_was_made(cloud, rest, azd):
    cloud.missed = 5
    work(ENVIRONMENT, rest, PERSON)
    assert len(cloud.principals) == 1
    assert azd()


def test_it_waits_while_graph_is_busy(cloud, azd):
    pauses = []
    rest = Rest(cloud.url, lambda: TOKEN, pause=pauses.append)
    cloud.busy = 3
    work(ENVIRONMENT, rest, PERSON)
    assert pauses == [1, 2, 4]
    assert azd()


def test_without_rights_it_shows_what_an_administrator_runs_and_how_to_go_on(cloud, rest, azd):
    cloud.refused = [("PATCH", ".")]
    with pytest.raises(HookStopped) as stopped:
        work({**ENVIRONMENT, "DICOM_TENANTS": "main,clinic"}, rest, PERSON)
    text = str(stopped.value)
    assert "Authorization_RequestDenied" in text
    assert "azd env set DICOM_API_CLIENT_ID <id>" in text
    assert "azd env set DICOM_API_CLIENT_IDS clinic=<id>" in text
    assert text.rstrip().endswith("azd up")
    assert azd() == {}


def test_the_commands_for_an_administrator_make_what_the_hook_would(cloud, rest, azd):
    """They are read as bash reads them, and done as ``az rest`` does them."""
    made = {}
    for command in entra.commands("prod", "main", administers=True):
        line = command.replace('\\"', "'").replace("$APP", made.get("appId", "$APP"))
        found = re.search(r"az rest .*?(?=\)?$)", line)
        if found is None:
            continue
        words = shlex.split(found[0])
        method, url = (words[words.index(one) + 1] for one in ("--method", "--url"))
        path = url.removeprefix("https://graph.microsoft.com")
        headers = dict(word.split("=") for word in words if re.fullmatch(r"[A-Z][\w-]+=\S+", word))
        body = None
        if "--body" in words:
            body = json.loads(words[words.index("--body") + 1].replace("'", '"'))
        made = rest.call(method, path, body, headers) or made
    rest.call("POST", "/v1.0/servicePrincipals", {"appId": made["appId"]})
    by_hand = json.dumps(cloud.applications)
    work({**ENVIRONMENT, "DICOM_API_CLIENT_ID": made["appId"]}, rest, PERSON)
    assert json.dumps(cloud.applications) == by_hand


def test_a_registration_of_another_make_is_left_alone(cloud, rest, azd, capsys):
    work({**ENVIRONMENT, "DICOM_API_CLIENT_ID": "their-own"}, rest, PERSON)
    assert cloud.applications == {}
    assert azd() == {}
    assert "their-own is not ours and stays" in capsys.readouterr().out


def test_an_id_that_was_set_by_hand_needs_no_rights(cloud, rest, azd, capsys):
    cloud.refused = [(method, ".") for method in ("GET", "PATCH", "POST")]
    work({**ENVIRONMENT, "DICOM_API_CLIENT_ID": "by-hand"}, rest, PERSON)
    assert "by-hand is taken as it is" in capsys.readouterr().out


def test_a_registration_without_the_right_to_give_roles_is_one(cloud, rest, azd, capsys):
    cloud.refused = [("POST", "appRoleAssignedTo")]
    work(ENVIRONMENT, rest, PERSON)
    assert azd()
    assert "nobody was given a role" in capsys.readouterr().out


def test_whoever_has_roles_already_is_not_joined_by_the_deployer(cloud, rest, azd):
    work(ENVIRONMENT, rest, "first")
    work({**ENVIRONMENT, **azd()}, rest, "second")
    assert {one["principalId"] for one in cloud.assignments} == {"first"}


def test_a_tenant_that_can_have_no_address_is_refused_before_anything_is_made(cloud, rest, azd):
    with pytest.raises(HookStopped, match="DICOM_TENANTS"):
        work({**ENVIRONMENT, "DICOM_TENANTS": "main,No'Name"}, rest, PERSON)
    assert cloud.requests == []


def test_without_azd_it_says_what_to_run(cloud, rest, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HookStopped, match="azd env set DICOM_API_CLIENT_ID"):
        work(ENVIRONMENT, rest, PERSON)


def test_when_graph_is_away_it_stops_with_a_reason(capsys):
    rest = Rest("http://127.0.0.1:9", lambda: TOKEN, pause=lambda _: None)
    assert run(lambda: work(ENVIRONMENT, rest, PERSON)) == 1
    assert "127.0.0.1 does not answer (ConnectError)" in capsys.readouterr().err


def test_the_caller_is_read_from_the_token():
    payload = base64.urlsafe_b64encode(b'{"oid": "object-1"}').rstrip(b"=").decode()
    assert entra.caller(f"head.{payload}.signature") == "object-1"


def test_the_cloud_of_the_tests_wants_a_token(cloud):
    assert httpx.get(f"{cloud.url}/v1.0/applications(uniqueName='x')").status_code == 401

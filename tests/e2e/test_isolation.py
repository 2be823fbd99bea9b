"""Two tenants with the same UIDs: whatever one does, the other stays as it is and unseen."""

from __future__ import annotations

import http.client
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from shared.auth.access import OF_A_TENANT, access_to
from tests.support import dicom
from tests.support.all_services import add_subscription, add_tag, add_work_item, use
from tests.support.export import new_place
from tests.support.house import House
from tests.support.requests import DICOM

_BINDINGS = Path(__file__).parents[1] / "contract" / "golden" / "bindings.json"
_MARK = "TenantOtherOnly"
_AS_STORED = {"Accept": "multipart/related; type=application/dicom; transfer-syntax=*"}
_LAST = tuple(
    f"{verb}_{level}"
    for level in ("instance", "series", "study")
    for verb in ("delete", "undelete")
)
"""What takes away what others need goes last."""
_ELSEWHERE = {
    *("subscribe_to_workitem", "unsubscribe_from_workitem", "suspend_worklist_subscription"),
    *("open_event_channel", "list_event_reports"),
}
"""What has an isolation test beside its own tests."""


def _picture(house: House, ds: dicom.Dataset) -> dict[str, Any]:
    """All that callers of the tenant ``other`` can see."""
    study = f"studies/{ds.StudyInstanceUID}"
    seen: dict[str, Any] = {}
    for prefix in ("", "partitions/shared/"):
        for path in (study, f"{study}/metadata", "studies", "series", "instances"):
            answer = house.http.get(
                f"/other/v2/{prefix}{path}",
                headers=_of_other(house) | (_AS_STORED if path == study else {}),
            )
            assert answer.status_code == 200, answer.text
            boundary = answer.content.partition(b"\r\n")[0] if path == study else b"no boundary"
            seen[prefix + path] = answer.content.replace(boundary, b"")
    for path in (
        *("changefeed", "partitions", "operations", "extendedquerytags", "subscriptions"),
        *("workitems", "partitions/shared/workitems"),
    ):
        seen[path] = house.http.get(f"/other/v2/{path}", headers=_of_other(house)).json()
        assert seen[path], path
    return seen


def _of_other(house: House) -> dict[str, str]:
    return house.headers(aud=f"{house.server.base_url}/other")


def _store(house: House, tenant: str, prefix: str, ds: dicom.Dataset) -> None:
    headers = house.headers(aud=f"{house.server.base_url}/{tenant}") | DICOM
    url = f"/{tenant}/v2/{prefix}studies"
    answer = house.http.post(url, content=dicom.part10(ds), headers=headers)
    assert answer.status_code == 200, answer.text


def _client(house: House, tenant: str) -> httpx.Client:
    """An owner's client of version 2 of a tenant."""
    here = f"{house.server.base_url}/{tenant}"
    headers = house.headers(aud=here)
    return httpx.Client(base_url=f"{here}/v2/", headers=headers, timeout=60)


@pytest.fixture(scope="module")
def shared(house: House) -> dicom.Dataset:
    """An instance that both tenants have, under the same UIDs, each with a text of its own.

    So they have a work item, named as the study. The tenant ``other`` has a tag and a subscriber.
    """
    ds = dicom.multi_frame(frames=2)
    for tenant, mark in (("main", "TenantMain"), ("other", _MARK)):
        ds.StudyDescription = mark
        for prefix in ("", "partitions/shared/"):
            _store(house, tenant, prefix, ds)
            with _client(house, tenant) as http:
                add_work_item(http, str(ds.StudyInstanceUID), mark, prefix)
    with _client(house, "other") as http:
        add_tag(http, "Study")
        add_subscription(http, "events-of-other")
    return ds


def _transactions() -> list[tuple[str, str, str]]:
    """Function, method and route of all that a tenant's callers can do."""
    found = []
    for name, bindings in json.loads(_BINDINGS.read_text("utf-8")).items():
        access = access_to(name)
        if access is None or not access.rights or not access.rights <= OF_A_TENANT:
            continue
        found += [(name, one["methods"][0], one["route"]) for one in bindings if "route" in one]

    def late(name: str) -> int:
        base = name.removesuffix("_in_partition")
        return _LAST.index(base) + 1 if base in _LAST else 0

    return sorted(found, key=lambda one: (late(one[0]), one[0]))


def _path(route: str, ds: dicom.Dataset) -> str:
    values = {
        "tenant": "main", "version": "2", "partition": "shared", "frames": "1",
        "study": ds.StudyInstanceUID, "series": ds.SeriesInstanceUID,
        "instance": ds.SOPInstanceUID, "path": "7FE00010", "operation": "0" * 32,
    }  # fmt: skip
    for name, value in values.items():
        route = route.replace(f"{{{name}}}", str(value))
    query = ""
    if route.endswith("/wado"):
        query = "?requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
        query = query.format_map(values)
    parts = ["1.2.3" if part.startswith("{") else part for part in route.split("/")]
    return "/".join(parts) + query


def test_all_that_one_tenant_does_leaves_the_other_as_it_was(
    house: House, shared: dicom.Dataset
) -> None:
    before = _picture(house, shared)
    owner = house.headers()
    study = str(shared.StudyInstanceUID)
    place = new_place(house.server.connection)
    with _client(house, "main") as http:
        succeeded, ids = use(http, study, study, place=place, queue="events-of-main")
    for data in place.content().values():
        assert _MARK.encode() not in data
    with _client(house, "other") as http:
        for one in ids:
            for path in (f"operations/{one}", f"subscriptions/{one}"):
                assert http.get(path).status_code == 404
            assert http.post(f"operations/{one}/$cancel").status_code == 404
            assert http.delete(f"subscriptions/{one}").status_code == 404
    changed = dicom.multi_frame(frames=2)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(changed, keyword, getattr(shared, keyword))
    changed.StudyDescription = "Changed"
    for name, method, route in _transactions():
        is_store = name.startswith(("store", "upsert"))
        headers = owner | (DICOM if is_store else {"Content-Type": "application/json"})
        body = b"{}" if method != "GET" else b""
        if is_store:
            more = dicom.ct(StudyInstanceUID=study)
            body = dicom.part10(changed if method == "PUT" else more)
        answer = house.http.request(
            method, f"/{_path(route, shared)}", headers=headers, content=body
        )
        assert answer.status_code < 500 or answer.status_code == 503, (name, answer.text)
        assert _MARK.encode() not in answer.content, name
        assert "/other/" not in answer.text, name
        if answer.is_success:
            succeeded.add(name.removesuffix("_in_partition"))
    names = {name.removesuffix("_in_partition") for name, _, _ in _transactions()}
    assert names - succeeded <= _ELSEWHERE
    after = _picture(house, shared)
    assert after.keys() == before.keys()
    for what in before:
        assert after[what] == before[what], what


def test_the_record_of_one_tenant_names_no_other(house: House, shared: dicom.Dataset) -> None:
    answer = house.http.get(
        f"/main/v2/studies?StudyInstanceUID={shared.StudyInstanceUID}", headers=house.headers()
    )
    for entry in house.entries(answer.headers["x-correlation-id"]):
        assert entry["Resource"]["tenant"] == "main"
        assert "other" not in json.dumps(entry)
    lines = [json.loads(line) for line in house.audit.read_text("utf-8").splitlines()]
    done = [one for one in lines if one.get("ResultType") == "Succeeded"]
    by_main = [one for one in done if one.get("Audience") == f"{house.server.base_url}/main"]
    assert len(by_main) > 50
    assert {one["Resource"]["tenant"] for one in by_main} == {"main"}


_SEGMENTS = (
    "main", "other", "..", ".", "", "%2e%2e", "%2E", "main%2f..%2fother", "..%2fother",
    "..%5cother", "other%00", "%00", "other%20", "Other", "OTHER", "other;", "other.",
    "%EF%BD%8Fther", "dicom-other", "other%23", "*", "'", "other'%20or%20'1'='1", "{tenant}",
    "main|other", "main%7Cother", "v2", "partitions", "shared", "Shared", "..%252fother",
    "studies", "Microsoft.Default", "$undelete",
)  # fmt: skip


_OTHER_KINDS = ("workitems", "operations", "subscriptions", "extendedquerytags")


def test_no_path_leads_across(house: House, shared: dicom.Dataset) -> None:
    """Segments of tenant, partition and UIDs made of all that could confuse (seed 7)."""
    chance = random.Random(7)
    token = house.headers()["Authorization"]
    with _client(house, "other") as client:
        listed = [*client.get("operations").json(), *client.get("subscriptions").json()]
    ids = [one.get("operationId", one.get("id")) for one in listed]
    assert len(ids) >= 2
    assert all(ids)
    uids = [
        *ids,
        shared.StudyInstanceUID,
        f"{shared.StudyInstanceUID}|x",
        f"../{shared.StudyInstanceUID}",
    ]
    connection = http.client.HTTPConnection("127.0.0.1", house.server.port, timeout=30)
    seen: dict[int, int] = {}
    for _ in range(1_200):
        tenant = chance.choice(("main", *_SEGMENTS))
        partition = chance.choice(("", f"/partitions/{chance.choice(_SEGMENTS)}"))
        study = chance.choice((*uids, *_SEGMENTS, "%2e%2e%2f%2e%2e%2fother%2fv2%2fstudies"))
        tail = chance.choice(("", "/metadata", f"?StudyDescription={_MARK}", "/../../../other/v2"))
        kind = chance.choice(("studies", "studies", "studies", *_OTHER_KINDS))
        path = f"/{tenant}/v2{partition}/{kind}/{study}{tail}"
        target = quote(path, safe="/%?=&$'*|{};.,#~")
        connection.request(
            "GET", target, headers={"Authorization": token, "Accept": "*/*", "Host": "other"}
        )
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status < 500, target
        assert _MARK.encode() not in content, target
        assert b"events-of-other" not in content, target
        seen[answer.status] = seen.get(answer.status, 0) + 1
    connection.close()
    assert {200, 400, 404} <= seen.keys(), seen


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Original-URL": "/other/v2/studies"},
        {"X-Rewrite-URL": "/other/v2/studies"},
        {"X-Forwarded-Prefix": "/other"},
        {"X-Forwarded-Host": "other", "Host": "other"},
        {"X-HTTP-Method-Override": "DELETE"},
        {"X-MS-CLIENT-PRINCIPAL": "eyJ1c2VyUm9sZXMiOlsiRGljb20uRGF0YU93bmVyIl19"},
        {"X-MS-CLIENT-PRINCIPAL-ID": "owner"},
    ],
)
def test_no_header_stands_in_for_address_method_or_token(
    house: House, shared: dicom.Dataset, headers: dict[str, str]
) -> None:
    url = f"/main/v2/studies/{shared.StudyInstanceUID}/metadata"
    assert house.http.get(url, headers=headers).status_code == 401
    answer = house.http.get(url, headers=house.headers() | headers)
    assert answer.status_code in (200, 404)
    assert _MARK not in answer.text
    assert house.http.get(f"/other{url[5:]}", headers=_of_other(house)).status_code == 200

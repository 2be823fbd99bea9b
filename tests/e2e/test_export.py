"""Export over HTTP, to another account of Azurite (spec operations.md §4)."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from datetime import timedelta

import httpx
import pydicom
import pytest

from shared.ports import Json, JsonObject
from tests.support import dicom
from tests.support.export import Place, check_manifest, lines, new_place
from tests.support.server import Server

DICOM = {"Content-Type": "application/dicom"}
_SECONDS = 60.0


@pytest.fixture(scope="module")
def place(new_account: Callable[[], str]) -> Place:
    return new_place(new_account())


def identifiers(*values: str) -> JsonObject:
    return {"type": "identifiers", "settings": {"values": list(values)}}


def start(http: httpx.Client, source: JsonObject, destination: JsonObject) -> httpx.Response:
    return http.post("/export", json={"source": source, "destination": destination})


def ended(started: httpx.Response) -> JsonObject:
    """The operation at its end."""
    assert started.status_code == 202, started.text
    href = started.json()["href"]
    assert started.headers["Location"] == href
    deadline = time.monotonic() + _SECONDS
    while (answer := httpx.get(href)).status_code == 202:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    body: JsonObject = answer.json()
    return body


def stored(http: httpx.Client, partition: str = "", **attributes: Json) -> tuple[str, bytes]:
    """Store an instance; its identifier and its bytes."""
    ds = dicom.ct(**attributes)
    data = dicom.part10(ds)
    http.post(f"{partition}/studies", content=data, headers=DICOM).raise_for_status()
    return f"{ds.StudyInstanceUID}/{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}", data


def below(identifier: str, levels: int) -> str:
    return "/".join(identifier.split("/")[:levels])


def files(content: dict[str, bytes]) -> dict[str, bytes]:
    """The exported files by identifier."""
    return {
        name.removeprefix("results/").removesuffix(".dcm"): data
        for name, data in content.items()
        if name.endswith(".dcm")
    }


@pytest.mark.spec("operations", 24, 25, 26, 36, 40)
def test_studies_series_and_instances(http: httpx.Client, place: Place) -> None:
    study, other, series = dicom.new_uid(), dicom.new_uid(), dicom.new_uid()
    of_study = dict(stored(http, StudyInstanceUID=study) for _ in range(3))
    in_series = {"StudyInstanceUID": other, "SeriesInstanceUID": series}
    of_series = dict(stored(http, **in_series) for _ in range(3))
    beside = stored(http, StudyInstanceUID=other)
    single = dict(stored(http) for _ in range(3))
    unknown = [dicom.new_uid(), f"{study}/{dicom.new_uid()}", f"{beside[0]}.1"]
    source = identifiers(study, f"{other}/{series}", *single, *unknown)
    body = ended(start(http, source, place.destination()))

    assert body["status"] == "succeeded"
    assert body["type"] == "export"
    assert "percentComplete" not in body
    results = body["results"]
    assert (results["exported"], results["skipped"]) == (9, 3)
    folder = f"{body['operationId']}/"
    assert results["errorHref"] == f"{place.address}/{folder}errors.log"
    assert body["resources"] == [results["errorHref"], results["manifestHref"]]
    content = place.content(folder)
    assert files(content) == of_study | of_series | single
    assert not list(check_manifest(content))
    errors = lines(content["errors.log"])
    assert [line["identifier"] for line in errors] == unknown
    assert all(line["error"] and line["timestamp"].endswith("Z") for line in errors)


@pytest.mark.spec("operations", 34)
def test_an_export_has_one_partition(http: httpx.Client, place: Place) -> None:
    first, second = (f"/partitions/export{number}" for number in (1, 2))
    study = dicom.new_uid()
    mine = stored(http, first, StudyInstanceUID=study)
    foreign = stored(http, second, StudyInstanceUID=study)
    source = identifiers(study, foreign[0])
    answer = http.post(
        f"{first}/export", json={"source": source, "destination": place.destination()}
    )
    body = ended(answer)
    assert (body["results"]["exported"], body["results"]["skipped"]) == (1, 1)
    content = place.content(f"{body['operationId']}/")
    assert files(content) == dict([mine])
    assert [line["identifier"] for line in lines(content["errors.log"])] == [foreign[0]]
    assert ended(start(http, identifiers(study), place.destination()))["results"]["exported"] == 0


def test_an_export_has_one_tenant(
    http: httpx.Client, place: Place, tenants: tuple[str, str]
) -> None:
    identifier, _ = stored(http)
    base = str(http.base_url).replace(f"/{tenants[0]}/", f"/{tenants[1]}/").rstrip("/")
    for source in (
        identifiers(below(identifier, 1)),
        {
            "type": "search",
            "settings": {"query": f"studies?StudyInstanceUID={below(identifier, 1)}"},
        },
        {"type": "changes", "settings": {"after": 0}},
    ):
        body = {"source": source, "destination": place.destination()}
        done = ended(httpx.post(f"{base}/export", json=body))
        assert identifier not in files(place.content(f"{done['operationId']}/"))


def test_all_that_a_search_finds(http: httpx.Client, place: Place) -> None:
    patient = dicom.new_uid()
    found = dict(stored(http, PatientID=patient, Modality="CT") for _ in range(4))
    stored(http, PatientID=patient + ".1")
    mr = dict([stored(http, PatientID=patient, Modality="MR")])
    for query, expected in (
        (f"studies?PatientID={patient}", found | mr),
        (f"series?PatientID={patient}&Modality=MR", mr),
        (f"/instances?PatientID={patient}&Modality=CT&includefield=all", found),
        (f"studies/{below(next(iter(mr)), 1)}/instances", mr),
        (f"studies?PatientID={patient}.2", {}),
    ):
        source = {"type": "search", "settings": {"query": query}}
        body = ended(start(http, source, place.destination()))
        assert body["status"] == "succeeded"
        content = place.content(f"{body['operationId']}/")
        assert files(content) == expected, query
        assert not list(check_manifest(content))
        assert content["errors.log"] == b""


@pytest.mark.spec("operations", 33)
@pytest.mark.parametrize("kind", ["identifiers", "search", "changes"])
def test_an_updated_instance_has_its_new_values(
    http: httpx.Client, place: Place, kind: str
) -> None:
    identifier, before = stored(http, PatientName="Old^Name")
    since = http.get("/changefeed/latest").json()["sequence"]
    study = below(identifier, 1)
    changes = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "New^Name"}]}}
    body = {"studyInstanceUids": [study], "changeDataset": changes}
    while (answer := http.post("/studies/$bulkUpdate", json=body)).status_code == 409:
        time.sleep(0.1)
    assert ended(answer)["results"]["instanceUpdated"] == 1
    setting = {
        "identifiers": {"values": [study]},
        "search": {"query": f"instances?StudyInstanceUID={study}"},
        "changes": {"after": since},
    }[kind]
    done = ended(start(http, {"type": kind, "settings": setting}, place.destination()))
    content = place.content(f"{done['operationId']}/")
    assert not list(check_manifest(content))
    exported = files(content)[identifier]
    assert exported != before
    study, series, instance = identifier.split("/")
    url = f"/studies/{study}/series/{series}/instances/{instance}"
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    assert exported == http.get(url, headers=accept).content
    assert str(pydicom.dcmread(io.BytesIO(exported)).PatientName) == "New^Name"


def test_all_that_changed_since_a_sequence_number(http: httpx.Client, place: Place) -> None:
    stored(http)
    since = http.get("/changefeed/latest").json()["sequence"]
    kept = stored(http)
    gone = stored(http)
    changed, _ = stored(http)
    elsewhere = stored(http, "/partitions/export1")
    study, series, instance = changed.split("/")
    new = dicom.part10(
        dicom.ct(
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            SOPInstanceUID=instance,
            PatientName="New^Name",
        )
    )
    http.put("/studies", content=new, headers=DICOM).raise_for_status()
    http.delete(f"/studies/{below(gone[0], 1)}").raise_for_status()
    source = {"type": "Changes", "settings": {"After": since}}
    body = ended(start(http, source, place.destination()))
    content = place.content(f"{body['operationId']}/")
    assert files(content) == dict([kept, (changed, new)])
    assert elsewhere[0] not in files(content)
    assert content["errors.log"] == b""
    through = body["results"]["throughSequence"]
    assert through == http.get("/changefeed/latest").json()["sequence"]
    again = {"type": "changes", "settings": {"after": through}}
    assert ended(start(http, again, place.destination()))["results"]["exported"] == 0


@pytest.mark.spec("operations", 32)
def test_a_destination_that_cannot_be_used_starts_nothing(
    http: httpx.Client, place: Place, tenants: tuple[str, str], server: Server
) -> None:
    source = identifiers(dicom.new_uid())
    before = http.get("/operations").json()
    sas = place.sas()
    absent = place.address.rpartition("/")[0] + "/not-there"
    expired = place.sas(lasts=timedelta(hours=-1))
    account = place.address.split("/")[3]
    own = dict(part.partition("=")[::2] for part in server.connection.split(";") if part)
    for uri, told in (
        (f"{absent}?{sas}", f"container not-there of account {account}"),
        (f"{place.address}?{expired}", "does not let the service in"),
        (f"{place.address}?{place.sas('r')}", "does not let the service in"),
        (f"{own['BlobEndpoint']}/dicom-{tenants[1]}?{sas}", "own data"),
        ("https://example.com/container?" + sas, "not set up to export there"),
        (f"{place.address}?{sas}&comp=list", "parameter 'comp'"),
    ):
        destination = {"type": "azureblob", "settings": {"blobContainerUri": uri}}
        answer = start(http, source, destination)
        assert answer.status_code == 400, uri
        assert told in answer.text
        assert "sig=" not in answer.text
    assert len(http.get("/operations").json()) == len(before)


def test_bad_requests_start_nothing(http: httpx.Client, place: Place) -> None:
    good = {"source": identifiers(dicom.new_uid()), "destination": place.destination()}
    for part, value, told in (
        ("source", {"type": "identifiers", "settings": {}}, "source.settings.values"),
        ("source", identifiers("1.2", "abc"), "source.settings.values[1]"),
        ("source", {"type": "all", "settings": {}}, "source.type"),
        ("destination", {"type": "disk", "settings": {}}, "destination.type"),
        ("destination", {"type": "azureblob", "settings": {}}, "blobContainerUri"),
    ):
        answer = http.post("/export", json=good | {part: value})
        assert answer.status_code == 400, value
        assert told in answer.text
    assert http.post("/export", content=b"{}").status_code == 415
    assert http.post("/export", json=[]).status_code == 400
    assert http.post("/partitions/unknown/export", json=good).status_code == 400


@pytest.mark.spec("operations", 35)
def test_there_is_none_in_the_prerelease(http: httpx.Client, place: Place) -> None:
    body = {"source": identifiers(dicom.new_uid()), "destination": place.destination()}
    base = str(http.base_url).rstrip("/").removesuffix("/v2")
    assert httpx.post(f"{base}/v1.0-prerelease/export", json=body).status_code == 404
    assert ended(httpx.post(f"{base}/v1/export", json=body))["results"]["skipped"] == 1


def test_the_signature_is_nowhere_in_clear(
    http: httpx.Client, place: Place, server: Server
) -> None:
    destination = place.destination()
    body = ended(start(http, identifiers(stored(http)[0]), destination))
    assert body["results"]["exported"] == 1
    signature = destination["settings"]["blobContainerUri"].partition("sig=")[2][:20]
    assert signature not in server.log_text()
    index = [path for path in server.log.parent.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in index)
    assert not [path for path in index if signature.encode() in path.read_bytes()]

"""Many clients at once, and tenants and partitions that must not see each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.support import dicom
from tests.support.requests import DICOM
from tests.support.server import Server

_CLIENTS = 16
_EACH = 12


def test_16_clients_storing_into_one_study_give_exact_counts(http: httpx.Client) -> None:
    study = dicom.new_uid()
    series = [dicom.new_uid() for _ in range(3)]

    def store(number: int) -> list[int]:
        statuses = []
        with httpx.Client(base_url=http.base_url, timeout=120) as client:
            for index in range(_EACH):
                # every other one brings another description: the documents below have to follow
                ds = dicom.ct(
                    StudyInstanceUID=study,
                    SeriesInstanceUID=series[index % 3],
                    StudyDescription=f"Description {number % 2}",
                )
                answer = client.post("/studies", content=dicom.part10(ds), headers=DICOM)
                statuses.append(answer.status_code)
        return statuses

    with ThreadPoolExecutor(_CLIENTS) as pool:
        statuses = [status for each in pool.map(store, range(_CLIENTS)) for status in each]
    assert statuses == [200] * (_CLIENTS * _EACH)
    total = _CLIENTS * _EACH
    counts = "includefield=NumberOfStudyRelatedInstances,NumberOfStudyRelatedSeries"
    [row] = http.get(f"/studies?StudyInstanceUID={study}&{counts}").json()
    assert row["00201208"]["Value"] == [total]
    assert row["00201206"]["Value"] == [3]
    rows = http.get(f"/studies/{study}/series?includefield=NumberOfSeriesRelatedInstances").json()
    assert sorted(each["00201209"]["Value"][0] for each in rows) == [total // 3] * 3
    assert len(http.get(f"/studies/{study}/metadata").json()) == total
    found = row["00081030"]["Value"][0]
    below = http.get(f"/instances?StudyInstanceUID={study}&StudyDescription={found}&limit=200")
    assert len(below.json()) == total
    other = {"Description 0": "Description 1", "Description 1": "Description 0"}[found]
    none = http.get(f"/instances?StudyInstanceUID={study}&StudyDescription={other}")
    assert none.status_code == 204


def test_the_same_instance_from_16_clients_is_stored_once(http: httpx.Client) -> None:
    data = dicom.part10(dicom.ct())

    def store(_: int) -> int:
        with httpx.Client(base_url=http.base_url, timeout=120) as client:
            return client.post("/studies", content=data, headers=DICOM).status_code

    with ThreadPoolExecutor(_CLIENTS) as pool:
        statuses = sorted(pool.map(store, range(_CLIENTS)))
    assert statuses == [200] + [409] * (_CLIENTS - 1)


def test_a_tenant_does_not_see_what_another_has(server: Server, tenants: tuple[str, str]) -> None:
    ds = dicom.ct(PatientID="TENANT-SECRET")
    path = f"/studies/{ds.StudyInstanceUID}"
    first, second = (f"{server.base_url}/{tenant}/v2" for tenant in tenants)
    with httpx.Client(timeout=60) as client:
        stored = client.post(f"{first}/studies", content=dicom.part10(ds), headers=DICOM)
        assert stored.status_code == 200
        assert client.get(f"{second}{path}/metadata").status_code == 404
        assert client.get(f"{second}/studies?PatientID=TENANT-SECRET").status_code == 204
        assert client.delete(f"{second}{path}").status_code == 404
        assert client.get(f"{server.base_url}/nobody/v2{path}/metadata").status_code == 404
        assert client.get(f"{first}{path}/metadata").status_code == 200


def test_015_the_same_instance_lives_in_two_partitions(http: httpx.Client) -> None:
    ds = dicom.ct()
    data = dicom.part10(ds)
    path = (
        f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    )
    names = [f"Site-{dicom.new_uid()[-8:]}.{letter}" for letter in "AB"]
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    for name in names:
        stored = http.post(f"/partitions/{name}/studies", content=data, headers=DICOM)
        assert stored.status_code == 200
        url = stored.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        assert f"/v2/partitions/{name}/studies/" in url
        assert http.get(url, headers=accept).content == data
    assert http.get(f"/{path}/metadata").status_code == 404
    assert http.delete(f"/partitions/{names[0].upper()}/{path}").status_code == 204
    assert http.get(f"/partitions/{names[0]}/{path}", headers=accept).status_code == 404
    assert http.get(f"/partitions/{names[1]}/{path}", headers=accept).status_code == 200

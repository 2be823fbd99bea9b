"""Undelete over HTTP, in the default partition and a named one."""

from __future__ import annotations

import httpx

from tests.support import dicom

DICOM = {"Content-Type": "application/dicom"}


def test_a_deleted_study_comes_back_in_its_partition_only(http: httpx.Client) -> None:
    ds = dicom.ct()
    study = f"/studies/{ds.StudyInstanceUID}"
    for prefix in ("", "/partitions/undelete"):
        stored = http.post(f"{prefix}/studies", content=dicom.part10(ds), headers=DICOM)
        assert stored.status_code == 200
        assert http.delete(prefix + study).status_code == 204
    assert http.post(f"{study}/$undelete").json() == {"restored": 1, "replaced": 0}
    assert http.get(study, headers={"Accept": "*/*"}).status_code == 200
    assert http.get(f"/partitions/undelete{study}").status_code == 404
    assert http.post(f"{study}/$undelete").status_code == 404
    series = f"/partitions/undelete{study}/series/{ds.SeriesInstanceUID}"
    assert http.post(f"{series}/instances/{ds.SOPInstanceUID}/$undelete").status_code == 200
    assert http.get(f"{series}/metadata").json()[0]["00080018"]["Value"] == [ds.SOPInstanceUID]
    assert http.post(f"{series}/$undelete").status_code == 404
    assert http.post("/studies/1.a/$undelete").status_code == 400
    v1 = str(http.base_url).replace("/v2", "/v1")
    assert httpx.post(f"{v1}{study.lstrip('/')}/$undelete").status_code == 404

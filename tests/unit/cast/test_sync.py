"""Studies into a real FHIR server, one at a time (spec dicomcast.md §3–§7)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.cast.failures import Refused
from shared.cast.resources import endpoint, endpoint_name, study_identifier
from tests.support import dicom
from tests.unit.cast.conftest import ENDPOINT, PARTITION, Cast, like, methods

CODING = {"system": "DCM", "code": "CT"}


@pytest.mark.spec("dicomcast", 7, 21)
async def test_all_is_new_one_bundle_with_conditional_creates(cast: Cast) -> None:
    assert await cast.cast(dicom.ct()) == []
    (bundle,) = cast.server.bundles()
    assert bundle["type"] == "transaction"
    by_kind = {one["resource"]["resourceType"]: one for one in bundle["entry"]}
    assert list(by_kind) == ["Endpoint", "ImagingStudy", "Patient"]
    assert all(one["request"]["method"] == "POST" for one in bundle["entry"])
    assert all(one["request"]["ifNoneExist"].startswith("identifier=") for one in bundle["entry"])
    subject = by_kind["ImagingStudy"]["resource"]["subject"]["reference"]
    assert subject == by_kind["Patient"]["fullUrl"]
    assert subject.startswith("urn:uuid:")
    patient, study, made = map(cast.one, ("Patient", "ImagingStudy", "Endpoint"))
    assert study["subject"]["reference"] == f"Patient/{patient['id']}"
    assert study["endpoint"] == [{"reference": f"Endpoint/{made['id']}"}]
    assert made["address"] == ENDPOINT
    assert made["name"] == endpoint_name(ENDPOINT)
    assert made["status"] == "active"
    assert made["connectionType"]["code"] == "dicom-wado-rs"
    assert made["payloadType"] == [{"text": "DICOM WADO-RS"}]
    assert made["payloadMimeType"] == ["application/dicom"]


async def test_what_a_study_becomes(cast: Cast) -> None:
    ds = dicom.ct(SeriesDate="20240103", SeriesTime="111213")
    await cast.cast(ds)
    study = cast.one("ImagingStudy")
    assert study["identifier"] == [
        {"system": "urn:dicom:uid", "value": f"urn:oid:{ds.StudyInstanceUID}"},
        {
            "type": {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}
                ]
            },
            "value": "A-1",
        },
    ]
    assert study["status"] == "available"
    assert study["meta"]["source"] == ENDPOINT
    assert study["started"] == "2024-01-02T10:11:12.5+00:00"
    assert study["modality"] == [CODING]
    assert study["note"] == [{"text": "Chest"}]
    assert (study["numberOfSeries"], study["numberOfInstances"]) == (1, 1)
    assert study["series"] == [
        {
            "uid": str(ds.SeriesInstanceUID),
            "number": 3,
            "description": "Axial 1 mm",
            "modality": CODING,
            "started": "2024-01-03T11:12:13+00:00",
            "numberOfInstances": 1,
            "instance": [
                {
                    "uid": str(ds.SOPInstanceUID),
                    "sopClass": {"code": dicom.CT_STORAGE},
                    "number": 7,
                }
            ],
        }
    ]
    patient = cast.one("Patient")
    assert patient["identifier"] == [{"system": "urn:hospital", "value": "T-001"}]
    assert patient["name"] == [{"use": "usual", "family": "Test", "given": ["Alpha"]}]
    assert (patient["gender"], patient["birthDate"]) == ("other", "1970-02-03")


@pytest.mark.spec("dicomcast", 8, 12)
async def test_what_is_known_and_unchanged_is_not_written(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.cast(ds)
    versions = cast.server.versions()
    cast.server.log()
    await cast.cast(ds)  # stored again under a new version
    await cast.sync(str(ds.StudyInstanceUID))
    assert cast.server.bundles() == []
    assert cast.server.versions() == versions


@pytest.mark.spec("dicomcast", 9, 39)
async def test_a_changed_patient_is_written_under_its_version(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.cast(ds)
    before = cast.one("Patient")
    cast.server.log()
    ds.PatientName, ds.StudyDescription = "New^Name", "Abdomen"
    await cast.cast(ds)  # an Update in the feed
    (bundle,) = cast.server.bundles()
    entries = {one["request"]["url"].partition("/")[0]: one["request"] for one in bundle["entry"]}
    assert entries["Patient"]["method"] == entries["ImagingStudy"]["method"] == "PUT"
    assert entries["Patient"]["ifMatch"] == f'W/"{before["meta"]["versionId"]}"'
    assert cast.one("Patient")["name"][0]["family"] == "New"
    assert cast.one("ImagingStudy")["note"] == [{"text": "Abdomen"}]


@pytest.mark.spec("dicomcast", 10, 11)
async def test_further_instances_and_series(cast: Cast) -> None:
    first = dicom.ct()
    await cast.cast(first)
    before = cast.one("ImagingStudy")
    cast.server.log()
    await cast.cast(like(first, InstanceNumber=8))
    (bundle,) = cast.server.bundles()
    assert methods(bundle) == [f"PUT ImagingStudy/{before['id']}"]
    assert bundle["entry"][0]["request"]["ifMatch"] == f'W/"{before["meta"]["versionId"]}"'
    (series,) = cast.one("ImagingStudy")["series"]
    assert [one["number"] for one in series["instance"]] == [7, 8]
    await cast.cast(like(first, SeriesInstanceUID=dicom.new_uid(), Modality="SR"))
    (bundle,) = cast.server.bundles()
    assert len(bundle["entry"]) == 1
    study = cast.one("ImagingStudy")
    assert [len(one["instance"]) for one in study["series"]] == [2, 1]
    assert [one["code"] for one in study["modality"]] == ["CT", "SR"]


@pytest.mark.spec("dicomcast", 17)
async def test_the_birth_date_is_set_once(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.cast(ds)
    ds.PatientBirthDate = "19800101"
    await cast.cast(ds)
    assert cast.one("Patient")["birthDate"] == "1970-02-03"


@pytest.mark.spec("dicomcast", 18)
@pytest.mark.parametrize(
    ("use_issuer", "issuer", "configured", "system"),
    [
        (True, "urn:issuer", "urn:hospital", "urn:issuer"),
        (True, None, "urn:hospital", None),
        (False, "urn:issuer", "urn:hospital", "urn:hospital"),
        (False, "urn:issuer", "", None),
        (False, None, "urn:p:{partition}", f"urn:p:{PARTITION}"),
    ],
)
async def test_the_system_of_the_patients_identifier(
    cast: Cast, use_issuer: bool, issuer: str | None, configured: str, system: str | None
) -> None:
    set_up = cast.with_settings(use_issuer=use_issuer, patient_system=configured)
    for _ in range(2):  # the second study finds the patient
        await set_up.cast(dicom.ct(IssuerOfPatientID=issuer))
    expected = {"value": "T-001"} if system is None else {"system": system, "value": "T-001"}
    assert cast.one("Patient")["identifier"] == [expected]
    assert len(cast.server.all("ImagingStudy")) == 2


@pytest.mark.spec("dicomcast", 19)
async def test_two_that_match_are_refused(cast: Cast) -> None:
    cast.server.settings(page=1)  # over two pages
    for _ in range(2):
        cast.server.create(
            {
                "resourceType": "Patient",
                "identifier": [{"system": "urn:hospital", "value": "T-001"}],
            }
        )
    with pytest.raises(Refused, match="several of Patient"):
        await cast.cast(dicom.ct())
    ds = dicom.ct(PatientID="T-002")
    for _ in range(2):
        cast.server.create(
            {
                "resourceType": "ImagingStudy",
                "status": "available",
                "subject": {"reference": "Patient/1"},
                "identifier": [study_identifier(str(ds.StudyInstanceUID))],
            }
        )
    with pytest.raises(Refused, match="several of ImagingStudy"):
        await cast.cast(ds)


@pytest.mark.spec("dicomcast", 20)
async def test_a_resource_without_version_is_refused(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cast.cast(dicom.ct())
    search = cast.client.search

    async def without_version(kind: str, query: Any, *, most: int) -> list[dict[str, Any]]:
        found = await search(kind, query, most=most)
        return [{**one, "meta": {}} for one in found]

    monkeypatch.setattr(cast.client, "search", without_version)
    with pytest.raises(Refused, match="without id or version"):
        await cast.cast(dicom.ct())


@pytest.mark.spec("dicomcast", 21)
async def test_an_endpoint_that_is_there(cast: Cast) -> None:
    made = cast.server.create(endpoint(ENDPOINT, cast.settings))
    cast.server.create(
        {**endpoint(f"{ENDPOINT}partitions/p/", cast.settings)}  # its name begins with ours
    )
    cast.server.log()
    await cast.cast(dicom.ct())
    (bundle,) = cast.server.bundles()
    assert methods(bundle) == ["POST ImagingStudy", "POST Patient"]
    assert cast.one("ImagingStudy")["endpoint"] == [{"reference": f"Endpoint/{made['id']}"}]


@pytest.mark.spec("dicomcast", 21)
async def test_an_endpoint_with_another_address_is_refused(cast: Cast) -> None:
    cast.server.create({**endpoint(ENDPOINT, cast.settings), "address": "http://elsewhere/"})
    with pytest.raises(Refused, match="another address"):
        await cast.cast(dicom.ct())
    assert cast.server.all("ImagingStudy") == []


@pytest.mark.spec("dicomcast", 23, 24, 25)
async def test_descriptions_accession_numbers_and_modalities_are_added_once(cast: Cast) -> None:
    first = dicom.ct(StudyDescription="One", AccessionNumber="A")
    await cast.cast(first)
    for _ in range(2):
        other = like(
            first,
            SeriesInstanceUID=dicom.new_uid(),
            StudyDescription="Two",
            AccessionNumber="B",
            Modality="PT",
        )
        await cast.cast(other)
    study = cast.one("ImagingStudy")
    assert study["note"] == [{"text": "One"}, {"text": "Two"}]
    assert [one["value"] for one in study["identifier"][1:]] == ["A", "B"]
    assert study["identifier"][2]["type"]["coding"][0]["code"] == "ACSN"
    assert [one["code"] for one in study["modality"]] == ["CT", "PT"]
    await cast.tenant.delete.delete(
        PARTITION, str(first.StudyInstanceUID), str(first.SeriesInstanceUID)
    )
    await cast.sync(str(first.StudyInstanceUID))
    study = cast.one("ImagingStudy")
    assert study["note"] == [{"text": "Two"}]
    assert [one["value"] for one in study["identifier"][1:]] == ["B"]
    assert [one["code"] for one in study["modality"]] == ["PT"]


@pytest.mark.spec("dicomcast", 26)
async def test_changed_members_of_a_series_follow(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.cast(ds)
    ds.SeriesNumber, ds.SeriesDescription, ds.Modality, ds.InstanceNumber = 9, "New", "MR", 11
    await cast.cast(ds)
    (series,) = cast.one("ImagingStudy")["series"]
    assert (series["number"], series["description"]) == (9, "New")
    assert series["modality"]["code"] == "MR"
    assert series["instance"][0]["number"] == 11


@pytest.mark.spec("dicomcast", 27)
async def test_deletions(cast: Cast) -> None:
    first = dicom.ct()
    second, third = like(first), like(first, SeriesInstanceUID=dicom.new_uid())
    await cast.cast(first, second, third)
    study = str(first.StudyInstanceUID)
    version = cast.one("ImagingStudy")["meta"]["versionId"]
    cast.server.log()
    await cast.tenant.delete.delete(
        PARTITION, study, str(first.SeriesInstanceUID), str(first.SOPInstanceUID)
    )
    await cast.sync(study)
    (bundle,) = cast.server.bundles()
    assert bundle["entry"][0]["request"]["ifMatch"] == f'W/"{version}"'
    left = cast.one("ImagingStudy")["series"]
    assert [one["uid"] for one in left[0]["instance"]] == [str(second.SOPInstanceUID)]
    await cast.tenant.delete.delete(PARTITION, study, str(first.SeriesInstanceUID))
    await cast.sync(study)
    (series,) = cast.one("ImagingStudy")["series"]
    assert series["uid"] == str(third.SeriesInstanceUID)
    cast.server.log()
    await cast.tenant.delete.delete(PARTITION, study)
    await cast.sync(study)
    (bundle,) = cast.server.bundles()
    assert methods(bundle)[0].startswith("DELETE ImagingStudy/")
    assert cast.server.all("ImagingStudy") == []
    assert len(cast.server.all("Patient")) == 1, "patients stay"


@pytest.mark.spec("dicomcast", 27)
async def test_a_study_of_another_source_is_added_to_and_left_as_it_was(cast: Cast) -> None:
    ds = dicom.ct()
    study = str(ds.StudyInstanceUID)
    theirs = {
        "resourceType": "ImagingStudy",
        "status": "available",
        "subject": {"reference": "Patient/theirs"},
        "meta": {"source": "http://elsewhere/"},
        "identifier": [study_identifier(study)],
        "series": [{"uid": "1.2.3", "modality": {"code": "US"}}],
    }
    cast.server.create(theirs)
    await cast.cast(ds)
    both = cast.one("ImagingStudy")
    assert [one["uid"] for one in both["series"]] == ["1.2.3", str(ds.SeriesInstanceUID)]
    assert both["subject"] == theirs["subject"]
    cast.server.log()
    await cast.sync(study)
    assert cast.server.bundles() == []
    await cast.tenant.delete.delete(PARTITION, study)
    await cast.sync(study)
    (bundle,) = cast.server.bundles()
    assert methods(bundle)[0].startswith("PUT ImagingStudy/")
    assert cast.one("ImagingStudy")["series"] == theirs["series"]


@pytest.mark.spec("dicomcast", 28)
async def test_deletion_of_what_fhir_does_not_know(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.store(ds)
    await cast.tenant.delete.delete(PARTITION, str(ds.StudyInstanceUID))
    await cast.sync(str(ds.StudyInstanceUID))
    await cast.sync("2.25.404")
    assert cast.server.bundles() == []


async def test_the_patient_of_a_study_can_be_corrected(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.cast(ds)
    ds.PatientID = "T-002"
    await cast.cast(ds)
    patients = {one["identifier"][0]["value"]: one["id"] for one in cast.server.all("Patient")}
    assert patients.keys() == {"T-001", "T-002"}
    assert cast.one("ImagingStudy")["subject"] == {"reference": f"Patient/{patients['T-002']}"}


async def test_other_members_of_a_resource_stay(cast: Cast) -> None:
    mine = {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:hospital", "value": "T-001"}],
        "telecom": [{"system": "phone", "value": "1"}],
        "name": [{"use": "official", "family": "Official"}],
    }
    cast.server.create(mine)
    await cast.cast(dicom.ct())
    patient = cast.one("Patient")
    assert patient["telecom"] == mine["telecom"]
    assert [one["family"] for one in patient["name"]] == ["Official", "Test"]
    assert "birthDate" not in patient


async def test_patients_that_are_not_ours_to_write(cast: Cast) -> None:
    ds = dicom.ct()
    link, create = cast.with_settings(patients="link"), cast.with_settings(patients="create")
    with pytest.raises(Refused, match="no such Patient"):
        await link.cast(ds)
    assert cast.server.all("ImagingStudy") == cast.server.all("Endpoint") == []
    await create.cast(ds)
    made = cast.one("Patient")
    ds.PatientName, ds.StudyDescription = "New^Name", "Knee"
    for setting in (create, link):
        await setting.cast(ds)
        assert cast.one("Patient") == made
    assert cast.one("ImagingStudy")["description"] == "Knee"
    assert cast.one("ImagingStudy")["subject"]["reference"] == f"Patient/{made['id']}"


async def test_5000_series_are_one_study(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.cast.archive import Archive

    study = dicom.new_uid()
    template = {
        "00100020": {"vr": "LO", "Value": ["T-001"]},
        "00080016": {"vr": "UI", "Value": [dicom.CT_STORAGE]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "0008103E": {"vr": "LO", "Value": ["d" * 64]},
    }

    async def instances(_self: Archive, _partition: str, _study: str) -> Any:
        for number in range(5000):
            yield {
                "study": study, "series": f"1.2.{number}", "instance": f"1.3.{number}",
                "version": f"{number:019d}", "d": template,
            }  # fmt: skip

    monkeypatch.setattr(Archive, "instances", instances)
    await cast.sync(study)
    assert cast.one("ImagingStudy")["numberOfSeries"] == 5000

"""What the switches change: R5, and codes as FHIR has them. No R5 engine is at hand: the library's
model judges (spec dicomcast.md §6)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.cast.bundle import Entry, create, update
from shared.cast.checking import check
from shared.cast.failures import Refused
from shared.cast.picture import Instance, Picture, Series
from shared.cast.resources import endpoint, imaging_study
from shared.cast_settings import CastSettings
from tests.support import dicom
from tests.unit.cast.conftest import Cast

R5 = CastSettings("http://fhir", fhir_version="R5", codes="standard")


def _study(settings: CastSettings, existing: dict[str, Any] | None = None) -> dict[str, Any]:
    instance = Instance("1.1.1", dicom.CT_STORAGE, 1, "1")
    series = Series("1.1", "CT", 1, "d", "2024-01-02T10:11:12+00:00", [instance])
    picture = Picture("1", None, "2024-01-02T10:11:12+00:00", ["note"], ["A"], {"1.1": series})
    return imaging_study(
        existing,
        picture,
        subject="Patient/1",
        endpoint="Endpoint/1",
        source="http://x/",
        settings=settings,
    )


def _new(resource: dict[str, Any]) -> Entry:
    return create(resource, [], "urn:uuid:1")


async def test_r5_has_concepts_where_r4_has_codings() -> None:
    study, made = _study(R5), endpoint("http://x/", R5)
    await check([_new(study), _new(made)], "R5")
    coding = {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "CT"}
    assert study["modality"] == [{"coding": [coding]}]
    assert study["series"][0]["modality"] == {"coding": [coding]}
    assert made["payload"][0]["mimeType"] == ["application/dicom"]
    assert _study(R5, study) == study
    with pytest.raises(Refused):
        await check([_new(study)], "R4")
    with pytest.raises(Refused):
        await check([_new(_study(CastSettings("http://fhir")))], "R5")


async def test_codes_as_fhir_has_them(cast: Cast) -> None:
    ds = dicom.ct()
    await cast.with_settings(codes="standard").cast(ds)
    (series,) = cast.one("ImagingStudy")["series"]
    assert series["modality"]["system"] == "http://dicom.nema.org/resources/ontology/DCM"
    assert series["instance"][0]["sopClass"] == {
        "system": "urn:ietf:rfc:3986",
        "code": f"urn:oid:{dicom.CT_STORAGE}",
    }


async def test_an_invalid_resource_is_not_sent_and_its_values_are_not_told() -> None:
    bad = {"resourceType": "Patient", "gender": ["Jane"], "birthDate": "Doe"}
    with pytest.raises(Refused) as refused:
        await check([_new(bad)], "R4")
    assert "birthDate" in str(refused.value)
    assert "Jane" not in str(refused.value)
    assert "Doe" not in str(refused.value)


async def test_what_was_invalid_before_we_came_is_left_to_the_server() -> None:
    before = {
        "resourceType": "Patient", "id": "1", "theirs": 1,
        "meta": {"versionId": "1", "project": "theirs"},
    }  # fmt: skip
    await check([update(before, {**before, "gender": "female"})], "R4")
    del before["theirs"]
    await check([update(before, {**before, "gender": "female"})], "R4")
    with pytest.raises(Refused, match="gender"):
        await check([update(before, {**before, "gender": 1})], "R4")


def test_what_servers_spell_otherwise_is_no_change() -> None:
    settings = CastSettings("http://fhir")
    study = _study(settings)
    study["started"] = "2024-01-02T11:11:12.000+01:00"
    study["meta"]["source"] += "#a-request"
    assert _study(settings, study) == study
    study["started"] = "2024"
    assert _study(settings, study)["started"] == "2024-01-02T10:11:12+00:00"

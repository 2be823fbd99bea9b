"""Dose reports as Observations in a real FHIR server (spec dicomcast.md §8)."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from tests.support import dicom
from tests.unit.cast.conftest import ENDPOINT, PARTITION, Cast
from tests.unit.cast.reports import code, coded, content, event, number, report

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom of bad values


def _components(observation: dict[str, Any]) -> dict[str, Any]:
    """Value by code."""
    found = {}
    for one in observation.get("component", []):
        (value,) = (item for name, item in one.items() if name.startswith("value"))
        found[one["code"]["coding"][0]["code"]] = value
    return found


def _summary(concept: str) -> Dataset:
    return report(
        number("113813", "521.25", "mGy.cm"),
        number("113812", "2", "{events}"),
        number("113731", "0", "1"),
        number("111636", "1.5", "mGy"),
        content("113811", "CONTAINER", number("113830", "12", "mGy")),
        content(code("349358000", "SRT"), "TEXT", TextValue="FDG"),
        coded(code("410675002", "SCT", "Route"), code("47625008", "SCT", "Intravenous")),
        content("121022", "TEXT", TextValue="A-2"),
        concept=concept,
    )


@pytest.mark.spec("dicomcast", 34)
@pytest.mark.parametrize("concept", ["113701", "113500"])
async def test_a_dose_summary(cast: Cast, concept: str) -> None:
    ds = _summary(concept)
    assert await cast.cast(ds) == []
    (bundle,) = cast.server.bundles()
    kinds = [one["resource"]["resourceType"] for one in bundle["entry"]]
    assert kinds == ["Endpoint", "ImagingStudy", "Observation", "Patient"]
    found = cast.one("Observation")
    assert found["status"] == "preliminary"
    assert found["code"]["coding"][0]["system"] == "http://loinc.org"
    assert found["code"]["coding"][0]["code"] == "73569-6"
    assert found["subject"]["reference"] == f"Patient/{cast.one('Patient')['id']}"
    assert found["partOf"] == [{"reference": f"ImagingStudy/{cast.one('ImagingStudy')['id']}"}]
    assert [one["value"] for one in found["identifier"]] == [
        f"urn:oid:{ds.StudyInstanceUID}", "A-2", f"{ds.SOPInstanceUID}/summary/1",
    ]  # fmt: skip
    assert found["identifier"][1]["type"]["coding"][0]["code"] == "ACSN"
    quantity = {"system": "http://unitsofmeasure.org"}
    assert _components(found) == {
        "113813": {**quantity, "value": 521.25, "unit": "mGy.cm", "code": "mGy.cm"},
        "113812": 2,
        "111636": {**quantity, "value": 1.5, "unit": "mGy", "code": "mGy"},
        "113830": {**quantity, "value": 12, "unit": "mGy", "code": "mGy"},
        "349358000": "FDG",
        "410675002": {
            "coding": [
                {
                    "system": "http://snomed.info/sct",
                    "code": "47625008",
                    "display": "Intravenous",
                }
            ]
        },
    }
    systems = {one["code"]["coding"][0]["system"] for one in found["component"]}
    assert systems == {"http://dicom.nema.org/resources/ontology/DCM", "http://snomed.info/sct"}


@pytest.mark.spec("dicomcast", 35)
async def test_irradiation_events_need_a_uid(cast: Cast) -> None:
    ds = report(
        event(
            "1.2.3.1",
            number("113838", "200", "mGy.cm"),
            coded("113835", code("113690")),
            coded("123014", code("69536005", "SCT", "Head")),
            number("113830", "9.5", "mGy"),
        ),
        event(None, number("113838", "1", "mGy.cm")),
        event("1.2.3.2"),
        event("1.2.3.2"),
    )
    await cast.cast(ds)
    events = {
        one["identifier"][1]["value"]: one
        for one in cast.server.all("Observation")
        if one["code"]["coding"][0]["code"] == "113852"
    }
    assert events.keys() == {f"{ds.SOPInstanceUID}/1.2.3.1", f"{ds.SOPInstanceUID}/1.2.3.2"}
    first = events[f"{ds.SOPInstanceUID}/1.2.3.1"]
    assert first["bodySite"]["coding"][0]["display"] == "Head"
    assert "partOf" not in first
    assert _components(first).keys() == {"113838", "113835", "113830"}


@pytest.mark.spec("dicomcast", 36)
async def test_reports_that_say_nothing_of_dose_or_say_it_badly(cast: Cast) -> None:
    bad = report(
        content(code("\x07" * 3), "NUM"),
        content("113813", "NUM"),
        number("113813", "1", "\x07"),
        event("not a uid"),
        dicom.item(ValueType="NUM"),
        dicom.item(ValueType="NUM", ConceptNameCodeSequence=[dicom.item(CodeMeaning="x")]),
        concept="121111",
    )
    assert await cast.cast(bad) == []
    assert cast.server.all("Observation") == []
    assert cast.one("ImagingStudy")


@pytest.mark.spec("dicomcast", 37)
async def test_observations_can_be_turned_off(cast: Cast) -> None:
    off = cast.with_settings(observations=False)
    ds = _summary("113701")
    await off.cast(ds)
    await off.sync(str(ds.StudyInstanceUID))
    assert not [one for one in cast.server.log() if "Observation" in str(one)]


@pytest.mark.spec("dicomcast", 38)
async def test_a_deleted_report_takes_its_own_observations_and_no_others(cast: Cast) -> None:
    first = report(event("1.2.3.1"))
    second = report(event("1.2.3.9"), StudyInstanceUID=str(first.StudyInstanceUID))
    await cast.cast(first, second)
    study = str(first.StudyInstanceUID)
    theirs = {
        "resourceType": "Observation", "status": "final", "code": {"text": "theirs"},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}],
    }  # fmt: skip
    cast.server.create(theirs)
    assert len(cast.server.all("Observation")) == 5
    cast.server.log()
    await cast.tenant.delete.delete(PARTITION, study, str(first.SeriesInstanceUID))
    await cast.sync(study)
    methods = [
        one["request"]["method"] for bundle in cast.server.bundles() for one in bundle["entry"]
    ]
    assert sorted(methods) == ["DELETE", "DELETE", "PUT"]
    left = [
        one["value"]
        for found in cast.server.all("Observation")
        for one in found["identifier"]
        if one.get("system") == ENDPOINT
    ]
    assert {one.partition("/")[0] for one in left} == {str(second.SOPInstanceUID)}
    await cast.tenant.delete.delete(PARTITION, study)
    await cast.sync(study)
    assert [one["code"] for one in cast.server.all("Observation")] == [theirs["code"]]
    assert cast.server.all("ImagingStudy") == []


async def test_many_events_are_several_transactions_and_doing_it_again_writes_nothing(
    cast: Cast,
) -> None:
    ds = report(*(event(f"1.2.3.{n}", number("113838", str(n), "mGy.cm")) for n in range(30)))
    await cast.cast(ds)
    assert len(cast.server.all("Observation")) == 31
    assert max(len(bundle["entry"]) for bundle in cast.server.bundles()) <= 8
    await cast.sync(str(ds.StudyInstanceUID))
    assert cast.server.bundles() == []
    versions = cast.server.versions()
    ds.ContentSequence[0].ContentSequence[1].MeasuredValueSequence[0].NumericValue = "99"
    await cast.cast(ds)
    changed = [
        name for name, version in cast.server.versions().items() if versions[name] != version
    ]
    assert len(changed) == 1
    assert changed[0].startswith("Observation/")

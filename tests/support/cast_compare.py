"""What FHIR should have of an archive, worked out anew and not with the service's own code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Stored:
    """An instance of the archive: its DICOM JSON, and what sorts it by time of storing."""

    version: str
    data_set: Mapping[str, Any]

    def value(self, tag: str) -> Any:
        """The first value of an element."""
        values = self.data_set.get(tag, {}).get("Value") or [None]
        return values[0]


def of_archive(instances: Iterable[Stored]) -> dict[str, Any]:
    """Study → what its ImagingStudy says; of members that differ the newest wins."""
    studies: dict[str, Any] = {}
    for one in sorted(instances, key=lambda one: one.version):
        study = studies.setdefault(
            one.value("0020000D"),
            {"series": {}, "notes": set(), "accessions": set(), "count": 0},
        )
        study["patient"] = one.value("00100020")
        study["notes"].add(one.value("00081030"))
        study["accessions"].add(one.value("00080050"))
        study["count"] += 1
        series = study["series"].setdefault(one.value("0020000E"), {"instances": {}})
        series["number"] = one.value("00200011")
        series["modality"] = one.value("00080060")
        series["instances"][one.value("00080018")] = (
            one.value("00080016"),
            one.value("00200013"),
        )
    return studies


def of_fhir(resources: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The same from the resources of a FHIR server, by type. Two of one study are an error."""
    patients = {f"Patient/{one['id']}": one for one in resources["Patient"]}
    values = [one["identifier"][0]["value"] for one in patients.values()]
    assert len(values) == len(set(values)), "a patient is there twice"
    assert len(resources["Endpoint"]) <= 1, "an endpoint is there twice"
    studies: dict[str, Any] = {}
    for one in resources["ImagingStudy"]:
        uid = one["identifier"][0]["value"].removeprefix("urn:oid:")
        assert uid not in studies, "a study is there twice"
        studies[uid] = {
            "series": {
                series["uid"]: {
                    "number": series.get("number"),
                    "modality": series["modality"]["code"],
                    "instances": {
                        instance["uid"]: (instance["sopClass"]["code"], instance.get("number"))
                        for instance in series["instance"]
                    },
                }
                for series in one["series"]
            },
            "notes": {note["text"] for note in one.get("note", [])},
            "accessions": {other["value"] for other in one["identifier"][1:]},
            "count": one["numberOfInstances"],
            "patient": patients[one["subject"]["reference"]]["identifier"][0]["value"],
        }
    return studies


def names_of_archive(instances: Iterable[Stored]) -> dict[str, str]:
    """Patient → family name, of the newest instance; those of a study that is another's are not."""
    ordered = sorted(instances, key=lambda one: one.version)
    of_study = {one.value("0020000D"): one.value("00100020") for one in ordered}
    return {
        one.value("00100020"): one.value("00100010")["Alphabetic"].partition("^")[0]
        for one in ordered
        if one.value("00100020") == of_study[one.value("0020000D")]
    }


def names_of_fhir(resources: Mapping[str, list[dict[str, Any]]]) -> dict[str, str]:
    """The same from the patients of a FHIR server."""
    return {one["identifier"][0]["value"]: one["name"][0]["family"] for one in resources["Patient"]}

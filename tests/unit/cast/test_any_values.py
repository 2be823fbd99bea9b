"""Whatever an instance says: it becomes valid FHIR, or a problem that names the element."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.cast import values
from shared.cast.checking import _faults
from shared.cast.observations import observations
from shared.cast.picture import Painter
from shared.cast.resources import imaging_study, patient
from shared.cast_settings import CastSettings, FhirVersion
from tests.support import dicom

_TAGS = [
    value
    for name, value in vars(values).items()
    if not name.startswith("_") and isinstance(value, str) and len(value) == 8
]
_SOME_TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "20240102", "101112.5", "+0130", "M", "X", "CT", "Doe^Jane", "7", "-7", "1.2.3"]
    ),
)
_VALUE: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), _SOME_TEXT,
    st.dictionaries(st.sampled_from(["Alphabetic", "Ideographic"]), _SOME_TEXT, max_size=2),
    st.lists(st.integers(), max_size=2),
)  # fmt: skip
_ELEMENT = st.one_of(
    st.just({"vr": "LO"}),
    st.builds(lambda some: {"vr": "LO", "Value": some}, st.lists(_VALUE, max_size=2)),
)
_DATA_SET = st.dictionaries(st.sampled_from(_TAGS), _ELEMENT, max_size=len(_TAGS))
_USUAL = {
    values.PATIENT_ID: {"vr": "LO", "Value": ["P"]},
    values.SOP_CLASS_UID: {"vr": "UI", "Value": [dicom.CT_STORAGE]},
}


@given(st.lists(_DATA_SET, min_size=1, max_size=4), st.booleans(), st.sampled_from(["R4", "R5"]))
@settings(max_examples=150, deadline=None)
def test_any_instances(data_sets: list[dict[str, Any]], usual: bool, version: FhirVersion) -> None:
    chosen = CastSettings("http://fhir", fhir_version=version, patient_system="urn:p")
    painter = Painter("1.2", chosen)
    for number, data_set in enumerate(data_sets):
        painter.add(
            {
                "study": "1.2",
                "series": f"1.3.{number % 2}",
                "instance": f"1.4.{number}",
                "version": str(9 - number),
                "d": {**data_set, **(_USUAL if usual else {})},
            }
        )
    picture = painter.finished()
    refused = [one.instance for one in picture.problems if one.kind == "refused"]
    there = [one.uid for series in picture.series.values() for one in series.instances]
    assert sorted(refused + there) == [f"1.4.{number}" for number in range(len(data_sets))]
    if picture.person is None:
        return
    made = [
        patient(None, picture.person),
        imaging_study(
            None, picture, subject="Patient/1", endpoint="Endpoint/1", source="http://x/",
            settings=chosen,
        ),
    ]  # fmt: skip
    for resource in made:
        assert _faults(resource, version) == []


_CODE = st.fixed_dictionaries(
    {},
    optional={
        "00080100": st.one_of(
            _ELEMENT,
            st.sampled_from(
                [
                    {"vr": "SH", "Value": [code]}
                    for code in ("113701", "113819", "113769", "113813", "113812", "123014")
                ]
            ),
        ),
        "00080102": st.one_of(_ELEMENT, st.just({"vr": "SH", "Value": ["DCM"]})),
        "00080104": _ELEMENT,
    },
)


def _sequence(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(lambda some: {"vr": "SQ", "Value": some}, st.lists(items, max_size=3))


_MEASURED = st.fixed_dictionaries(
    {}, optional={"0040A30A": _ELEMENT, "004008EA": _sequence(st.one_of(_CODE, _VALUE))}
)


def _item(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(
        {"0040A043": _sequence(_CODE)},
        optional={
            "0040A730": _sequence(st.one_of(children, _VALUE)),
            "0040A300": _sequence(st.one_of(_MEASURED, _VALUE)),
            "0040A168": _sequence(_CODE),
            "0040A160": _ELEMENT,
            "0040A124": st.one_of(_ELEMENT, st.just({"vr": "UI", "Value": ["1.2.3"]})),
        },
    )


@given(st.recursive(_item(st.nothing()), _item, max_leaves=12))
@settings(max_examples=150, deadline=None)
def test_any_report(report: dict[str, Any]) -> None:
    made = observations(
        report, study="1.2", instance="1.3", subject="Patient/1", part_of="ImagingStudy/1",
        source="http://x/",
    )  # fmt: skip
    for one in made:
        assert _faults(one, "R4") == []

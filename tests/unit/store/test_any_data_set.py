"""Whatever pydicom can write: the file stays as it is, and the metadata say what it says."""

from __future__ import annotations

import base64
import io
import json
import math
from datetime import datetime
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from shared.retrieve.instances import Address
from shared.store.models import Stored
from tests.support import dicom
from tests.unit.store.conftest import URL, Tenant

_FIRST = datetime(1900, 1, 1)  # noqa: DTZ001 — DT without an offset
_LETTERS = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\\")
_PLAIN = st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\")


def _text(most: int, letters: Any = _LETTERS) -> st.SearchStrategy[str]:
    return st.text(letters, max_size=most).map(str.rstrip)


_name = st.lists(
    st.lists(
        st.text(
            st.characters(
                codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\\^="
            ),
            max_size=10,
        ).map(str.strip),
        max_size=5,
    ).map("^".join),
    min_size=1,
    max_size=3,
).map("=".join)
_uid = st.lists(st.integers(0, 10**6).map(str), min_size=2, max_size=8).map(".".join)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "AE": _text(16, _PLAIN).map(str.strip),  # leading spaces mean nothing (PS3.5 6.2)
    "AS": st.from_regex(r"\A[0-9]{3}[DWMY]\Z"),
    "AT": st.integers(0x00080000, 0x7FE0FFFF),
    "CS": st.from_regex(r"\A[A-Z0-9_]{0,16}\Z"),
    "DA": st.dates().map(lambda day: f"{day:%Y%m%d}".rjust(8, "0")),
    "DS": st.decimals(-(10**9), 10**9, places=3, allow_nan=False).map(lambda n: f"{n:f}"),
    "DT": st.datetimes(_FIRST).map(lambda moment: f"{moment:%Y%m%d%H%M%S.%f}"),
    "FD": st.floats(),
    "FL": st.floats(width=32),
    "IS": st.integers(-(2**31), 2**31 - 1).map(str),
    "LO": _text(64),
    "LT": _text(1000),
    "PN": _name,
    "SH": _text(16),
    "SL": st.integers(-(2**31), 2**31 - 1),
    "SS": st.integers(-(2**15), 2**15 - 1),
    "ST": _text(200),
    "SV": st.integers(-(2**63), 2**63 - 1),
    "TM": st.times().map(lambda time: f"{time:%H%M%S.%f}"),
    "UC": _text(200),
    "UI": _uid,
    "UL": st.integers(0, 2**32 - 1),
    "UR": st.from_regex(r"\A[a-z]+:[A-Za-z0-9/.?=&_~-]{0,60}\Z"),
    "US": st.integers(0, 2**16 - 1),
    "UT": _text(300),
    "UV": st.integers(0, 2**64 - 1),
    "OB": st.binary(max_size=2000).map(lambda data: data + b"\0" * (len(data) % 2)),
}
_ONE: dict[str, str] = {
    "AE": "RetrieveAETitle", "AS": "PatientAge", "AT": "FrameIncrementPointer",
    "CS": "BodyPartExamined", "DA": "ContentDate", "DS": "PatientWeight",
    "DT": "AcquisitionDateTime", "FD": "RealWorldValueSlope", "FL": "ExaminedBodyThickness",
    "IS": "InstanceNumber", "LO": "InstitutionName", "LT": "AdditionalPatientHistory",
    "PN": "OperatorsName", "SH": "StationName", "SL": "ReferencePixelX0",
    "SS": "TagAngleSecondAxis", "ST": "InstitutionAddress", "SV": "SelectorSVValue",
    "TM": "ContentTime", "UC": "LongCodeValue", "UI": "FrameOfReferenceUID",
    "UL": "SimpleFrameList", "UR": "URNCodeValue", "US": "SeriesNumber", "UT": "TextValue",
    "UV": "SelectorUVValue", "OB": "EncapsulatedDocument",
}  # fmt: skip
_SEVERAL = {
    "AT": "FrameIncrementPointer", "CS": "ImageType", "DS": "ImageOrientationPatient",
    "FD": "SelectorFDValue", "FL": "SelectorFLValue", "LO": "OtherPatientIDs",
    "PN": "OtherPatientNames", "SL": "SelectorSLValue", "SS": "SelectorSSValue",
    "UI": "RelatedGeneralSOPClassUID", "UL": "SelectorULValue", "US": "SelectorUSValue",
}  # fmt: skip
_ONE["US"] = "PrivateGroupReference"
_SEQUENCES = ("ReferencedStudySequence", "RequestAttributesSequence", "ContentSequence")


@st.composite
def _data_sets(draw: st.DrawFn, depth: int = 2) -> Dataset:
    ds = Dataset()
    for vr in draw(st.lists(st.sampled_from(sorted(_ONE)), unique=True, max_size=12)):
        tag = tag_for_keyword(_ONE[vr])
        assert tag is not None
        ds.add_new(tag, vr, draw(_VALUES[vr]))
    for vr in draw(st.lists(st.sampled_from(sorted(_SEVERAL)), unique=True, max_size=4)):
        tag = tag_for_keyword(_SEVERAL[vr])
        assert tag is not None
        size = 6 if vr == "DS" else 2
        ds.add_new(tag, vr, draw(st.lists(_VALUES[vr], min_size=size, max_size=size)))
    if depth:
        for keyword in draw(st.lists(st.sampled_from(_SEQUENCES), unique=True, max_size=2)):
            setattr(ds, keyword, draw(st.lists(_data_sets(depth=depth - 1), max_size=2)))
    return ds


def _written(ds: Dataset, syntax: str) -> bytes:
    ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in (
        ("SOPClassUID", dicom.CT_STORAGE),
        ("StudyInstanceUID", dicom.new_uid()),
        ("SeriesInstanceUID", dicom.new_uid()),
        ("SOPInstanceUID", dicom.new_uid()),
        ("PatientID", "P"),
    ):
        setattr(ds, keyword, value)
    return dicom.part10(ds, syntax)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom counts bytes where characters count
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    ds=_data_sets(),
    syntax=st.sampled_from(
        [dicom.EXPLICIT_LE, dicom.IMPLICIT_LE, dicom.EXPLICIT_BE, dicom.DEFLATED]
    ),
)
async def test_any_data_set_survives(tenant: Tenant, ds: Dataset, syntax: str) -> None:
    data = _written(ds, syntax)
    result = await tenant.store(data)
    assert [type(row) for row in result.rows] == [Stored], result.rows
    assert not result.stored[0].comments
    key = result.stored[0].key
    found = await tenant.documents.get("index", key.pk, key.document_id)
    assert found is not None
    assert tenant.blobs.content[found.body["blob"]] == data
    metadata = await tenant.retrieve.metadata(
        Address(key.partition.lower(), key.study, key.series, key.instance)
    )
    content = tenant.retrieve.metadata_content(metadata, URL, gzip=False)
    [row] = json.loads(b"".join([piece async for piece in content]))
    bulk = {} if syntax == dicom.DEFLATED else found.body.get("bulk", {})
    _compare(
        row,
        pydicom.dcmread(io.BytesIO(data)),
        "",
        {path: data[offset : offset + length] for path, (offset, length) in bulk.items()},
    )


def _compare(row: dict[str, Any], ds: Dataset, path: str, bulk: dict[str, bytes]) -> None:
    assert list(row) == [f"{element.tag:08X}" for element in ds]
    for element in ds:
        found = row[f"{element.tag:08X}"]
        assert found["vr"] == element.VR
        where = f"{path}{element.tag:08X}"
        if element.VR == "SQ":
            items = found.get("Value", [])
            assert len(items) == len(element.value)
            for number, (item, below) in enumerate(zip(items, element.value, strict=True), 1):
                _compare(item, below, f"{where}.{number}.", bulk)
        elif element.VR == "OB":
            if "BulkDataURI" in found:
                assert found["BulkDataURI"].endswith(f"/bulkdata/{where}")
                assert bulk.get(where, element.value) == element.value
            else:
                assert base64.b64decode(found.get("InlineBinary", "")) == (element.value or b"")
        else:
            values = element.value if element.VM > 1 else [element.value] if element.VM else []
            expected = [_expected(element.VR, value) for value in values]
            assert found.get("Value", []) == ([] if expected == [None] else expected), where


def _expected(vr: str, value: Any) -> Any:
    """A value as the DICOM JSON model has it (PS3.18 F.2)."""
    if value is None or value == "":
        return None
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.components, strict=False)
        return {name: text for name, text in groups if text} or None
    if vr == "AT":
        return f"{value:08X}"
    if vr in ("DS", "IS"):
        return float(value)
    if vr in ("FL", "FD") and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value if isinstance(value, int | float) else str(value)

"""Dose reports as a scanner makes them (PS3.16 TID 10001, 10011, 10021)."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from tests.support import dicom

CT_DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"


def code(value: str, scheme: str = "DCM", meaning: str = "") -> Dataset:
    """An item of a code sequence."""
    return dicom.item(
        CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning or f"m{value}"
    )


def content(concept: str | Dataset, kind: str, *children: Dataset, **attributes: Any) -> Dataset:
    """A content item."""
    named = concept if isinstance(concept, Dataset) else code(concept)
    made = dicom.item(ValueType=kind, ConceptNameCodeSequence=[named], **attributes)
    if children:
        made.ContentSequence = list(children)
    return made


def number(concept: str | Dataset, value: str, unit: str) -> Dataset:
    """A measurement."""
    measured = dicom.item(
        NumericValue=value, MeasurementUnitsCodeSequence=[code(unit, "UCUM", unit)]
    )
    return content(concept, "NUM", MeasuredValueSequence=[measured])


def coded(concept: str | Dataset, value: Dataset) -> Dataset:
    """A coded value."""
    return content(concept, "CODE", ConceptCodeSequence=[value])


def event(uid: str | None, *children: Dataset) -> Dataset:
    """A CT acquisition."""
    named = [] if uid is None else [content("113769", "UIDREF", UID=uid)]
    return content("113819", "CONTAINER", *named, *children)


def report(*children: Dataset, concept: str = "113701", **attributes: Any) -> Dataset:
    """A report in a file."""
    values: dict[str, Any] = {
        "SOPClassUID": CT_DOSE_REPORT,
        "Modality": "SR",
        "ValueType": "CONTAINER",
        "ConceptNameCodeSequence": [code(concept)],
        "ContentSequence": list(children),
        "StudyTime": "101112",
        "AccessionNumber": "A-1",
        **dict.fromkeys(
            (
                "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns",
                "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
            )
        ),
    }  # fmt: skip
    return dicom.instance(**(values | attributes))

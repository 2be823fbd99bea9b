"""Facts of the DICOM standard: parsing, the JSON model, frames, validation. Pure: no I/O."""

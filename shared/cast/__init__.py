"""DICOMcast: each study as Patient, ImagingStudy, Endpoint and Observation in FHIR."""

"""FHIR servers."""

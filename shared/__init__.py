"""The DICOM service: use cases, the rules of the standard, ports and adapters."""

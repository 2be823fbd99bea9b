"""Retrieve instances, frames, metadata and bulk data (PS3.18 10.4)."""

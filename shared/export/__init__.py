"""Copies of stored files in a container of the caller's, as an operation."""

"""Unit tests of the change feed."""

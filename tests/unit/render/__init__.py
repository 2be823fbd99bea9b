"""Unit tests of rendering."""

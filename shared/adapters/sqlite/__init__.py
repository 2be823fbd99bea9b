"""The embedded index of one machine."""

"""Store instances (PS3.18 10.5)."""

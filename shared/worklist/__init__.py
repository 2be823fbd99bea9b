"""The worklist: Unified Procedure Steps (PS3.18 11, PS3.4 CC)."""

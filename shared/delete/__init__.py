"""Delete studies, series and instances (spec §5), and purge their files later."""

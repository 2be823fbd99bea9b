"""Bodies of the ports."""

"""A running Ray cluster."""

"""A running Ray cluster, by its Jobs API."""

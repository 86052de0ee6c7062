"""Slurm: an array of shards, each a job with its own Ray."""

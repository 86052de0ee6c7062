"""Slurm: an array of shards, each a job with a Ray of its own."""

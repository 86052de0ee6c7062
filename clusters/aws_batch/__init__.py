"""AWS Batch: an array of shards, each a container with its own Ray."""

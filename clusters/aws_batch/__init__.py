"""AWS Batch: an array of shards, each a container with a Ray of its own."""

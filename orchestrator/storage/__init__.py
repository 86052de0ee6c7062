"""Bytes by key, in a folder or in S3; leases; data sets on every node."""

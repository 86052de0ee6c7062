"""AWS: clients that every service shares, and the policy of a storage in S3."""

"""What several kinds of cluster use."""

"""Where a study runs: one folder per kind of cluster, found by its name."""

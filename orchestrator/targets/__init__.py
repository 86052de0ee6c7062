"""Who runs submissions: one file per target; orchestrator.submission lists them."""

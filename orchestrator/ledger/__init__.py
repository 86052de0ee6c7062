"""What was measured: one immutable record per trial, committed once."""

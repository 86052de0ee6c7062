"""What data sets there are: list, check, fetch, preview."""

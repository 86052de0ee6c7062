"""What came out: statistics, tables, figures and the page."""

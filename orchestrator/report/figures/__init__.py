"""What is drawn: one file per figure. Nothing else of the report knows matplotlib."""

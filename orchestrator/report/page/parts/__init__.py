"""The parts of the page: one file each, with its template beside it."""

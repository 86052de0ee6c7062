"""This machine, with a Ray for the length of a sweep."""

"""Data sets that a study file declares: tables, arrays, images and maps of one's own."""

"""Data sets that a study file declares: custom tables, arrays, images and maps."""

"""Trained models as folders: made from a study, read again without it, and served."""

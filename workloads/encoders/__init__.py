"""Encoders: inputs `[B, …]` to features `[B, D]`, one file per kind of input. The head is the model's."""

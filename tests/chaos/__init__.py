"""Sweeps that are killed, stopped, cut off and lied to, again and again; see `chaos.run`."""

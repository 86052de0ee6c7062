"""Seeds derived from names, so that no two consumers of randomness share a stream and no order of events matters."""

import hashlib


def seed_of(*names: str | int) -> int:
    """A seed in [0, 2⁶³) that depends on all the names and on nothing else."""
    text = "\x1f".join(map(str, names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1

"""Which keys a storage takes: plain relative names, so that none leaves its root."""

from pathlib import PurePosixPath
from typing import Final

from orchestrator.errors import BadInput

LONGEST: Final = 900
"""Bytes of a key; S3 allows 1,024 with the prefix."""


def checked(key: str) -> str:
    """The key itself; raises BadInput for one that is empty, absolute, or has `.`, `..`, `//`, a backslash or a control
    character in it."""
    law = "a key of a storage is a relative name without '.', '..', backslashes and control characters"
    odd = any(ord(sign) < 32 or ord(sign) == 127 for sign in key) or "\\" in key
    if key in {"", "."} or odd or key.startswith("/") or ".." in key.split("/") or str(PurePosixPath(key)) != key:
        raise BadInput(f"{law}: got {key[:200]!r}")
    if len(key.encode("utf-8", "surrogateescape")) > LONGEST:
        raise BadInput(f"a key of a storage has at most {LONGEST} bytes: got {key[:200]!r}…")
    return key


def checked_prefix(prefix: str) -> str:
    """The prefix itself, which may be empty or end in `/`; raises BadInput as `checked` does."""
    if prefix:
        checked(prefix.removesuffix("/"))
    return prefix

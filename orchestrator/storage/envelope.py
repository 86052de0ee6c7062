"""Bytes with a checksum before them, for what is kept under a key and has no checksum in its own format."""

import hashlib
from typing import Final

from orchestrator.errors import StorageFailed

MARK: Final = b"tailsweep envelope 1\n"
DIGEST: Final = 32


class NotWhole(StorageFailed):
    """Bytes are not what was put into the envelope of that name."""


def wrapped(name: str, content: bytes) -> bytes:
    """The content in an envelope: mark, SHA-256 of name and content, content."""
    return MARK + _digest(name, content) + content


def is_wrapped(data: bytes) -> bool:
    """Whether it is an envelope, of any name."""
    return data.startswith(MARK)


def unwrapped(name: str, data: bytes) -> bytes:
    """The content of an envelope; raises NotWhole when a bit of it, or its name, is another one."""
    content = data[len(MARK) + DIGEST :]
    if not is_wrapped(data) or data[len(MARK) : len(MARK) + DIGEST] != _digest(name, content):
        raise NotWhole(f"{name} is damaged: its checksum does not fit")
    return content


def _digest(name: str, content: bytes) -> bytes:
    digest = hashlib.sha256(name.encode())
    digest.update(b"\0")
    digest.update(content)
    return digest.digest()

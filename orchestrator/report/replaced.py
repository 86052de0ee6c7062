"""Figures of an earlier report that are drawn no more: removed where they are as they were written."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from orchestrator.storage.store import Store

MANIFEST: Final = "figures/written.json"
"""Digests of the files that the last report wrote, by name."""


def replaced(store: Store, study: str, written: Mapping[str, bytes]) -> None:
    """Remove the files of the last report that are not among those `written` now, and remember these.

    A file that somebody else put or changed there is left alone.
    """
    key = f"{study}/{MANIFEST}"
    for name, digest in _digests(store.get(key)).items():
        if name not in written and PurePosixPath(name).parent == PurePosixPath("figures"):
            there = store.get(f"{study}/{name}")
            if there is not None and _digest(there) == digest:
                store.delete(f"{study}/{name}")
    store.put(key, json.dumps({name: _digest(content) for name, content in written.items()}, indent=1).encode())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _digests(manifest: bytes | None) -> dict[str, str]:
    """What a manifest says; nothing where there is none, or where it is not one of ours."""
    try:
        tree = json.loads(manifest or b"{}")
    except ValueError:
        return {}
    known = tree.items() if isinstance(tree, dict) else ()
    return {name: digest for name, digest in known if isinstance(digest, str)}

"""The definition of a study that its storage keeps, under `<study>/study.json`."""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator import yaml12
from orchestrator.errors import BadInput, StorageFailed, one_line, shown
from orchestrator.storage.store import Store
from orchestrator.study.checks import NAME
from orchestrator.study.spec import Study


def definition_key(study: str) -> str:
    """Where a study's definition lies; raises BadInput for what can be no study's name."""
    if NAME.fullmatch(study) is None:
        raise BadInput(f"a stored study is named by its name: got {shown(study)}")
    return f"{study}/study.json"


def definition(store: Store, study: str) -> str | None:
    """The JSON of a study that the storage holds, or None; raises StorageFailed with its place where it is damaged."""
    key = definition_key(study)
    written = store.get(key)
    if written is None:
        return None
    try:
        text = written.decode()
        Study.read(text, key, environ={})
        return _understood(text, key)
    except (UnicodeDecodeError, BadInput) as err:
        raise StorageFailed(
            f"{store.locate(key)} is no definition of a study: {one_line(err, 300)}; put it back, or sweep the study "
            "from its file with --replace: trained trials are kept and used"
        ) from None


def _understood(text: str, key: str) -> str:
    """The text of a definition that says its protocol: one that was stored before there was a second has the first."""
    tree = yaml12.load(text, key)
    return text if not isinstance(tree, dict) or "protocol" in tree else json.dumps({**tree, "protocol": 1})


def difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys in which two study definitions differ, with both values, in words."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            lines += difference(a, b, f"{prefix}{key}.")
        elif a != b:
            lines.append(f"{prefix}{key}: {a!r} there, {b!r} here")
    return lines

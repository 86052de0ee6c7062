"""The first law that a mapping breaks, as pydantic finds it, in words: the key, the law, the value."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from orchestrator.errors import shown

_FIRST: Final = ("extra_forbidden", "value_error")
"""Errors that say more than that a value is of another kind."""
_SHOULD: Final = "Input should be "


@dataclass(frozen=True)
class Broken:
    """A law that is broken: the keys that lead to the value, pydantic's name of the error, the law and the value."""

    keys: tuple[str, ...]
    kind: str
    law: str
    value: Any
    cause: Exception | None = None

    @property
    def where(self) -> str:
        """`tune.trials`."""
        return ".".join(self.keys)


def broken(err: ValidationError, tree: object) -> Broken:
    """The first law that `tree` breaks.

    Where a key takes several kinds of values, pydantic tells an error for each under the name of that kind: those names
    are no keys, and their laws are told as one.
    """
    errors = err.errors(include_url=False)
    first = min(
        errors,
        key=lambda each: (each["type"] not in _FIRST, isinstance(each["input"], Mapping | list), len(each["loc"])),
    )
    keys = _keys(first["loc"], tree, first["type"])
    laws = [first["msg"]]
    if first["type"] not in (*_FIRST, "missing"):
        others = (each for each in errors if _keys(each["loc"], tree, each["type"]) == keys)
        laws = list(dict.fromkeys(each["msg"] for each in others))
    law = _SHOULD + " or ".join(each.removeprefix(_SHOULD) for each in laws) if len(laws) > 1 else laws[0]
    cause = first["ctx"].get("error") if first["type"] == "value_error" else None
    return Broken(keys, first["type"], law, first["input"], cause)


def _keys(loc: Sequence[str | int], tree: object, kind: str) -> tuple[str, ...]:
    """The parts of a place that are keys or positions of the tree."""
    keys: list[str] = []
    for number, part in enumerate(loc):
        last = number == len(loc) - 1
        at: Any = tree
        known = isinstance(tree, Mapping) and part in tree
        if known or (isinstance(tree, list | tuple) and isinstance(part, int) and part < len(tree)):
            tree = at[part]
        elif not (last and kind == "missing"):
            continue
        keys.append(str(part))
    return tuple(keys)


def unknown(key: object, known: Iterable[str], where: str, kind: str = "key") -> str:
    """What is said of a name that there is not, with the nearest one that there is."""
    names = list(known)
    near = difflib.get_close_matches(str(key)[:80], names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {kind} {shown(key)} in {where}; known: {', '.join(names)}{hint}"

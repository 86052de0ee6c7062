"""The one reader of YAML: studies, cluster profiles, and values of `--set`, `--cluster-set` and the environment.

Plain scalars are read by the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema): `1e-3` is a
number, `yes`, `24:00:00` and dates are text, `010` is ten. A key that stands twice, an anchor that is repeated beyond
reason, and what is too deep, too long or of another type are refused: a file of others can neither be misread nor keep
the machine busy.
"""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from yaml import events

from orchestrator.errors import one_line, shown

CHARS: Final = 1 << 20
"""Of a text."""
NODES: Final = 20_000
"""Of a tree, with what aliases repeat."""
DEPTH: Final = 50
DIGITS: Final = 40
"""Of a whole number; a longer one is text, in quotes."""

_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = "<<"
_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE, _FALSE = re.compile(r"true|True|TRUE"), re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL, _HEX = re.compile(r"0o[0-7]+"), re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"(?P<sign>[-+]?)\.(inf|Inf|INF)")
_NAN = re.compile(r"\.nan|\.NaN|\.NAN")


def load(text: str, name: str) -> Any:
    """The value that a text of YAML holds; None where it is empty.

    `name` says where the text is from. Raises ValueError with one message for whatever is wrong with it.
    """
    if len(text) > CHARS:
        raise ValueError(f"{name} must be YAML of at most {CHARS:,} characters: got {len(text):,}")
    try:
        return _Reader(name).document(yaml.parse(text, Loader=_PARSER))
    except _Refused as err:
        raise ValueError(str(err)) from None
    except Exception as err:  # the parser raises more than YAMLError: whatever it is, the text is no YAML
        reason = one_line(err, 400).replace(' in "<unicode string>",', " in")
        raise ValueError(f"{name} must be YAML: {reason}") from None


def load_file(path: Path, what: str) -> Any:
    """The value that a file of YAML in UTF-8 holds; raises ValueError with one message."""
    return load(read_text(path, what), str(path))


def read_text(path: Path, what: str) -> str:
    """The text of a file in UTF-8 that may be YAML; raises ValueError with one message."""
    try:
        if not path.is_file():  # a pipe or a device would be waited for
            raise ValueError("there is no such file" if not path.exists() else "it is no file")
        with path.open("rb") as stream:
            data = stream.read(4 * CHARS + 4)
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise ValueError(f"{what} {path} must be a text file in UTF-8: byte {err.start} is none of it") from None
    except (OSError, ValueError, RuntimeError) as err:
        reason = getattr(err, "strerror", None) or err
        raise ValueError(f"{what} {shown(str(path))} must be a readable file: {reason}") from None


class _Refused(Exception):
    """A law of this reader that a text breaks."""


@dataclass(frozen=True)
class _Node:
    """A value, and how many nodes it is made of."""

    value: Any
    nodes: int


class _Reader:
    """Events of the parser as one tree of dicts, lists and scalars."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes = 0
        self._anchors: dict[str, _Node] = {}

    def document(self, stream: Iterator[Any]) -> Any:
        """The only document of a stream."""
        found: list[Any] = []
        for event in stream:
            if isinstance(event, events.DocumentStartEvent):
                if found:
                    raise _Refused(f"{self._name} must be one document: a second one begins {_at(event)}")
                found.append(self._node(next(stream), stream, 1))
        return found[0] if found else None

    def _node(self, event: Any, stream: Iterator[Any], depth: int) -> Any:
        if isinstance(event, events.AliasEvent):
            return self._repeated(event)
        before = self._nodes
        self._count(1, event)
        if depth > DEPTH:
            raise _Refused(f"{self._name} must be YAML of at most {DEPTH} levels: a deeper one begins {_at(event)}")
        if isinstance(event, events.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, events.SequenceStartEvent):
            self._check_tag(event, "seq")
            value = self._items(stream, depth)
        else:
            self._check_tag(event, "map")
            value = self._mapping(stream, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Node(value, self._nodes - before)
        return value

    def _count(self, nodes: int, event: Any) -> None:
        self._nodes += nodes
        if self._nodes > NODES:
            raise _Refused(
                f"{self._name} must hold at most {NODES:,} values, with those that aliases repeat: more {_at(event)}"
            )

    def _repeated(self, event: Any) -> Any:
        """A copy of what an alias stands for: two places of a tree never change together."""
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _Refused(
                f"{self._name}: *{one_line(event.anchor, 80)} {_at(event)} stands for nothing that was told before"
            )
        self._count(node.nodes, event)
        return copy.deepcopy(node.value)

    def _items(self, stream: Iterator[Any], depth: int) -> list[Any]:
        items = []
        while not isinstance(event := next(stream), events.SequenceEndEvent):
            items.append(self._node(event, stream, depth + 1))
        return items

    def _mapping(self, stream: Iterator[Any], depth: int) -> dict[str, Any]:
        """A mapping; what `<<` brings counts where the mapping itself says nothing."""
        own: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: list[Any] = []
        while not isinstance(event := next(stream), events.MappingEndEvent):
            if not isinstance(event, events.ScalarEvent):
                raise _Refused(f"{self._name}: a key must be a word: got a list, mapping or alias {_at(event)}")
            key, line = event.value, _line(event)
            value = self._node(next(stream), stream, depth + 1)
            if key == _MERGE and event.implicit[0]:
                merged += value if isinstance(value, list) else [value]
                continue
            if key in own:
                raise _Refused(
                    f"{self._name}: the key {shown(key)} stands twice, in line {lines[key]} and in line {line}; "
                    "keep one of them"
                )
            own[key], lines[key] = value, line
        if any(not isinstance(each, dict) for each in merged):
            raise _Refused(f"{self._name}: << takes mappings: got {shown(merged)}")
        below: dict[str, Any] = {}
        for each in reversed(merged):  # the first of several counts
            below |= each
        return below | own

    def _check_tag(self, event: Any, known: str) -> None:
        if event.tag not in (None, "!", _TAG + known):
            raise self._foreign(event)

    def _foreign(self, event: Any) -> _Refused:
        return _Refused(
            f"{self._name} must be YAML of plain values: got the type {shown(event.tag)} {_at(event)}; leave it out"
        )

    def _scalar(self, event: Any) -> Any:
        if event.tag in (None, "!"):
            return self._plain(event.value) if event.implicit[0] else event.value
        read = _TAGGED.get(event.tag)
        if read is None:
            raise self._foreign(event)
        value = read(self._plain(event.value), event.value)
        if value is None and event.tag != _TAG + "null":
            raise _Refused(f"{self._name}: {shown(event.value)} {_at(event)} is no {event.tag.removeprefix(_TAG)}")
        return value

    def _plain(self, text: str) -> Any:
        for pattern, read in _CORE:
            found = pattern.fullmatch(text)
            if found is not None:
                if len(text) > DIGITS and read in _WHOLE:
                    raise _Refused(
                        f"{self._name}: a whole number has at most {DIGITS} digits: got {len(text)}; "
                        "put it in quotes if it is text"
                    )
                return read(found[0])
        return text


def _octal(text: str) -> int:
    return int(text, 8)


def _hexadecimal(text: str) -> int:
    return int(text, 16)


_WHOLE: Final = (int, _octal, _hexadecimal)
_CORE: Final[tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]] = (
    (_NULL, lambda _: None),
    (_TRUE, lambda _: True),
    (_FALSE, lambda _: False),
    (_INT, int),
    (_OCTAL, _octal),
    (_HEX, _hexadecimal),
    (_FLOAT, float),
    (_INFINITE, lambda text: float(text.replace(".", ""))),
    (_NAN, lambda _: float("nan")),
)


def _only(*kinds: type) -> Callable[[Any, str], Any]:
    """Takes a scalar that is read as one of these kinds; None stands for others."""
    return lambda value, _: value if type(value) in kinds else None


_TAGGED: Final[dict[str, Callable[[Any, str], Any]]] = {
    _TAG + "str": lambda _, text: text,
    _TAG + "int": _only(int),
    _TAG + "bool": _only(bool),
    _TAG + "null": lambda _value, _text: None,
    _TAG + "float": lambda value, _: float(value) if type(value) in (int, float) else None,
}


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _at(event: Any) -> str:
    return f"in line {_line(event)}"

"""Values of any Arrow type as numbers or words, with the nulls of every type as gaps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from workloads.labels import Floats, Ints

Bools: TypeAlias = npt.NDArray[np.bool_]

PLAIN: Final = frozenset({"", "na", "n/a", "nan", "null", "#n/a", "#na", "<na>", "nat", "#n/a n/a"}) | frozenset(
    {"-nan", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
"""Spellings of a gap, in small letters, that mean nothing else: a column of these alone is one of gaps."""
GAPS: Final = PLAIN | {"?", "-", "--", "---", "–", "—", ".", "..", "*", "none", "nil", "missing", "unknown", "unk"}
"""Spellings of a gap where all other cells of the column are numbers."""
NUMBER: Final = r"(?i)^[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity)$"
FEW: Final = 10
"""Distinct numbers beside which words are taken for words: a code such as 1, 2, 3, crew. Beside more, for slips."""


class Stray(ValueError):
    """Text of numbers in which some cells are words; `at` is the first of these."""

    def __init__(self, at: int) -> None:
        self.at = at
        super().__init__(f"cell {at} is no number")


@dataclass(frozen=True)
class Parsed:
    """Text as numbers `[V]`, NaN elsewhere; which cells are spelt as gaps `[V]`, and which are words `[V]`."""

    numbers: Floats
    gap: Bools
    word: Bools

    @property
    def number(self) -> Bools:
        """Which cells are numbers, `[V]`."""
        return ~self.gap & ~self.word


def is_text(kind: pa.DataType) -> bool:
    """Whether cells are strings, or bytes that may be strings."""
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_binary, types.is_large_binary)
    return any(check(kind) for check in (*checks, types.is_binary_view, types.is_fixed_size_binary))


def is_moment(kind: pa.DataType) -> bool:
    """Whether cells are dates, times of day or points in time."""
    return bool(types.is_date(kind) or types.is_time(kind) or types.is_timestamp(kind))


def kind_within(kind: pa.DataType) -> pa.DataType:
    """The type of the values: without what only says how they are stored (extensions, dictionaries, run lengths)."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind_within(kind.storage_type)
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return kind_within(kind.value_type)
    return kind


def readable(kind: pa.DataType) -> bool:
    """Whether cells of a type are numbers or words: not lists, structs, maps, unions or intervals."""
    within = kind_within(kind)
    return within in NUMBERS_OF or any(check(within) for check, _ in READERS) or is_moment(within)


def coded(cells: pa.ChunkedArray) -> tuple[Ints, pa.Array]:
    """Values `[V]`, and the place of every cell's among them `[N]`, −1 for gaps.

    Text and dictionaries have every value once, and no nulls among them; other types have one for every cell, as it is.
    Raises ValueError for bytes that are no UTF-8.
    """
    kind = cells.type.storage_type if isinstance(cells.type, pa.BaseExtensionType) else cells.type
    if not types.is_dictionary(kind) and not is_text(kind_within(kind)):
        chunks = [_plain(chunk) for chunk in cells.chunks]
        values = pa.concat_arrays(chunks) if chunks else pa.array([], kind_within(kind))
        return np.arange(len(values)), values
    chunks = [_dictionary(chunk) for chunk in cells.chunks]
    if not chunks:
        return np.empty(0, np.int64), pa.array([], pa.large_string())
    starts = np.cumsum([0, *(len(chunk.dictionary) for chunk in chunks)])
    codes = [
        np.asarray(chunk.indices.cast(pa.int64()).fill_null(-1 - start).to_numpy(zero_copy_only=False)) + start
        for chunk, start in zip(chunks, starts.tolist(), strict=False)
    ]
    values = pa.concat_arrays([_plain(chunk.dictionary) for chunk in chunks])
    used = np.unique(np.concatenate(codes))
    once = values.take(pa.array(used[used >= 0])).dictionary_encode()
    place = np.full(len(values) + 1, -1, dtype=np.int64)
    place[used[used >= 0]] = once.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return place[np.concatenate(codes)], once.dictionary


def _dictionary(chunk: pa.Array) -> pa.DictionaryArray:
    chunk = _stored(chunk)
    return chunk if types.is_dictionary(chunk.type) else _plain(chunk).dictionary_encode()


def _stored(values: pa.Array) -> pa.Array:
    while isinstance(values.type, pa.BaseExtensionType) or types.is_run_end_encoded(values.type):
        extended = isinstance(values.type, pa.BaseExtensionType)
        values = values.storage if extended else pc.run_end_decode(values)
    return values


def _plain(values: pa.Array) -> pa.Array:
    """Values without what only says how they are stored; text of every type as one type."""
    values = _stored(values)
    if types.is_dictionary(values.type):
        values = _stored(values.dictionary).take(values.indices)
    if not is_text(values.type):
        return values
    if types.is_fixed_size_binary(values.type):
        values = values.cast(pa.binary())
    try:
        return values.cast(pa.large_string())
    except pa.ArrowInvalid:
        raise ValueError("holds bytes that are no UTF-8 text") from None


def parsed(text: pa.Array) -> Parsed:
    """What text `[V]` says: numbers as they are written in CSV, gaps, or words."""
    trimmed = pc.utf8_trim_whitespace(text)
    gap = pc.is_in(pc.utf8_lower(trimmed), pa.array(sorted(GAPS), text.type)).fill_null(True)
    fits = pc.and_(pc.match_substring_regex(trimmed, NUMBER), pc.invert(gap)).fill_null(False)
    values = pc.if_else(fits, trimmed, pa.scalar(None, text.type)).cast(pa.float64())
    missing, number = (np.asarray(mask.to_numpy(zero_copy_only=False), dtype=bool) for mask in (gap, fits))
    return Parsed(_floats(values), missing, ~missing & ~number)


def _text(text: pa.Array) -> Floats | None:
    found = parsed(text)
    if found.number.any():
        if not found.word.any():
            return found.numbers
        if found.number.sum() > max(FEW, found.word.sum()):
            raise Stray(int(np.flatnonzero(found.word)[0]))
        return None
    small = pc.utf8_lower(pc.utf8_trim_whitespace(text)).fill_null("")
    if pc.all(pc.is_in(small, pa.array(sorted(PLAIN), text.type))).as_py() is not False:
        return found.numbers
    words = small.filter(pa.array(found.word))
    if len(words) and pc.all(pc.is_in(words, pa.array(["true", "false"], text.type))).as_py():
        true = np.asarray(pc.equal(small, "true").to_numpy(zero_copy_only=False), dtype=np.float64)
        return np.where(found.word, true, np.nan)
    return None


def _floats(values: pa.Array) -> Floats:
    found = np.asarray(pc.cast(values, pa.float64(), safe=False).fill_null(np.nan).to_numpy(zero_copy_only=False))
    return np.where(np.isnan(found), np.nan, found)  # NaN of other bits is told as invalid when it is reckoned with


def _null(values: pa.Array) -> Floats:
    return np.full(len(values), np.nan)


def _decimal(values: pa.Array) -> Floats:
    # By way of text, for the nearest number: a quotient of two floats may be its neighbour.
    return _floats(values.cast(pa.string()))


def _integers(values: pa.Array) -> Floats:
    return _floats(values.cast(pa.int64()))


NUMBERS_OF: Final[dict[pa.DataType, Callable[[pa.Array], Floats]]] = {
    pa.null(): _null,
    pa.bool_(): lambda values: _floats(values.cast(pa.int8())),
}
READERS: Final[tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Floats | None]], ...]] = (
    (types.is_integer, _floats),
    (types.is_floating, _floats),
    (types.is_decimal, _decimal),
    (types.is_duration, _integers),
    (is_text, _text),
)
"""How values become numbers, by their type; a reader of text returns None where they are words."""


def numbers(values: pa.Array) -> Floats | None:
    """Values `[V]` as numbers, NaN for gaps; durations count in their unit. None where they are words.

    Raises Stray for text of numbers with words among them, ValueError for a type that is neither.
    """
    values = _plain(values)
    if values.type in NUMBERS_OF:
        return NUMBERS_OF[values.type](values)
    if is_moment(values.type):
        return None
    for fits, read in READERS:
        if fits(values.type):
            return read(values)
    raise ValueError(f"holds {values.type}, which is neither numbers nor words")


def texts(values: pa.Array) -> list[str | None]:
    """Values `[V]` as text, None for nulls; raises ValueError for a type that is neither numbers nor words."""
    values = _plain(values)
    if not readable(values.type):
        raise ValueError(f"holds {values.type}, which is neither numbers nor words")
    if types.is_timestamp(values.type):
        values = values.cast(pa.timestamp(values.type.unit))  # no zone: its names need tables that may not be there
    written: list[str | None]
    if is_text(values.type) or is_moment(values.type):
        written = values.cast(pa.large_string()).to_pylist()
        return written
    if types.is_duration(values.type):
        values = values.cast(pa.int64())
    written = [None if value is None or value != value else str(value) for value in values.to_pylist()]
    return written

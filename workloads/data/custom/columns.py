"""Columns of a custom table: numbers or words, with gaps, and which rows are held out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from workloads.data.custom.arrow import PLAIN, Stray, coded, is_moment, is_text, kind_within, numbers, parsed, texts
from workloads.data.custom.notes import Notes
from workloads.data.custom.schema import CustomData, CustomTable
from workloads.data.custom.tables import read_table
from workloads.labels import Floats, Ints
from workloads.messages import brief, listed, reason
from workloads.workload import DataError

Texts: TypeAlias = npt.NDArray[Any]
"""Objects `[N]`: text, or None."""

SPLITS: Final = ("train", "val", "test")
SHOWN: Final = 20
"""Wrong rows that are reported; a thousand more would say the same."""
WORDS: Final = 50
"""Most distinct words of a text column; one with more is an identifier or free text, and says so."""


@dataclass(frozen=True)
class Column:
    """A column of any Arrow type; what is wrong with it is raised as DataError, with file, column and row."""

    path: Path
    name: str
    cells: pa.ChunkedArray

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def kind(self) -> pa.DataType:
        """The type of its values."""
        return kind_within(self.cells.type)

    def labels(self) -> Floats:
        """Labels `[N]`: every cell is a finite number, and raises DataError with every row where it is not.

        Dates, points in time and durations are no labels: their unit is that of the file, not of the study.
        """
        law = f"{self.path}: column {brief(self.name)} must hold numbers"
        if is_moment(self.kind) or types.is_duration(self.kind):
            raise DataError(f"{law}: got {self.kind}; turn it into numbers of a unit")
        codes, values = self._distinct()
        try:
            if is_text(self.kind) and parsed(values).number.any():
                found = parsed(values).numbers  # so that every slip is told with its row
            elif (read := numbers(values)) is not None:
                found = read
            else:
                raise ValueError("got words")
        except ValueError as err:
            raise DataError(f"{law}: {self._first(codes) if is_text(self.kind) else reason(err)}") from None
        labels = np.append(found, np.nan)[codes]
        wrong = np.flatnonzero(~np.isfinite(labels))
        if len(wrong):
            raise DataError(*(f"{self.path}: row {row + 1}: {self._shown(row, labels)}" for row in wrong[:SHOWN]))
        return labels

    def inputs(self, notes: Notes) -> list[tuple[str, Floats]]:
        """Columns of inputs `[N]` with their names: numbers, NaN for gaps, or zeros and ones for every word.

        What is worth a word to the person who asked is added to `notes`.
        """
        codes, values = self._distinct()
        try:
            read = numbers(values)
        except Stray as err:
            raise DataError(
                f"{self.path}: row {self._row(codes, err.at)}: {brief(self.name)} is {brief(values[err.at].as_py())} "
                "in a column of numbers; leave the cell empty where it is a gap, or list the column under drop"
            ) from None
        except ValueError as err:
            raise DataError(f"{self.path}: column {brief(self.name)} {reason(err)}") from None
        notes.anew |= self._read_wrongly_before(codes)
        if is_text(self.kind):
            self._note(codes, values, read is not None, notes)
        if read is None:
            return self._words(codes, texts(values))
        found = np.append(read, np.nan)[codes]
        wrong = np.flatnonzero(np.isinf(found))
        if len(wrong):
            raise DataError(*(f"{self.path}: row {row + 1}: {self._shown(row, found)}" for row in wrong[:SHOWN]))
        return [(self.name, found)]

    def numbers(self) -> Floats:
        """Inputs `[N]` of a column of numbers, NaN for gaps; raises DataError with rows that hold something else."""
        codes, values = self._distinct()
        try:
            read = numbers(values)
        except ValueError as err:
            if not isinstance(err, Stray):
                raise DataError(f"{self.path}: column {brief(self.name)} {reason(err)}") from None
            read = None
        if read is None and not is_text(self.kind):
            raise DataError(f"{self.path}: column {brief(self.name)} must hold numbers: got {self.kind}")
        word = np.zeros(len(values), dtype=bool)
        if read is None:
            said = parsed(values)
            read, word = said.numbers, said.word
        found, wrong = np.append(read, np.nan)[codes], np.append(word, False)[codes]
        if len(rows := np.flatnonzero(wrong | np.isinf(found))):
            law = f"{brief(self.name)} must be a number, or empty"
            raise DataError(
                *(
                    f"{self.path}: row {row + 1}: {law}: got {brief(self.cells[row].as_py())}"
                    for row in rows[:SHOWN].tolist()
                )
            )
        return found

    def texts(self) -> list[str | None]:
        """Every cell as text, None for gaps."""
        codes, values = self._distinct()
        try:
            written = [*texts(values), None]
        except ValueError as err:
            raise DataError(f"{self.path}: column {brief(self.name)} {reason(err)}") from None
        return [written[code] for code in codes.tolist()]

    def names(self) -> list[str]:
        """Every cell as the name of something, empty for gaps; whole numbers that are written as text are one name."""
        codes, values = self._distinct()
        try:
            written = [*([name or "" for name in texts(_whole(values))]), ""]
        except ValueError as err:
            raise DataError(f"{self.path}: column {brief(self.name)} {reason(err)}") from None
        return [written[code] for code in codes.tolist()]

    def _distinct(self) -> tuple[Ints, pa.Array]:
        try:
            return coded(self.cells)
        except ValueError as err:
            raise DataError(f"{self.path}: column {brief(self.name)} {reason(err)}") from None

    def _words(self, codes: Ints, written: list[str | None]) -> list[tuple[str, Floats]]:
        words = sorted({word for word in written if word})
        if len(words) > WORDS:
            held = "words" if is_text(self.kind) else f"values of type {self.kind}"
            raise DataError(
                f"{self.path}: column {brief(self.name)} has {len(words):,} distinct {held}, at most {WORDS} make "
                "columns; list it under drop, or turn it into numbers"
            )
        texts_of = np.array([*written, None], dtype=object)[codes]
        return [(f"{self.name}={word}", (texts_of == word).astype(np.float64)) for word in words]

    def _note(self, codes: Ints, values: pa.Array, is_numbers: bool, notes: Notes) -> None:
        """Say what cells that are spelt as gaps count as, and words among numbers."""
        found, written = parsed(values), [str(text) for text in values.to_pylist()]
        if is_numbers and found.number.any():
            spelt = [word for word, gap in zip(written, found.gap, strict=True) if gap and word.strip()]
            if spelt:
                anew = any(word.strip().lower() not in PLAIN for word in spelt)
                notes.add(f"column {brief(self.name)}: {listed(spelt)} counts as a gap: the others are numbers", anew)
            if self.path.suffix.lower() == ".parquet":
                notes.add(f"column {brief(self.name)} is text of numbers, and read as numbers", anew=True)
        elif found.number.any() and found.word.any():
            row = self._row(codes, int(np.flatnonzero(found.word)[0]))
            notes.add(f"column {brief(self.name)} holds numbers and words (row {row}): each counts as a word")

    def _read_wrongly_before(self, codes: Ints) -> bool:
        """Whether the first version read such cells wrongly: gaps of types that numpy has none for, and decimals."""
        kind = self.cells.type
        if types.is_decimal(self.kind) or isinstance(kind, pa.BaseExtensionType):
            return True
        if types.is_dictionary(kind):
            return bool((codes < 0).any())
        return self.cells.null_count > 0 and (types.is_duration(self.kind) or is_moment(self.kind))

    def _row(self, codes: Ints, value: int) -> int:
        return int(np.flatnonzero(codes == value)[0]) + 1

    def _first(self, codes: Ints) -> str:
        """The first cell that is not empty, in words."""
        row = int(np.flatnonzero(codes >= 0)[0]) if (codes >= 0).any() else 0
        return f"got {brief(self.cells[row].as_py())} in row {row + 1}"

    def _shown(self, row: int, values: Floats) -> str:
        """What a cell is, as it is written; nan for one that is empty."""
        written = self.cells[int(row)].as_py() if is_text(self.kind) else None
        empty = written is None or not written.strip() or written.strip().lower() in ("nan", "inf", "-inf")
        return f"{listed([self.name])} is {values[row] if empty else brief(written)}"


def _whole(values: pa.Array) -> pa.Array:
    """Text of whole numbers as numbers, so that 7 and 07 are one; other values as they are."""
    if not is_text(values.type) or not pc.all(pc.match_substring_regex(values, r"^\s*[+-]?[0-9]+\s*$")).as_py():
        return values
    try:
        return pc.utf8_trim_whitespace(values).cast(pa.int64())
    except pa.ArrowInvalid:  # more digits than a number has: as they are
        return values


def read_columns(own: CustomData, path: Path) -> tuple[dict[str, Column], Notes]:
    """The columns that a declaration names, and with a table all that are inputs; raises DataError."""
    dropped = own.drop if isinstance(own, CustomTable) else ()
    cells, index = read_table(path, own.columns, dropped, others=isinstance(own, CustomTable))
    notes = Notes()
    if index:
        told = ", ".join(brief(name) for name in index)
        notes.add(f"{told} is an index or has no name, and is no input; give a column a name to make it one", anew=True)
    return {name: Column(path, name, values) for name, values in cells.items()}, notes


def column_of(path: Path, name: str, values: npt.NDArray[np.generic]) -> Column:
    """An array `[N]` of an NPZ as a column; raises DataError for one of another shape or type."""
    law = f"{path}: array {brief(name)} must hold one number or word for each row"
    if values.dtype.kind == "c":
        raise DataError(f"{path}: array {brief(name)} must hold real numbers: got {values.dtype}")
    if values.ndim != 1:
        raise DataError(f"{law}: got shape {list(values.shape)}")
    try:
        if values.dtype.kind == "S":
            values = np.char.decode(values.astype(np.bytes_), "utf-8")
        if values.dtype.kind == "f" and values.dtype.itemsize > 8:
            values = values.astype(np.float64)
        cells = pa.array(values.astype(values.dtype.newbyteorder("=")))
    except (ValueError, TypeError, NotImplementedError):  # Arrow's own are among these
        raise DataError(f"{law}: got {values.dtype}") from None
    return Column(path, name, pa.chunked_array([cells]))


def split_of(own: CustomData, columns: dict[str, Column]) -> Texts | None:
    """What the column that tells splits says `[N]`, None for a gap; None where there is no such column."""
    return None if own.split is None else np.array(columns[own.split].texts(), dtype=object)


def group_of(own: CustomData, columns: dict[str, Column], notes: Notes) -> Texts | None:
    """Names of groups `[N]`; None where no column tells them. Rows without a name are one group, and noted."""
    if own.group is None:
        return None
    column = columns[own.group]
    names = column.names()
    if gaps := names.count(""):
        notes.add(f"column {brief(own.group)}: {gaps:,} rows without a name are kept together as one group", anew=True)
    return np.array(names, dtype=object)


def written_split(own: CustomData, split: Texts, group: Texts | None, path: Path) -> list[Ints]:
    """Rows of train, val and test as a column tells them; raises DataError, also for a group in two of them."""
    wrong = np.flatnonzero(~np.isin(split, np.array(SPLITS, dtype=object)))
    if len(wrong):
        law = f"{own.split} must be one of {', '.join(SPLITS)}"
        raise DataError(*(f"{path}: row {row + 1}: {law}: got {brief(split[row])}" for row in wrong[:SHOWN]))
    if group is not None:
        seen: dict[str, set[str]] = {}
        for name, part in zip(group, split, strict=True):
            seen.setdefault(name, set()).add(part)
        if both := sorted(name for name, parts in seen.items() if len(parts) > 1):
            raise DataError(*(f"{path}: {own.group} {brief(g)} lies in more than one split" for g in both[:SHOWN]))
    return [np.flatnonzero(split == name) for name in SPLITS]

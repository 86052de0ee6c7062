"""A folder of labels.csv and recordings: checked as a whole, decoded once, read when a batch asks for it."""

import csv
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workloads.cache import Rows, Source, Transform, decoded
from workloads.data.custom.columns import Column
from workloads.data.custom.tables import read_table
from workloads.data.features import SAME
from workloads.data.recordings import FORMATS, Layout, Signal, length_of
from workloads.labels import LabelGrid
from workloads.workload import Data, DataError, Origin, Units

SPLITS: Final = ("train", "val", "test")
SCALED_BY: Final = 64
"""Training recordings, evenly spaced, that the scale of a channel is taken from."""
PREPARATION: Final = 1
"""Raise it when the preparation changes, here or in `recordings`, so that old trials are not taken for new ones."""


class Recordings:
    """Recordings read when a batch asks for them: nights do not fit into memory together.

    All are mapped, so what is read again comes from the operating system's cache.
    """

    read_ahead = True

    def __init__(
        self,
        read: Sequence[Callable[[], Signal]],
        y: Tensor,
        scale: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
        length: int,
    ) -> None:
        self.y = y
        self._read, self._scale, self._length = read, scale, length

    def inputs(self, index: Tensor, device: torch.device) -> Tensor:
        """Channels over time `[B, C, T]` on the device, scaled; a short recording is followed by zeros."""
        mean, sd = self._scale
        made = np.zeros((len(index), len(mean), self._length), dtype=np.float32)
        for row, place in enumerate(index.tolist()):
            signal = self._read[place]()[:, : self._length]
            made[row, :, : signal.shape[1]] = np.nan_to_num((signal - mean[:, None]) / sd[:, None])
        return torch.from_numpy(made).to(device, non_blocking=True)


@dataclass(frozen=True)
class Row:
    """A line of labels.csv."""

    line: int
    record: str
    value: float
    split: str
    subject: str


def _rows(path: Path, layout: Layout, problems: list[str]) -> list[Row]:
    """The lines of labels.csv that are whole; the others become problems."""
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        header = reader.fieldnames or ()
        missing = [name for name in ("record", layout.target, "split") if name not in header]
        if missing:
            problems.append(f"{path}:1: column {' and '.join(missing)} is missing, there are {', '.join(header)}")
            return []
        rows: list[Row] = []
        lines: dict[str, int] = {}
        for cells in reader:
            place = f"{path}:{reader.line_num}"
            if None in cells or None in cells.values():
                problems.append(f"{place}: expected {len(header)} columns")
                continue
            try:
                value = float(cells[layout.target])
            except ValueError:
                value = math.nan
            record, split = cells["record"], cells["split"]
            low, high = layout.grid.low, layout.grid.high
            if not low <= value <= high:
                found = cells[layout.target]
                problems.append(f"{place}: {layout.target} must be a number from {low:g} to {high:g}, found {found!r}")
            if split not in SPLITS:
                problems.append(f"{place}: split must be train, val or test, found {split!r}")
            if record in lines:
                problems.append(f"{place}: record {record!r} is in line {lines[record]} already")
            lines.setdefault(record, reader.line_num)
            rows.append(Row(reader.line_num, record, value, split, cells.get("subject") or ""))
    for split in SPLITS:
        if not any(row.split == split for row in rows):
            problems.append(f"{path}: no rows of split {split}")
    return rows


def _shared_subjects(path: Path, rows: Sequence[Row]) -> list[str]:
    """A problem for everybody who is in more than one split."""
    first: dict[str, Row] = {}
    told: dict[str, str] = {}
    for row in rows:
        before = first.setdefault(row.subject, row)
        if row.subject and before.split != row.split:
            told.setdefault(
                row.subject,
                f"{path}:{row.line}: subject {row.subject!r} is in {row.split}, and in {before.split} in line "
                f"{before.line}: a subject belongs into one split",
            )
    return list(told.values())


@dataclass(frozen=True)
class Opened:
    """A record that is there: its length T, at most what the layout reads, and how to read it, or what to decode."""

    length: int
    read: Callable[[], Signal] | None = None
    source: Source | None = None


def _opened(folder: Path, record: str, where: str, packed: Mapping[str, Signal] | None, layout: Layout) -> Opened:
    """A record that a line names; raises like `Format`, or ValueError where it is not there."""
    longest = layout.rate * layout.seconds
    if packed is not None:
        if record not in packed:
            raise ValueError(f"it is not in {folder / 'records.npz'}")
        return Opened(min(longest, length_of(packed[record], layout)), partial(packed.__getitem__, record))
    records = folder / "records"
    if Path(record).is_absolute() or ".." in Path(record).parts:
        raise ValueError(f"its name leaves the folder {records}")
    for suffix, known in FORMATS.items():
        path = records / f"{record}{suffix}"
        if path.is_file():
            header = known.header(layout, path)
            length = min(longest, header.length)
            if known.mapped:
                return Opened(length, partial(known.read, layout, path))
            return Opened(length, source=Source(path, str(path.relative_to(folder)), where, header.beside))
    raise ValueError(f"it is missing: expected {records / record} with {', '.join(FORMATS)}")


def _padded(layout: Layout, length: int, content: bytes, source: Source) -> Signal:
    """A decoded record `[C, length]`, NaN after its end; raises ValueError."""
    try:
        signal = FORMATS[source.path.suffix].read(layout, source.path)
    except Exception as err:  # the libraries that read recordings raise anything over a broken one
        raise ValueError(str(err) or type(err).__name__) from err
    row = np.full((len(layout.channels), length), np.nan, dtype=np.float32)
    row[:, : signal.shape[1]] = signal[:, :length]
    return row


def opened_beside(
    path: Path, records: Sequence[tuple[int, str]], layout: Layout, problems: Sequence[str] = ()
) -> list[Opened]:
    """Records that lines of a table name, from records.npz or records/ beside it.

    Raises DataError with all that is wrong, `problems` that are known included.
    """
    folder, packed, told = path.parent, None, [*problems]
    if (folder / "records.npz").is_file():
        try:
            with np.load(folder / "records.npz", allow_pickle=False) as file:
                packed = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError) as err:
            raise DataError(*told, f"{folder / 'records.npz'} cannot be read: {err}") from err
    opened: list[Opened] = []
    for line, record in records:
        try:
            opened.append(_opened(folder, record, f"{path}:{line}", packed, layout))
            if opened[-1].length == 0:
                raise ValueError("it is empty")
        except Exception as err:  # the libraries that read recordings raise anything over a broken one
            told.append(f"{path}:{line}: record {record!r} cannot be used: {err}")
    if told:
        raise DataError(*told)
    return opened


def readers_of(opened: Sequence[Opened], layout: Layout) -> list[Callable[[], Signal]]:
    """How each record is read, `[C, T]`, when those that are slow to decode are in the cache."""
    kept = _kept([(record.source, record.length) for record in opened if record.source is not None], layout)
    return [record.read or next(kept) for record in opened]


def _kept(slow: Sequence[tuple[Source, int]], layout: Layout) -> Iterator[Callable[[], Signal]]:
    if not slow:
        return
    sources, lengths = zip(*slow, strict=True)
    name = f"signals-{layout.channels}-{layout.rate}-{PREPARATION}"
    shape = (len(layout.channels), max(lengths))
    rows = decoded(sources, Transform(name, shape, partial(_padded, layout, shape[1]), "float32"))
    for place, length in enumerate(lengths):
        yield partial(_row, rows, place, length)


def _row(rows: Rows, place: int, length: int) -> Signal:
    return rows.read(torch.tensor([place]))[0, :, :length].numpy()


def _scale(
    read: Sequence[Callable[[], Signal]], layout: Layout
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and sd `[C]` of every channel over training recordings; 1 for a channel that is flat but for rounding."""
    step = max(1, len(read) // SCALED_BY)
    lowest, highest = np.full(len(layout.channels), np.inf), np.full(len(layout.channels), -np.inf)
    total, squares, count = (np.zeros(len(layout.channels)) for _ in range(3))
    for one in read[::step]:
        signal = np.asarray(one()[:, : layout.rate * layout.seconds], dtype=np.float64)
        known = np.isfinite(signal)
        lowest = np.minimum(lowest, np.where(known, signal, np.inf).min(1))
        highest = np.maximum(highest, np.where(known, signal, -np.inf).max(1))
        signal = np.where(known, signal, 0.0)
        total, squares, count = total + signal.sum(1), squares + np.square(signal).sum(1), count + known.sum(1)
    mean = total / np.maximum(count, 1)
    sd = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0))
    # A difference of two sums is not 0 for a flat channel: 0.1 throughout gives 1e-9.
    flat = ~(highest - lowest > SAME * np.maximum(np.abs(highest), np.abs(lowest)))
    return mean.astype(np.float32), np.where(flat | (sd == 0), 1.0, sd).astype(np.float32)


@dataclass(frozen=True)
class RecordingRows:
    """Recordings that the column `record` of a table names, in records.npz or records/ beside it.

    Channels, rate and seconds are those of a `Layout`, `mean` and `sd` `[C]` what channels are scaled by; recordings
    are cut after `length` steps, or followed by zeros.
    """

    channels: tuple[tuple[str, ...], ...]
    rate: int
    seconds: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]
    length: int
    kind: str = "recordings"

    def read(self, path: Path) -> Tensor:
        """Inputs `[N, C, T]`; raises DataError with all that is wrong."""
        cells, _ = read_table(path, ["record"], (), others=False)
        records = [(line, name or "") for line, name in enumerate(Column(path, "record", cells["record"]).texts(), 2)]
        layout = Layout("new", "", LabelGrid(0.0, 1.0, 1), self.channels, self.rate, self.seconds)
        readers = readers_of(opened_beside(path, records, layout), layout)
        scale = np.array(self.mean, dtype=np.float32), np.array(self.sd, dtype=np.float32)
        rows = Recordings(readers, torch.zeros(len(readers)), scale, self.length)
        return rows.inputs(torch.arange(len(readers)), torch.device("cpu"))

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "RecordingRows":
        """What `tree_of` wrote."""
        kept = {name: tree[name] for name in ("rate", "seconds", "length")}
        channels = tuple(map(tuple, tree["channels"]))
        return cls(channels=channels, mean=tuple(tree["mean"]), sd=tuple(tree["sd"]), **kept)


def load(layout: Layout, origin: Origin, root: Path | None) -> Data:
    """Read labels and check every recording; raises DataError with all that is wrong."""
    if root is None:
        raise DataError(
            f"{layout.folder} needs a folder of data sets: set TAILSWEEP_DATA, or data in the study file. "
            f"{origin.steps} See {origin.page}"
        )
    folder = root / layout.folder
    path = folder / "labels.csv"
    if not path.is_file():
        raise DataError(f"{path} is missing: {origin.steps} See {origin.page}")
    problems: list[str] = []
    try:
        rows = _rows(path, layout, problems)
    except (UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"{path} must be a CSV file in UTF-8: {err}") from err
    problems += _shared_subjects(path, rows)

    opened = opened_beside(path, [(row.line, row.record) for row in rows], layout, problems)
    lengths = [record.length for record in opened]
    length = max(lengths)
    readers: dict[str, list[Callable[[], Signal]]] = {split: [] for split in SPLITS}
    for row, reader in zip(rows, readers_of(opened, layout), strict=True):
        readers[row.split].append(reader)
    scale = _scale(readers["train"], layout)

    def recordings(split: str) -> Recordings:
        y = torch.tensor([row.value for row in rows if row.split == split], dtype=torch.float32)
        return Recordings(readers[split], y, scale, length)

    train, val, test = map(recordings, SPLITS)
    # Of hundreds of gigabytes: labels, lengths and the scale, in as many digits as every machine computes alike.
    scales = " ".join(f"{value:.4g}" for value in np.concatenate(scale))
    digest = hashlib.sha256(path.read_bytes() + f"{lengths} {scales}".encode()).hexdigest()[:16]
    sd = float(train.y.std()) if len(train.y) > 1 else 1.0
    units = Units(float(train.y.median()), sd or 1.0)
    names = [row.record for row in rows if row.split == "train"]
    mean, deviation = (tuple(map(float, values)) for values in scale)
    new_rows = RecordingRows(layout.channels, layout.rate, layout.seconds, mean, deviation, length)
    fingerprint = f"{digest}-{length}-{PREPARATION}"
    return Data(train, val, test, units, fingerprint, describe=names.__getitem__, new_rows=new_rows)

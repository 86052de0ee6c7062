"""Recordings to a value: ECG to potassium (ECG-K+-DIR), a night of sleep to a health score (SHHS-DIR).

No official layout of either is public, so this is ours. Below the data root, in a folder of the workload's name:

    labels.csv       record,<target>,split[,subject]     split is train, val or test; other columns are left alone
    records.npz      an array per record under its name, or else one file per record:
    records/NAME.npy     [C, T] numbers, already at the workload's rate and in the order of its channels
    records/NAME.hea     WFDB, with its signal file (ECG); channels are found by name and resampled
    records/NAME.edf     EDF (sleep), likewise

Arrays are mapped, WFDB and EDF are decoded once into a cache: 0.1 MB for an ECG of 10 s, 19 MB for a night of 9 hours.
Arrays are never unpickled. Where there is a `subject` column, nobody may be in two splits. A value that is missing in
a recording (NaN) counts as the channel's mean; channels are scaled to mean 0 and sd 1 of training recordings, not each
recording by itself, because how high a wave is tells of potassium.
"""

import contextlib
import csv
import hashlib
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from workloads.cache import Rows, Source, Transform, decoded
from workloads.encoders.signals import NightEncoder, SignalResNet
from workloads.hparams import Value
from workloads.labels import LabelGrid, Shots
from workloads.workload import Data, DataError, Origin, Units, Workload

SPLITS: Final = ("train", "val", "test")
SCALED_BY: Final = 64
"""Training recordings, evenly spaced, that the scale of a channel is taken from."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""


@dataclass(frozen=True)
class Layout:
    """What the recordings of a workload hold: target, channels with their names in files, Hz, and seconds at most."""

    folder: str
    target: str
    grid: LabelGrid
    channels: tuple[tuple[str, ...], ...]
    rate: int
    seconds: int


Signal: TypeAlias = npt.NDArray[Any]


def _pick(found: Sequence[str], layout: Layout) -> list[int]:
    """Places of the layout's channels among the names in a file; raises ValueError for one that is not there."""
    names = [name.strip().lower() for name in found]
    places = []
    for spellings in layout.channels:
        place = next((names.index(s.lower()) for s in spellings if s.lower() in names), None)
        if place is None:
            raise ValueError(f"channel {' or '.join(spellings)} is missing, there are {', '.join(found)}")
        places.append(place)
    return places


def _ratio(rate: float, layout: Layout) -> Fraction:
    return Fraction(layout.rate) / Fraction(rate).limit_denominator(1000)


def _resampled(signal: Signal, rate: float, layout: Layout) -> Signal:
    from scipy.signal import resample_poly  # half a second, and few studies have signals

    known = np.isfinite(signal)
    filled = np.where(known, signal, signal[known].mean() if known.any() else 0.0)
    ratio = _ratio(rate, layout)
    return np.asarray(resample_poly(filled, ratio.numerator, ratio.denominator))


def _stacked(signals: Sequence[Signal]) -> Signal:
    length = min(map(len, signals))  # resampled from different rates they may differ by a step
    return np.stack([signal[:length] for signal in signals]).astype(np.float32)


@dataclass(frozen=True)
class Header:
    """What a file says before its signals are read: T at the layout's rate, and the files beside it that hold them."""

    length: int
    beside: tuple[Path, ...] = ()


def _array_header(layout: Layout, path: Path) -> Header:
    return Header(_length_of(np.load(path, mmap_mode="r", allow_pickle=False), layout))


def _length_of(signal: Signal, layout: Layout) -> int:
    if signal.dtype.kind not in "fiu" or signal.ndim != 2 or signal.shape[0] != len(layout.channels):
        raise ValueError(f"expected numbers [{len(layout.channels)}, T], found {signal.dtype} {list(signal.shape)}")
    return int(signal.shape[1])


def _array(layout: Layout, path: Path) -> Signal:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


READING: Final = threading.Lock()
"""Held while a library reads: neither of them, nor what silences warnings, is made for several threads."""


@contextlib.contextmanager
def wfdb_library() -> Iterator[Any]:
    """The package wfdb: takes a second to import, and prepared arrays do not need it."""
    with READING, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # wfdb 4.3.1 calls pandas in ways that pandas 3.1 deprecates
        import wfdb

        yield wfdb


def _wfdb_header(layout: Layout, path: Path) -> Header:
    with wfdb_library() as wfdb:
        header = wfdb.rdheader(str(path.with_suffix("")))
    _pick(header.sig_name or (), layout)
    for name in (files := dict.fromkeys(header.file_name)):
        if Path(name).name != name:
            raise ValueError(f"its signal file {name} must lie beside its header")
        if not (path.parent / name).is_file():
            raise ValueError(f"its signal file {name} is missing")
    length = math.ceil(int(header.sig_len) * _ratio(float(header.fs), layout))
    return Header(length, tuple(path.parent / name for name in files))


def _wfdb(layout: Layout, path: Path) -> Signal:
    with wfdb_library() as wfdb:
        record = wfdb.rdrecord(str(path.with_suffix("")))
    picked = _pick(record.sig_name, layout)
    return _stacked([_resampled(record.p_signal[:, place], record.fs, layout) for place in picked])


def _edf_header(layout: Layout, path: Path) -> Header:
    import pyedflib  # needed for EDF only

    with READING, pyedflib.EdfReader(str(path), pyedflib.DO_NOT_READ_ANNOTATIONS) as reader:
        picked = _pick(reader.getSignalLabels(), layout)
        samples, rates = reader.getNSamples(), reader.getSampleFrequencies()
    return Header(min(math.ceil(int(samples[place]) * _ratio(float(rates[place]), layout)) for place in picked))


def _edf(layout: Layout, path: Path) -> Signal:
    import pyedflib

    with READING, pyedflib.EdfReader(str(path), pyedflib.DO_NOT_READ_ANNOTATIONS) as reader:
        picked = _pick(reader.getSignalLabels(), layout)
        found = [(reader.readSignal(place), reader.getSampleFrequency(place)) for place in picked]
    return _stacked([_resampled(signal, rate, layout) for signal, rate in found])


@dataclass(frozen=True)
class Format:
    """How a file is read: its header alone, and its signals `[C, T]`; what is not `mapped` is kept in the cache.

    Both raise ValueError, or what the library raises, for a file that does not hold what the layout says.
    """

    header: Callable[[Layout, Path], Header]
    read: Callable[[Layout, Path], Signal]
    mapped: bool = False


FORMATS: Final[Mapping[str, Format]] = {
    ".npy": Format(_array_header, _array, mapped=True),
    ".hea": Format(_wfdb_header, _wfdb),
    ".edf": Format(_edf_header, _edf),
}
"""By the file's ending, in the order in which they are looked for."""


class Recordings:
    """Recordings read when a batch asks for them: nights do not fit into memory together.

    All are mapped, so what is read again comes from the operating system's cache.
    """

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


def _opened(folder: Path, row: Row, packed: Mapping[str, Signal] | None, layout: Layout) -> Opened:
    """The record of a row; raises like `Format`, or ValueError where it is not there."""
    record, longest = row.record, layout.rate * layout.seconds
    if packed is not None:
        if record not in packed:
            raise ValueError(f"it is not in {folder / 'records.npz'}")
        return Opened(min(longest, _length_of(packed[record], layout)), partial(packed.__getitem__, record))
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
            where = f"{folder / 'labels.csv'}:{row.line}"
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


def _readers(opened: Sequence[Opened], layout: Layout) -> list[Callable[[], Signal]]:
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
    """Mean and sd `[C]` of every channel over some training recordings; 1 for a channel that is flat."""
    step = max(1, len(read) // SCALED_BY)
    total, squares, count = (np.zeros(len(layout.channels)) for _ in range(3))
    for one in read[::step]:
        signal = np.asarray(one()[:, : layout.rate * layout.seconds], dtype=np.float64)
        known = np.isfinite(signal)
        signal = np.where(known, signal, 0.0)
        total, squares, count = total + signal.sum(1), squares + np.square(signal).sum(1), count + known.sum(1)
    mean = total / np.maximum(count, 1)
    sd = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0.0))
    return mean.astype(np.float32), np.where(sd > 0, sd, 1.0).astype(np.float32)


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

    packed = None
    if (folder / "records.npz").is_file():
        try:
            with np.load(folder / "records.npz", allow_pickle=False) as file:
                packed = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError) as err:
            raise DataError(*problems, f"{folder / 'records.npz'} cannot be read: {err}") from err
    opened: list[Opened] = []
    for row in rows:
        try:
            opened.append(_opened(folder, row, packed, layout))
            if opened[-1].length == 0:
                raise ValueError("it is empty")
        except Exception as err:  # the libraries that read recordings raise anything over a broken one
            problems.append(f"{path}:{row.line}: record {row.record!r} cannot be used: {err}")
    if problems:
        raise DataError(*problems)

    lengths = [record.length for record in opened]
    length = max(lengths)
    readers: dict[str, list[Callable[[], Signal]]] = {split: [] for split in SPLITS}
    for row, reader in zip(rows, _readers(opened, layout), strict=True):
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
    return Data(train, val, test, units, f"{digest}-{length}-{PREPARATION}", describe=names.__getitem__)


def _fixture(layout: Layout, length: int, root: Path) -> None:
    """Made-up recordings: the first channel swings with the target; the last target has no training row."""
    folder = root / layout.folder
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    grid = layout.grid
    centres = [grid.centres[int(share * grid.bins)] for share in (0.3, 0.6, 0.8, 0.9)]
    counts = {"train": (104, 24, 6, 0), "val": (6, 6, 3, 0), "test": (6, 6, 4, 2)}
    arrays: dict[str, Signal] = {}
    lines = [f"record,{layout.target},split,subject"]
    for split, numbers in counts.items():
        for centre, count in zip(centres, numbers, strict=True):
            for i in range(count):
                value = centre + grid.width * (i % 9 - 4) / 10
                name = f"r{len(arrays):03d}"
                signal = random.standard_normal((len(layout.channels), length))
                signal[0] += 3 * (value - grid.low) / (grid.high - grid.low) * np.sin(np.arange(length) / 5)
                arrays[name] = signal.astype(np.float32)
                lines.append(f"{name},{value:.4f},{split},s{len(arrays)}")
    np.savez(folder / "records.npz", **arrays)  # type: ignore[arg-type]  # names are not its own keywords
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


LEADS: Final = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
ECG: Final = Layout(
    "ecg-k-dir", "potassium", LabelGrid(1.95, 9.95, 80, learnt_in="labels"), tuple((lead,) for lead in LEADS), 250, 10
)
"""Potassium is reported in 0.1 mmol/L: one bin around each value from 2.0 to 9.9."""
NIGHT: Final = Layout(
    "shhs-dir",
    "score",
    LabelGrid(0.0, 100.0, 100, learnt_in="labels"),
    (("EEG", "EEG(sec)"), ("ECG",), ("THOR RES", "ABDO RES")),
    50,
    9 * 3600,
)
WINDOW_S: Final = 30
"""Sleep is scored in windows of 30 seconds."""

LAYOUT_STEPS: Final = (
    "Put labels.csv (record,{target},split[,subject]) and records.npz or records/ into {folder}/ below the data root."
)
ECG_ORIGIN: Final = Origin(
    source="ECG-K+-DIR as in Nie et al., ICLR 2025; split and recordings are the user's own",
    licence="the recordings'; the data set of the paper is not published",
    page="https://github.com/Ngk03/DIR-Dist-Loss",
    steps=LAYOUT_STEPS.format(target="potassium", folder="ecg-k-dir"),
    folder="ecg-k-dir",
)
NIGHT_ORIGIN: Final = Origin(
    source="Sleep Heart Health Study, Quan et al., Sleep 1997, through NSRR; SHHS-DIR of Yang et al., ICML 2021",
    licence="by application to the National Sleep Research Resource; the split of the paper is not published",
    page="https://sleepdata.org/datasets/shhs",
    steps=LAYOUT_STEPS.format(target="score", folder="shhs-dir"),
    folder="shhs-dir",
)


def _ecg_encoder(data: Data) -> tuple[nn.Module, int]:
    encoder = SignalResNet(len(ECG.channels), (32, 64, 128, 128))
    return encoder, encoder.dim


def _night_encoder(data: Data) -> tuple[nn.Module, int]:
    encoder = NightEncoder(len(NIGHT.channels), WINDOW_S * NIGHT.rate, (16, 32, 64, 64), 64)
    return encoder, encoder.dim


def _workload(
    layout: Layout,
    title: str,
    unit: str,
    origin: Origin,
    encoder: Callable[[Data], tuple[nn.Module, int]],
    settings: Mapping[str, Value],
    fixture_length: int,
) -> Workload:
    return Workload(
        name=layout.folder,
        title=title,
        unit=unit,
        origin=origin,
        grid=layout.grid,
        shots=Shots(),
        load=partial(load, layout, origin),
        encoder=encoder,
        settings=settings,
        fixture=partial(_fixture, layout, fixture_length),
    )


# Widths and training are ours: the papers do not give them.
WORKLOADS: Final = (
    _workload(
        ECG,
        "ECG to potassium, 0.1 mmol/L bins",
        "mmol/L",
        ECG_ORIGIN,
        _ecg_encoder,
        {
            "train.epochs": 60,
            "train.batch_size": 256,
            "train.schedule": "cosine",
            "ranksim.weight": 0.003,  # mmol/L spread over a few units, ages over 100
        },
        250,
    ),
    _workload(
        NIGHT,
        "night of EEG, ECG and breathing to a health score",
        "point",
        NIGHT_ORIGIN,
        _night_encoder,
        {"train.epochs": 60, "train.batch_size": 16, "train.schedule": "cosine"},
        2 * WINDOW_S * NIGHT.rate,
    ),
)

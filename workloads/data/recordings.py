"""Files of recordings: NumPy arrays, WFDB and EDF, each read to the channels and the rate that a workload asks for."""

import contextlib
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from workloads.extras import MissingExtra, need
from workloads.labels import LabelGrid
from workloads.workload import DataError


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
    return Header(length_of(np.load(path, mmap_mode="r", allow_pickle=False), layout))


def length_of(signal: Signal, layout: Layout) -> int:
    if signal.dtype.kind not in "fiu" or signal.ndim != 2 or signal.shape[0] != len(layout.channels):
        raise ValueError(f"expected numbers [{len(layout.channels)}, T], found {signal.dtype} {list(signal.shape)}")
    return int(signal.shape[1])


def _array(layout: Layout, path: Path) -> Signal:
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


READING: Final = threading.Lock()
"""Held while a library reads: neither of them, nor what silences warnings, is made for several threads."""


def _installed(module: str) -> None:
    try:
        need(module)
    except MissingExtra as err:
        raise DataError(str(err)) from None


@contextlib.contextmanager
def wfdb_library() -> Iterator[Any]:
    """The package wfdb: takes a second to import, and prepared arrays do not need it."""
    _installed("wfdb")
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
    _installed("pyedflib")
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

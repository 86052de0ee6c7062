"""Recordings to a value: ECG to potassium (ECG-K+-DIR), a night of sleep to a health score (SHHS-DIR).

No official layout of either is public, so this is ours. Below the data root, in a folder of the workload's name:

    labels.csv       record,<target>,split[,subject]     split is train, val or test; other columns are left alone
    records.npz      an array per record under its name, or else one file per record:
    records/NAME.npy     [C, T] numbers, already at the workload's rate and in the order of its channels
    records/NAME.hea     WFDB, with its signal file (ECG); channels are found by name and resampled
    records/NAME.edf     EDF (sleep), likewise

Arrays are mapped, WFDB and EDF are decoded once into a cache: 0.1 MB for an ECG of 10 s, 19 MB for a night of 9 hours.
Arrays are never unpickled. With a `subject` column, a subject is in one split only. A value that is missing in a
recording (NaN) counts as the channel's mean; channels are scaled to mean 0 and sd 1 of training recordings, not each
recording by itself, because the amplitude of a wave carries information on potassium.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from torch import nn

from workloads.data.recordings import Layout, Signal, wfdb_library
from workloads.data.signal_folder import SPLITS, load
from workloads.encoders.signals import NightEncoder, SignalResNet
from workloads.hparams import Value
from workloads.labels import LabelGrid, Shots
from workloads.workload import Data, Origin, Workload

__all__ = ["ECG", "LEADS", "NIGHT", "SPLITS", "WINDOW_S", "WORKLOADS", "Layout", "load", "wfdb_library"]


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

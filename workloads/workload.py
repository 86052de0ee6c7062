"""A workload: a data set with its task, label grid, shot rule, encoder and training defaults."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from workloads.hparams import Value
from workloads.labels import Ints, LabelGrid, ShotRule
from workloads.seam import TrainLabels


class DataError(Exception):
    """Data that is missing or malformed; every problem names the file, the line or row, and the way out.

    Loaders collect problems and raise them together, so that a data set is repaired in one go.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Split(Protocol):
    """One part of a data set: labels `y` `[N]` on the CPU, and inputs by row on a device."""

    @property
    def y(self) -> Tensor:
        """Labels `[N]`, float32 or float64, in the workload's units."""

    def inputs(self, index: Tensor, device: torch.device) -> Tensor:
        """Inputs `[B, …]` of the rows `index` `[B]` (on the CPU), on the device."""


class Table:
    """Rows of numbers: small enough to live on the device whole, so that a batch is a gather there."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.y = y
        self._x = x.pin_memory() if torch.cuda.is_available() else x

    def inputs(self, index: Tensor, device: torch.device) -> Tensor:
        """Rows `[B, F]` on the device; the table moves there at the first call."""
        if self._x.device != device:
            self._x = self._x.to(device, non_blocking=True)
        return self._x[index.to(device, non_blocking=True)]


class Maps:
    """One part of a dense data set: a row is an image, its label a map `[h, w]` of pixels.

    Maps are read a batch at a time, `maps(index, device)` `[B, h, w]`, NaN where a pixel has no label; every
    image has a pixel that has one. What needs labels all at once sees the *scored* pixels: `y` `[P]` at `at` `[P]`,
    ascending numbers row · h · w + place. They are few enough to be held, and are what metrics are computed on and
    predictions are kept of. `counts` `[M]` has all labelled pixels by bin, scored or not; only training needs them.
    """

    read_ahead = True

    def __init__(
        self,
        rows: int,
        shape: tuple[int, int],
        images: Callable[[Tensor, torch.device], Tensor],
        maps: Callable[[Tensor, torch.device], Tensor],
        scored: tuple[Tensor, Tensor],
        counts: Ints | None = None,
    ) -> None:
        self.rows, self.shape, self.counts = rows, shape, counts
        self.inputs, self.maps = images, maps
        self.at, self.y = (part.contiguous() for part in scored)


@dataclass(frozen=True)
class Units:
    """Label = offset + scale · output: lets a head that starts near zero predict in label units from the first step."""

    offset: float = 0.0
    scale: float = 1.0

    def learnt(self, grid: LabelGrid) -> "Units":
        """The same on the scale on which a grid's labels are learnt."""
        return Units((self.offset - grid.zero) / grid.unit, self.scale / grid.unit)


@dataclass(frozen=True)
class Drawn:
    """Where the rows of a split stand in the file that they were read from.

    `numbers` `[N]` count from 0, as pandas and Arrow do, without a line of names; `names` `[N]` are what the file calls
    its rows, such as image files, where it does. Of maps, N are the images.
    """

    numbers: Ints
    names: Sequence[str] = ()


class NewRows(Protocol):
    """A reader of new rows for a trained model, with what was learnt of the training rows."""

    @property
    def kind(self) -> str:
        """Which reader it is, in a model's folder."""

    def read(self, path: Path) -> Tensor:
        """Inputs `[N, …]` of the rows of a file; raises DataError."""


@dataclass(frozen=True)
class Data:
    """What a workload loads: the splits, how labels are scaled for the head, and a checksum of the source.

    `weights` is a file that the encoder starts from, where the workload has one; the checksum covers it.
    `describe(row)` says for people what a training row is: a sentence, the name of a file. `notes` tell them what was
    made of the files that they may not expect, such as a column that was left out.
    `test_groups` `[N]` numbers the subject of every test row, where rows of one subject are not independent.
    `drawn` says which rows of the file train, val and test hold, where the loader knows.
    `new_rows` reads further rows as these were read, where the loader can.
    """

    train: Split
    val: Split
    test: Split
    units: Units
    fingerprint: str
    weights: Path | None = None
    describe: Callable[[int], str] | None = None
    notes: tuple[str, ...] = ()
    test_groups: Ints | None = None
    drawn: tuple[Drawn, Drawn, Drawn] | None = None
    new_rows: NewRows | None = None


@dataclass(frozen=True)
class Download:
    """A file that may be redistributed: its address, its place below the data root, its SHA-256 where one is known.

    `makes` is the file or folder below the data root that unpacking an archive makes beside it.
    """

    url: str
    path: str
    sha256: str = ""
    makes: str = ""


@dataclass(frozen=True)
class Origin:
    """Where a data set comes from.

    `source` is cited under tables; `licence` and `page` say under which terms and where it is to be had, `steps` what
    to do in words; `files` are those that may be fetched; `folder` is where the files lie below the data root, `needs`
    what must be there as well. A data set that comes with a package has none of these but `source` and `licence`.
    """

    source: str
    licence: str
    page: str = ""
    steps: str = ""
    folder: str = ""
    files: tuple[Download, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Workload:
    """A data set as a task.

    `load(root)` reads the files (raises DataError); `encoder(data)` makes a new encoder and says the width D of its
    features (of rows `[B, D]`, of maps `[B, D, h, w]`); `augment(x)` changes training inputs `[B, …]` on their device,
    drawing from torch's global stream, and `augment_maps(x, y)` inputs and maps together; `dense`: labels are maps;
    `needs` are modules of `workloads.extras` that training takes; `light`: a step of training takes a millisecond or
    so, of which arithmetic is the smaller part, and all weights of the encoder take part in it; `kind` is that
    of the inputs, whose encoders a study may name (`NAME@ENCODER`);
    `settings` are defaults of `part.hparam` and `train.hparam` that this workload sets, `by_objective` those that go
    with the scale of an objective's loss and win over them, `metrics` the columns of its tables. `counts` are numbers
    of rows by split and region (`train`, `test/few`) to check files against: `published`, or of a cut or of validation
    rows that are our own (`ours`), as `counted` says; `fixture(root)` writes small made-up files in the official
    layout.
    """

    name: str
    title: str
    unit: str
    origin: Origin
    grid: LabelGrid
    shots: ShotRule
    load: Callable[[Path | None], Data]
    encoder: Callable[[Data], tuple[nn.Module, int]]
    task: Literal["regression", "classification"] = "regression"
    metrics: tuple[str, ...] = ("mae", "gm")
    settings: Mapping[str, Value] = field(default_factory=dict)
    by_objective: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    augment: Callable[[Tensor], Tensor] | None = None
    augment_maps: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    dense: bool = False
    light: bool = False
    kind: str = ""
    needs: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    counted: Literal["published", "ours"] = "published"
    fixture: Callable[[Path], None] | None = None
    version: int = 1

    def defaults(self, objective: str) -> dict[str, Value]:
        """The settings of this workload for recipes with an objective."""
        return {**self.settings, **self.by_objective.get(objective, {})}

    def bin_counts(self, data: Data) -> Ints:
        """Training labels in every bin, `[M]`: rows, or pixels of all maps."""
        if isinstance(data.train, Maps) and data.train.counts is not None:
            return data.train.counts
        return self.grid.counts(data.train.y.numpy())

    def train_labels(self, data: Data, dim: int, batch_size: int) -> TrainLabels:
        """What parts may know of the training labels and inputs, with features of size `dim`."""
        labels = torch.from_numpy(self.grid.learnt(data.train.y.numpy()))
        pixels = self.bin_counts(data) if isinstance(data.train, Maps) else None
        cpu = torch.device("cpu")
        return TrainLabels(
            labels, self.grid.of_learnt(), dim, batch_size, pixels, lambda rows: data.train.inputs(rows, cpu)
        )

    def regions(self, data: Data, split: Split) -> Ints:
        """Shot region of every label of a split, `[N]`, or of its scored pixels, as positions in REGIONS."""
        return self.shots.of_counts(self.bin_counts(data))[self.grid.bin(split.y.numpy())]


def rows_in(split: Split) -> int:
    """Rows of a split: samples, or images whose labels are maps."""
    return split.rows if isinstance(split, Maps) else len(split.y)


def images_of(split: Split) -> Ints | None:
    """The image that every scored pixel belongs to, `[P]`; None where labels are rows."""
    return (split.at // math.prod(split.shape)).numpy() if isinstance(split, Maps) else None


def groups_of(data: Data) -> Ints | None:
    """The group whose test rows err together: the subject of every row `[N]`, or the image of every scored pixel `[P]`.

    None where every row stands for itself.
    """
    return images_of(data.test) if isinstance(data.test, Maps) else data.test_groups

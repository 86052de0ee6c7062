"""What a model's folder says of the model beside its tensors, as JSON that is checked when it is read."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from torch import Tensor, nn

from orchestrator.study.keys import Model, Scalar
from workloads import WORKLOADS, unknown
from workloads.data.custom.rows import with_grid
from workloads.data.custom.schema import kind_of
from workloads.encoders.named import ENCODERS_NEED
from workloads.extras import need
from workloads.labels import Ints, LabelGrid
from workloads.predictor import Setup, example
from workloads.workload import Data, Units, Workload

FORMAT: Final = 1
"""Raise it when older releases could not read a folder."""


class Labels(Model):
    """The grid of labels, their units, and for every bin its training rows and its shot region."""

    low: float
    high: float
    bins: int
    learnt_in: Literal["bins", "labels"]
    offset: float
    scale: float
    unit: str
    counts: tuple[int, ...]
    regions: tuple[int, ...]

    @property
    def grid(self) -> LabelGrid:
        """The bins."""
        return LabelGrid(self.low, self.high, self.bins, self.learnt_in)

    @property
    def by_bin(self) -> Ints:
        """The shot region of every bin `[M]`, as positions in REGIONS."""
        return np.array(self.regions, dtype=np.int64)


class About(Model):
    """A model: where it is from, what it is made of, and how its inputs look."""

    format: Literal[1]
    tailsweep: str
    study: str
    workload: str
    target: str
    own: Mapping[str, Any] | None
    recipe: str
    settings: Mapping[str, Scalar]
    seed: int
    trial: str
    data: str
    device: str
    equal: bool
    """Whether its test predictions are those of the ledger, to the bit."""
    inputs: tuple[int, ...]
    type: str
    maps: tuple[int, int] | None = None
    """Size of labels that are maps; then counts are of pixels."""
    labels: Labels
    plugins: tuple[str, ...] = ()
    sha256: str
    """Of the file of tensors."""

    @property
    def setup(self) -> Setup:
        """What the model is built from."""
        labels = self.labels
        units = Units(labels.offset, labels.scale)
        return Setup(self.recipe, self.settings, labels.grid, units, np.array(labels.counts, dtype=np.int64), self.maps)

    def encoder(self, vectors: Tensor | None = None) -> tuple[nn.Module, int]:
        """A new encoder for its inputs; for words it is given their `vectors`.

        Raises MissingExtra, and ValueError where it needs the data themselves.
        """
        workload, modules = self._workload()
        need(*modules)
        rows = example(self.inputs, self.type, vectors)
        try:
            return workload.encoder(Data(rows, rows, rows, Units(), ""))
        except Exception as err:  # what an encoder looks at is its own
            raise ValueError(f"the encoder of {self.workload} cannot be made without its data: {err}") from err

    def _workload(self) -> tuple[Workload, Sequence[str]]:
        """Whose encoder it is, and the modules that the encoder takes: what made vectors of its inputs is not asked."""
        if self.own is not None:
            own = kind_of(self.own).model_validate(self.own)
            return with_grid(own, self.labels.grid), own.named.needs
        if self.workload not in WORKLOADS:
            raise ValueError(f"the encoder of the model is not to be had: {unknown(self.workload)}")
        workload = WORKLOADS[self.workload]
        return workload, [module for module in workload.needs if module in ENCODERS_NEED]

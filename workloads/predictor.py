"""A trained model apart from its data: from inputs to predictions in label units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from workloads.adjusting import adjust_of
from workloads.data.words import Sentences
from workloads.hparams import Value
from workloads.labels import Floats, Ints, LabelGrid
from workloads.loop import ENCODE_ROWS, ENCODE_VALUES
from workloads.methods import METHODS
from workloads.model import Model
from workloads.recipe import Recipe, settings_of
from workloads.seam import Adjustment, Method, Output, TrainLabels
from workloads.training import Training
from workloads.views import at_size
from workloads.workload import Table, Units

OWN_STREAM: Final = "_extra_state"
"""The end of the names of random streams, which predictions do not draw from."""


@dataclass(frozen=True)
class Setup:
    """What a model is beside its tensors: recipe, settings, bins and units of labels, training rows by bin `[M]`.

    `maps` is the size `[h, w]` of labels that are maps, whose pixels are counted then.
    """

    recipe: str
    settings: Mapping[str, Value]
    grid: LabelGrid
    units: Units
    counts: Ints
    maps: tuple[int, int] | None = None


class Predictor(nn.Module):
    """Encoder, head, objective and adjustment of a trained model.

    Predictions of the same rows in the same order are those of the run, bit for bit on the CPU.
    """

    def __init__(self, setup: Setup, encoder: tuple[nn.Module, int], tensors: Mapping[str, Tensor]) -> None:
        """Raises ValueError for tensors that are not those of such a model."""
        super().__init__()
        self.setup = setup
        whole = Recipe.parse(setup.recipe)
        recipe = Recipe(whole.objective, tuple(name for name in whole.methods if _predicts(name)), whole.plan)
        self.model = Model(*encoder, recipe, setup.settings, setup.units.learnt(setup.grid))
        self.model.fit(_labels(setup, encoder[1]))
        for stage in range(1, len(self.model.stages())):
            self.model.begin(stage)
        for name, module in zip(self.model.predicting, self.model.predictor(), strict=True):
            _load(module, name, _below(name, tensors))
        self._adjust = None
        if self.model.adjustment is not None:
            self._adjust = adjust_of(self.model.adjustment, tensors)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Predictions `[B]` of inputs `[B, …]` in label units, float32, before any adjustment."""
        grid = self.setup.grid
        made: Tensor = self.model(x) * grid.unit + grid.zero
        return made

    def predict(self, x: Tensor) -> Floats:
        """Predictions `[N]`, or maps `[N, h, w]`, of inputs `[N, …]` in label units, float64; NaN as it comes."""
        rows = min(ENCODE_ROWS, max(1, ENCODE_VALUES // max(1, x[:1].numel())))
        with torch.no_grad():
            made = [self.model.outputs(self._encoded(part)) for part in torch.split(x, rows)]
        out, pred = (torch.cat(parts).double().numpy() for parts in zip(*made, strict=True))
        said = Output(out, pred, self.model.linear_head())
        found = self.setup.grid.labels((said if self._adjust is None else self._adjust(said)).pred)
        return found if self.setup.maps is None else found.reshape(-1, *self.setup.maps)

    def _encoded(self, x: Tensor) -> Tensor:
        """Features `[B, D]`, of maps those of every pixel, in the precision of training."""
        with Training.of(settings_of("train", self.setup.settings), "train").autocast(x.device):
            z = self.model.encoder(x)
            if self.setup.maps is not None:
                z = at_size(z, self.setup.maps).movedim(1, -1).flatten(0, 2)
            return self.model.mapped(z)


def example(shape: Sequence[int], kind: str, vectors: Tensor | None = None) -> Table:
    """A row of zeros of a shape, for encoders that are made to fit their inputs; of words, with their `vectors`."""
    x, y = torch.zeros((1, *shape), dtype=getattr(torch, kind)), torch.zeros(1)
    return Table(x, y) if vectors is None else Sentences(x, y, vectors)


def _predicts(method: str) -> bool:
    """Whether a method acts on predictions, not in training alone."""
    kind = METHODS[method]
    return issubclass(kind, Adjustment) or kind.map is not Method.map


def _labels(setup: Setup, dim: int) -> TrainLabels:
    """Labels with the counts of training, at the middles of their bins: parts size their tensors by counts."""
    pixels = None if setup.maps is None else setup.counts
    rows = setup.counts if pixels is None else np.minimum(pixels, 1)  # those of all maps are not held
    y = np.repeat(setup.grid.learnt(setup.grid.centres), rows)
    return TrainLabels(torch.from_numpy(y), setup.grid.of_learnt(), dim, Training().batch_size, pixels)


def _below(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {full.removeprefix(f"{name}."): value for full, value in tensors.items() if full.startswith(f"{name}.")}


def _load(module: nn.Module, name: str, state: Mapping[str, Any]) -> None:
    """Raises ValueError for a tensor that is missing, foreign, or of another shape."""
    try:
        missing, foreign = module.load_state_dict(state, strict=False)
    except RuntimeError as err:
        raise ValueError(f"tensors of the {name} are of another shape: {' '.join(str(err).split())[:300]}") from None
    wrong = [key for key in missing if not key.endswith(OWN_STREAM)] + foreign
    if wrong:
        raise ValueError(f"tensors of the {name} are missing or foreign: {', '.join(wrong[:5])}")

"""What trains a recipe, a network in the loop or trees, and what predicts with it then."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from workloads.epoch import Epoch
from workloads.hparams import Value
from workloads.labels import Floats
from workloads.loop import Fit
from workloads.model import Model
from workloads.objectives import OBJECTIVES
from workloads.predictor import Predictor, Setup
from workloads.ranks import ALONE, Ranks, check_statistics, check_undivided
from workloads.recipe import PARTS, Recipe, settings_of
from workloads.seam import Part
from workloads.training import Training
from workloads.trees import Grown, Trees
from workloads.workload import Data, Split, Workload


class Run(Protocol):
    """One training run: iterate it for its epochs, ask `state_dict` between two of them, `predict` at the end."""

    curve: list[Epoch]
    metrics: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[Epoch]: ...

    def steps(self) -> Generator[Tensor | None, None, None]: ...

    def kept(self) -> Epoch: ...

    def labels(self, split: Split) -> Floats: ...

    def predict(self, split: Split) -> Floats: ...

    def tensors(self) -> dict[str, Tensor]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Predicts(Protocol):
    """A model apart from its data."""

    def predict(self, x: Tensor) -> Floats: ...


Encoder: TypeAlias = Callable[[], tuple[nn.Module, int]]
"""Makes a new encoder, and says the width of its features."""


@dataclass(frozen=True)
class Trainer:
    """How a run is started, and how its `tensors` become what predicts."""

    start: Callable[[Workload, Data, Recipe, Mapping[str, Value], int, torch.device, int, Ranks], Run]
    predicts: Callable[[Setup, Encoder, Mapping[str, Tensor]], Predicts]


TRAINERS: Final = {
    "network": Trainer(Fit, lambda setup, encoder, tensors: Predictor(setup, encoder(), tensors)),
    "trees": Trainer(Trees, lambda setup, encoder, tensors: Grown(setup, tensors)),
}
"""By the name that an objective gives as its trainer."""


def check(recipe: Recipe, data: Data) -> None:
    """Raises ValueError where a part of a recipe cannot act on the inputs of the rows."""
    asked = [name for name in recipe.parts if PARTS[name].refuses is not Part.refuses]
    for name in asked:
        first = data.train.inputs(torch.zeros(1, dtype=torch.long), torch.device("cpu"))
        if wrong := PARTS[name].refuses(first):
            raise ValueError(f"{name} {wrong}: got '{recipe}'")


def check_shared(workload: Workload, data: Data, recipe: Recipe, settings: Mapping[str, Value], gpus: bool) -> None:
    """Raises ValueError where several processes, with `gpus` or without, cannot train a recipe under settings."""
    if OBJECTIVES[recipe.objective].trainer != "network":
        check_undivided([recipe.objective])
    model = Model(nn.Identity(), 1, recipe, settings, data.units.learnt(workload.grid))
    model.fit(workload.train_labels(data, 1, Training.of(settings_of("train", settings), "train").batch_size))
    check_undivided(model.undivided)
    if not gpus:
        check_statistics(workload.encoder(data)[0])


def start(
    workload: Workload,
    data: Data,
    recipe: Recipe,
    settings: Mapping[str, Value],
    seed: int,
    device: torch.device,
    pieces: int = 1,
    ranks: Ranks = ALONE,
) -> Run:
    """The run of a recipe under complete settings (`training.settle`), before its first epoch.

    Batches are trained in `pieces`, by the processes of `ranks`; raises WholeBatch or Undivided where that cannot be.
    """
    return _trainer(recipe).start(workload, data, recipe, settings, seed, device, pieces, ranks)


def predictor(setup: Setup, encoder: Encoder, tensors: Mapping[str, Tensor]) -> Predicts:
    """What predicts with the tensors of a run; raises ValueError for those of another one."""
    return _trainer(Recipe.parse(setup.recipe)).predicts(setup, encoder, tensors)


def _trainer(recipe: Recipe) -> Trainer:
    return TRAINERS[OBJECTIVES[recipe.objective].trainer]

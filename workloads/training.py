"""The hyperparameters of training, `train.*`, and what settings identify a run."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import torch
from torch import nn

from workloads.epoch import Epoch
from workloads.hparams import Choice, Declared, Field, Float, Int, Value
from workloads.labels import REGIONS
from workloads.metrics import HIGHER_IS_BETTER, METRICS
from workloads.objectives import OBJECTIVES
from workloads.recipe import PARTS, Recipe, settings_of, stages_of, untrained
from workloads.workload import Workload

OPTIMIZERS: Final[dict[str, Callable[[list[nn.Parameter], "Training"], torch.optim.Optimizer]]] = {
    "adam": lambda params, p: torch.optim.Adam(params, lr=p.lr, weight_decay=p.weight_decay),
    "adamw": lambda params, p: torch.optim.AdamW(params, lr=p.lr, weight_decay=p.weight_decay),
    "sgd": lambda params, p: torch.optim.SGD(params, lr=p.lr, weight_decay=p.weight_decay, momentum=0.9, nesterov=True),
}

SCHEDULES: Final[dict[str, Callable[[float], float]]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
    "steps": lambda done: 0.1 ** ((done >= 60 / 90) + (done >= 80 / 90)),  # the age papers': drops at 60 and 80 of 90
    "halfway": lambda done: 0.1 ** (done >= 0.5),  # NYUD2-DIR's: a drop at 5 of 10
}
"""Factor on the learning rate by the share of the stage's epochs that is done."""

PRECISIONS: Final[dict[str, torch.dtype | None]] = {"full": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Training(Declared):
    """The loop's own hyperparameters, `train.*`.

    Studies search `lr` and `weight_decay` around the workload's settings, and any other that `space` lists.

    `monitor` is the validation score by which the best epoch is kept (`keep = best`); `grad_clip` bounds the
    gradient's norm, 0 leaves it.

    Validation follows every `validate_every`-th epoch and the last one of every stage; other epochs have no scores, and
    are not kept.

    `compile` has torch compile the encoder; `channels_last` lays images out with the channels of a pixel together.
    `deterministic` takes algorithms that give the same bits each time: only then does a continued run equal one that
    was not interrupted. Without it a GPU takes the fastest algorithms of cuDNN, found by trying.
    """

    epochs: Annotated[int, Int(1, 10_000, tune=False)] = 30
    batch_size: Annotated[int, Int(2, 65_536, tune=False)] = 256
    optimizer: Annotated[str, Choice(*OPTIMIZERS, tune=False)] = "adam"
    lr: Annotated[float, Float(1e-6, 1.0, log=True, tune=False)] = 1e-3
    weight_decay: Annotated[float, Float(0.0, 1.0, tune=False)] = 0.0
    schedule: Annotated[str, Choice(*SCHEDULES, tune=False)] = "constant"
    grad_clip: Annotated[float, Float(0.0, 1e6, tune=False)] = 0.0
    precision: Annotated[str, Choice(*PRECISIONS, tune=False)] = "full"
    compile: Annotated[bool, Choice(True, False, tune=False)] = False
    channels_last: Annotated[bool, Choice(True, False, tune=False)] = False
    deterministic: Annotated[bool, Choice(True, False, tune=False)] = True
    keep: Annotated[str, Choice("best", "last", tune=False)] = "best"
    validate_every: Annotated[int, Int(1, 10_000, tune=False)] = 1
    monitor: Annotated[str, Choice(*(f"val/{m}/{r}" for m in METRICS for r in ("all", *REGIONS)), tune=False)] = (
        "val/mae/all"
    )

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which a network computes in this precision, in training and in evaluation."""
        dtype = PRECISIONS[self.precision]
        return torch.autocast(device.type, dtype, enabled=dtype is not None)

    def metrics(self, workload: Workload) -> tuple[str, ...]:
        """What is computed after every epoch: the metrics of a workload, and the monitored one."""
        return tuple(dict.fromkeys((*workload.metrics, self.monitor.split("/")[1])))

    def validates(self, epoch: int, ends_stage: bool) -> bool:
        """Whether validation follows an epoch."""
        return ends_stage or (epoch + 1) % self.validate_every == 0

    def judged(self, epoch: Epoch) -> float | None:
        """The score by which the best epoch is kept, the lower the better; None where it has none, or the last is."""
        value = epoch.score(self.monitor)
        if self.keep == "last" or value is None:
            return None
        return -value if self.monitor.split("/")[1] in HIGHER_IS_BETTER else value

    @property
    def version(self) -> int:
        """Part of the trial id as the version of a part is.

        In half precision: 2, the head runs in float32; 3, evaluation and statistics are in half precision as well.
        """
        return 1 if self.precision == "full" else 3


LOOP: Final = Training()
"""With declared defaults."""
VERSIONED: Final = frozenset({"train.precision", "train.grad_clip"})
"""Settings on which the version of the loop depends."""
ACTING: Final[Mapping[str, frozenset[str]]] = {"trees": frozenset({"epochs", "keep", "monitor"})}
"""The hyperparameters of training that act, by trainer; of a network all do."""


def acting(recipe: Recipe) -> dict[str, Field]:
    """The hyperparameters of training that act under a recipe."""
    names = ACTING.get(OBJECTIVES[recipe.objective].trainer)
    return {name: field for name, field in Training.declared().items() if names is None or name in names}


def settle(recipe: Recipe, *layers: Mapping[str, Value]) -> dict[str, Value]:
    """The active settings of `train.*` and of the recipe's parts that differ from their declared defaults.

    Later layers win; a layer may name parts that the recipe does not have. Raises ValueError for a value outside its
    range. The result is what identifies a trial, and all that `Fit` needs.
    """
    merged = {name: value for layer in layers for name, value in layer.items()}
    if wrong := untrained(recipe, merged):
        raise ValueError(wrong)
    return {
        f"{part}.{name}": value
        for part, hparams in _of(recipe, merged).items()
        for name, value in hparams.changed().items()
        if part != "train" or name in acting(recipe)
    }


def active(recipe: Recipe, settings: Mapping[str, Value]) -> dict[str, Value]:
    """Every hyperparameter that acts under the settings of a trial, those with their default included."""
    return {
        f"{part}.{name}": value
        for part, hparams in _of(recipe, settings).items()
        for name, value in hparams.active().items()
        if part != "train" or name in acting(recipe)
    }


def _of(recipe: Recipe, settings: Mapping[str, Value]) -> dict[str, Declared]:
    """Hyperparameters of the loop and of the recipe's parts; raises ValueError for a value outside its range."""
    kinds: dict[str, type[Declared]] = {"train": Training, **{part: PARTS[part].Hparams for part in recipe.parts}}
    return {part: kind.of(settings_of(part, settings), part) for part, kind in kinds.items()}


def versions(recipe: Recipe, settings: Mapping[str, Value]) -> dict[str, int]:
    """Versions that are not 1 under these settings, of the parts and of the loop (`train`): part of a trial's id.

    That of the loop is one higher where a bounded gradient trains a head on weights that rest: theirs counted, too.
    """
    hparams = LOOP if VERSIONED.isdisjoint(settings) else Training.of(settings_of("train", settings), "train")
    counted = hparams.grad_clip and any(stage.trains == "head" for stage in stages_of(recipe, settings)[1:])
    loop = hparams.version + bool(counted)
    return {**recipe.versions(settings), **({"train": loop} if loop != 1 else {})}

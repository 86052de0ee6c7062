"""The seam between a training loop and the methods: every hook is a term of one equation.

    i ~ draw  x, y = augment(x_i, y_i)  z = map(encode(x))  h = calibrate(z)  out = head(h)  pred = adjust(decode(out))
    L = mean_i( loss_i(w_i) )  +  Σ_k penalty_k            over the stages of a plan

Letters, here and everywhere: B samples of a batch, N training rows, D features, K outputs of the head, M bins.
Labels and predictions are as they are learnt (`LabelGrid`): in bins, or in a published data set's units (years). Where
labels are maps, a labelled pixel is a sample: hooks from `calibrate` on see B pixels, and pixels without a label never
reach them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from workloads.hparams import Declared, Value
from workloads.labels import Floats, Ints, LabelGrid

SLOTS: Final = {"density": "how rows count, by label density", "adjustment": "the predictions after training"}
"""What can be set once in a recipe, in words."""


PENALTIES: Final = "none"
"""The objective of a stage that has none: it minimises the penalties alone."""

NO_HEAD: Final[Floats] = np.empty((0, 0))


class Features(Protocol):
    """The training set encoded without gradient, when first asked for: features `[N, D]` and `labels` `[N]`."""

    @property
    def labels(self) -> Tensor:
        """Labels `[N]`, as they are learnt."""

    def __call__(self, train_mode: bool = False) -> tuple[Tensor, Tensor]:
        """In evaluation mode; or in training mode on shuffled, augmented batches: dropout acts and BatchNorm moves."""

    def chunks(self, train_mode: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """The same, never whole in memory where it is large: ascending places `[n]` in it and features `[n, D]`."""


@dataclass(frozen=True)
class TrainLabels:
    """What a part may know before the first step: training labels `y` `[N]`, their grid, and the sizes D and B.

    `inputs` reads training rows `[n]` as `[n, …]` on the CPU, not augmented; None where labels alone are known.
    Where labels are maps, `y` is a sample of their pixels, `pixels` `[M]` counts all of them, and B is images.
    """

    y: Tensor
    grid: LabelGrid
    dim: int
    batch_size: int
    pixels: Ints | None = None
    inputs: Callable[[Tensor], Tensor] | None = None

    @property
    def bins(self) -> Ints:
        """Bin of every training label, `[N]`."""
        return self.grid.bin(self.y.numpy())

    @property
    def counts(self) -> Ints:
        """Training rows, or pixels, in every bin, `[M]`."""
        return self.grid.counts(self.y.numpy()) if self.pixels is None else self.pixels


@dataclass(frozen=True)
class Batch:
    """Inputs `x` `[B, …]`, labels `y` `[B]`, their bins `[B]` and rows in the training set `[B]`, and the time.

    `done` is the share of the stage's epochs that lie behind, 0 in its first. `again` augments the same rows once more;
    None where the workload augments nothing, or a method made other rows.
    As it comes from the data a dense batch has maps `[B, h, w]` of labels, NaN where there is none, and of bins.
    """

    x: Tensor
    y: Tensor
    bin: Tensor
    index: Tensor
    epoch: int
    stage: int
    done: float = 0.0
    again: Callable[[], Tensor] | None = None


@dataclass(frozen=True)
class View:
    """Samples as they are encoded once more: features `z` `[B, D]` with a gradient, and predictions `pred` `[B]`."""

    z: Tensor
    pred: Tensor


@dataclass(frozen=True)
class Step:
    """One forward pass: `z` `[B, D]`, calibrated `h` `[B, D]`, `out` `[B, K]`, `pred` `[B]`, weights `w` `[B]`.

    `w` is the product of the methods' weights; 1 while they are asked for them. `again` gives the second view of the
    batch: it is augmented and encoded when a part first asks, and shared. None where there is no other view.
    """

    batch: Batch
    z: Tensor
    h: Tensor
    out: Tensor
    pred: Tensor
    encode: Callable[[Tensor], Tensor]
    w: Tensor | float = 1.0
    again: Callable[[], View] | None = None


@dataclass(frozen=True)
class Output:
    """What a model says of rows in evaluation: `out` `[N, K]` and `pred` `[N]`, as labels are learnt.

    `head` `[K, D + 1]` has the weights of the head that said it, and its biases in the last column.
    """

    out: Floats
    pred: Floats
    head: Floats = field(default_factory=lambda: NO_HEAD)

    def of(self, rows: Ints) -> "Output":
        """The same of some of the rows."""
        return Output(self.out[rows], self.pred[rows], self.head)


@dataclass(frozen=True)
class HeldOut:
    """Rows that the weights of an epoch were not trained on: what the model says of them, and labels `y` `[N]`.

    `weights` `[N]` of mean 1 give them the label distribution of the validation rows.
    """

    output: Output
    y: Floats
    weights: Floats

    def of(self, rows: Ints) -> "HeldOut":
        """The same of some of the rows."""
        return HeldOut(self.output.of(rows), self.y[rows], self.weights[rows])


Adjust: TypeAlias = Callable[[Output], Output]
"""What is said of rows after training, from what the model says of them."""


@dataclass(frozen=True)
class Stage:
    """A share of the epochs, what is trained in it, by what loss, and where it starts.

    `start` is where a later stage begins: at the `last` epoch of the stage before, or at its `best`, the epoch that
    `train.keep` and `train.monitor` name. Its head is the one before, a fresh one, or what `head` makes of the one
    before; where another objective needs another width, it is fresh.

    `objective` names that of the stage, with its defaults: empty is the recipe's, `PENALTIES` none.
    `methods` says whether methods act. `settings` are those of `train.*` that differ. Every stage has an optimizer and
    a schedule of its own, unless it `continues` those of the stage before.
    """

    share: float
    trains: Literal["all", "encoder", "head"] = "all"
    fresh_head: bool = False
    start: Literal["last", "best"] = "last"
    objective: str = ""
    methods: bool = True
    settings: Mapping[str, Value] = field(default_factory=dict)
    continues: bool = False
    head: Callable[[nn.Module], nn.Module] | None = None


class NoEffectWarning(UserWarning):
    """A method that has had its turn has changed no input, feature, weight or loss yet."""


class Part(nn.Module):
    """An objective, a method or a plan.

    Buffers and the generator are checkpointed, parameters are optimised: a part wires nothing itself. A hook changes
    only its own buffers, returns new tensors, and never sees another part.
    """

    Hparams: ClassVar[type[Declared]] = Declared
    source: ClassVar[str]
    """Paper and equation that the part follows."""
    note: ClassVar[str] = ""
    """Licences and patents to know before using the part."""
    tasks: ClassVar[tuple[str, ...]] = ("regression", "classification")
    """Kinds of workload that the part is for."""
    dense: ClassVar[bool] = True
    """Whether the part can act where labels are maps and every pixel is a sample."""
    needs_rows: ClassVar[str] = "needs whole rows"
    """Why it cannot, where it cannot."""
    slot: ClassVar[str | None] = None
    """Two parts that fill the same slot (`SLOTS`) contradict each other: both would set the same thing."""
    batch_matters: bool = False
    """Whether a hook looks at the samples of a batch together, so that a batch in two pieces gives something else.

    A part for which some hyperparameters or labels decide it sets it when it is made, or in `fit`.
    """
    collects: bool = False
    """Whether a hook keeps something of every batch in a buffer: processes that share batches see a part of it each."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules of `workloads.extras` that it takes."""
    version: ClassVar[int] = 1
    """Part of the trial id: raise it when the same hyperparameters begin to give other numbers."""

    @classmethod
    def version_of(cls, hparams: Declared) -> int:
        """The version under these hyperparameters: when only an option gives other numbers, the rest keep their ids."""
        return cls.version

    @staticmethod
    def refuses(x: Tensor) -> str:
        """What it says of inputs `[1, …]` that it cannot act on, with the way out; empty where it takes them."""
        return ""

    hparams: Declared
    generator: torch.Generator

    def __init__(self, hparams: Declared) -> None:
        super().__init__()
        self.hparams = hparams

    def seed(self, seed: int, device: torch.device) -> None:
        """Give the part its own random stream on the device where it draws."""
        self.generator = torch.Generator(device).manual_seed(seed)

    def get_extra_state(self) -> Tensor:
        """State of the random stream, so that `state_dict` is all that a checkpoint needs."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        """Continue the random stream; a generator's state lives on the CPU whatever its device."""
        self.generator.set_state(state.cpu())

    def fit(self, train: TrainLabels) -> None:
        """Size and fill the buffers, once, before the first step."""

    @property
    def learning_rate(self) -> float | None:
        """That of the part's own parameters, under the schedule of the rest; None is the rest's."""
        return None


class Objective(Part):
    """The base loss: exactly one in a recipe."""

    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    trainer: ClassVar[str] = "network"
    """What is trained under it, by its name in `workloads.trainers`."""
    outputs: int = 1
    """Width K of the head; a part that needs the labels to know it sets it in `fit`."""
    labels: int | None = None
    """How many outputs, from the first, are labels, and so in their units; the others are as the head gives them.

    None: all are labels. Logits and logarithms of scales are none.
    """

    def head(self, dim: int) -> nn.Module:
        """The head from features `[…, D]` to outputs `[…, K]`, with `weight` `[K, D]`, and `bias` `[K]` or None."""
        return nn.Linear(dim, self.outputs)

    def decode(self, out: Tensor) -> Tensor:
        """Turn `out` `[B, K]`, the labels of it in label units, into predictions `[B]`."""
        return out[:, 0]

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, without the weights."""
        raise NotImplementedError

    def weighted(self, step: Step) -> Tensor:
        """Loss of every sample `[B]` that counts by the weights `step.w`: the product, unless they act inside."""
        losses: Tensor = self(step)
        return losses * step.w


class Method(Part):
    """What is added to the objective: any number, and every hook defaults to its identity."""

    joins: ClassVar[int] = 0
    """First stage in which the method acts, capped at the plan's last."""

    @classmethod
    def needs_network(cls) -> bool:
        """Whether a hook acts on batches, features or losses of a network: any other than weights and adjustment."""
        hooks = {name: hook for name, hook in vars(Method).items() if callable(hook) and name != "weigh"}
        return any(getattr(cls, name) is not hook for name, hook in hooks.items())

    @property
    def warmup(self) -> int:
        """Epochs in which the method only watches; a method that changes nothing after them is warned about."""
        return 0

    def draw(self) -> Tensor | None:
        """Chance of every training row `[N]`, up to a factor, to be the next one; multiplied.

        None draws every row once in an epoch, in random order; else they are drawn with replacement, N in an epoch.
        """
        return None

    def augment(self, batch: Batch) -> Batch:
        """The batch to train on instead, of any size; chained in the listed order."""
        return batch

    def map(self, z: Tensor) -> Tensor:
        """Features `[…, D]` that stand for the encoder's in training and evaluation, in all stages; chained."""
        return z

    def calibrate(self, z: Tensor, batch: Batch) -> Tensor:
        """Features `[B, D]` that the head sees in training; chained in the listed order."""
        return z

    def weigh(self, step: Step) -> Tensor | None:
        """Weight of every sample, `[B]`, with mean 1 over the training set; multiplied. None leaves them."""
        return None

    def penalty(self, step: Step) -> Tensor | None:
        """A scalar added to the loss. None adds nothing."""
        return None

    def end_epoch(self, epoch: int, features: Features) -> None:
        """Update buffers after an epoch of training; `features` is computed once and shared."""


class Adjustment(Method):
    """A method that acts after training: a map of the outputs, fitted to rows that training did not see.

    Training is as without it, but for the epoch that is kept: validation scores are those of adjusted predictions, and
    no row is scored by a map that its own label was fitted to. The map is part of no checkpoint, it is fitted again.
    """

    slot: ClassVar[str | None] = "adjustment"
    folds: ClassVar[int] = 0
    """0: it is fitted to the validation rows. Else to the training rows, each said by one of as many further models.

    Those are trained beside the first, each without the rows that it is asked for: an epoch costs `folds` epochs.
    """

    def adjust(self, held_out: HeldOut) -> Adjust:
        """The map that fits held-out rows best; on the CPU, once an epoch, and without the random stream."""
        raise NotImplementedError


class Plan(Part):
    """How the epochs are spent."""

    def stages(self) -> Sequence[Stage]:
        """The stages in order; their shares add up to 1."""
        raise NotImplementedError

"""What acts after training: a recipe's adjustment, fitted to held-out rows in every epoch.

An adjustment is fitted to all validation rows before it maps rows of test. Validation rows themselves are mapped by
what was fitted to the other ones, else their scores would flatter, and the epoch and the setting be chosen by them. One
that is fitted to training rows has further models that have not seen them, trained in step with the first.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from workloads.labels import Floats, Ints, LabelGrid
from workloads.pack import Pack, set_streams, streams
from workloads.recalibration import folds_of, held_out_weights
from workloads.seam import NO_HEAD, Adjust, Adjustment, HeldOut, Output
from workloads.workload import Data, Split

VALIDATION_FOLDS: Final = 5
"""Parts of the validation rows of which each is mapped by what was fitted to the others."""


HELD_OUT: Final = "held_out"
"""The beginning of the names of tensors that an adjustment is fitted to."""


class Run(Protocol):
    """What the further models are: `loop.Fit`."""

    def steps(self) -> Generator[Tensor | None, None, None]: ...

    def outputs(self, split: Split, when: str) -> Output: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def joined(parts: Sequence[Ints], outputs: Sequence[Output]) -> Output:
    """What is said of all rows, from what is said of those of each part."""
    order = np.argsort(np.concatenate(parts))
    out, pred = (np.concatenate(parts) for parts in zip(*((o.out, o.pred) for o in outputs), strict=True))
    return Output(out, pred, outputs[0].head).of(order)


def adjust_of(method: Adjustment, tensors: Mapping[str, Tensor]) -> Adjust:
    """The map of an adjustment, fitted to what `Adjusting.tensors` gave; raises ValueError where that is missing."""
    given = {name.removeprefix(f"{HELD_OUT}."): value.numpy() for name, value in tensors.items()}
    missing = {"out", "pred", "y", "weights"} - given.keys()
    if missing:
        raise ValueError(f"tensors of {HELD_OUT} are missing, to which the adjustment is fitted")
    output = Output(given["out"], given["pred"], given.get("head", NO_HEAD))
    return method.adjust(HeldOut(output, given["y"], given["weights"]))


class Rows:
    """Some rows of a split."""

    def __init__(self, split: Split, rows: Ints) -> None:
        self._split, self._rows = split, torch.from_numpy(rows)
        self.y = split.y[self._rows]
        self.read_ahead = bool(getattr(split, "read_ahead", False))

    def inputs(self, index: Tensor, device: torch.device) -> Tensor:
        """Inputs `[B, …]` of the rows `index` `[B]` among these."""
        return self._split.inputs(self._rows[index], device)


class Folds:
    """A model for every part of the training rows, trained without it, an epoch at a time.

    Each has the streams of random numbers that it would have alone: the first model is trained as if there were none.
    They are trained in step where that is faster and their memory small, `light`, else one after the other.
    """

    def __init__(
        self,
        train: Split,
        y: Floats,
        count: int,
        start: Callable[[Split], Run],
        device: torch.device,
        light: bool = False,
    ) -> None:
        self._light = light
        self._cuda = [device] if device.type == "cuda" else []
        fold, every = folds_of(y, count), np.arange(len(y))
        self._held = [every[fold == k] for k in range(count)]
        self._parts = [Rows(train, rows) for rows in self._held]
        self._streams: list[list[Tensor]] = []
        self._runs: list[Run] = []
        for k in range(count):
            with torch.random.fork_rng(self._cuda):
                self._runs.append(start(Rows(train, every[fold != k])))
                self._streams.append(streams(self._cuda))

    @contextmanager
    def _own(self, k: int) -> Iterator[Run]:
        """A model with its stream of random numbers, which goes on from where it was."""
        with torch.random.fork_rng(self._cuda):
            set_streams(self._streams[k], self._cuda)
            yield self._runs[k]
            self._streams[k] = streams(self._cuda)

    def train(self) -> None:
        """Train each for an epoch."""
        every = list(range(len(self._runs)))
        for group in [every] if self._light else [[k] for k in every]:
            self._train(group)

    def outputs(self, number: int) -> Output:
        """What they say after an epoch of the training rows, `[N]`, each of those that it has not seen."""
        made = []
        for k, part in enumerate(self._parts):
            with self._own(k) as run:
                made.append(run.outputs(part, f"of fold {k} in epoch {number}"))
        return joined(self._held, made)

    def _train(self, group: list[int]) -> None:
        with torch.random.fork_rng(self._cuda):
            pack: Pack[None] = Pack(
                [self._runs[k].steps() for k in group], self._cuda, [self._streams[k] for k in group]
            )
            pack.advance()
        for k, member in zip(group, pack.members, strict=True):
            self._streams[k] = member.states

    def state_dict(self) -> list[dict[str, Any]]:
        """The models and their streams."""
        states = []
        for k in range(len(self._runs)):
            with self._own(k) as run:
                states.append(run.state_dict())
        return states

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Continue from there."""
        for k, state in enumerate(states):
            with self._own(k) as run:
                run.load_state_dict(state)


class Adjusting:
    """The adjustment of a run, fitted in the last epoch and in the kept one; None leaves what the model says.

    `y` and `weights` `[N]` are those of the rows to which it is fitted: of validation, or of training with `folds`.
    """

    def __init__(self, method: Adjustment | None, y: Floats, weights: Floats, folds: Folds | None) -> None:
        self._method, self._y, self._weights, self._folds = method, y, weights, folds
        self._last: Output | None = None
        self._kept: Output | None = None

    @classmethod
    def of_run(
        cls,
        method: Adjustment | None,
        data: Data,
        grid: LabelGrid,
        start: Callable[[Split], Run],
        device: torch.device,
        light: bool = False,
    ) -> "Adjusting":
        """That of a run on `data`; `start` makes a further run on some of the training rows, which may be `light`."""
        if method is None:
            return cls(None, np.empty(0), np.empty(0), None)
        y, held_out = (grid.learnt(split.y.numpy()).astype(np.float64) for split in (data.train, data.val))
        if not method.folds:
            return cls(method, held_out, np.ones(len(held_out)), None)
        weights = held_out_weights(data.train.y.numpy(), data.val.y.numpy(), grid)
        return cls(method, y, weights, Folds(data.train, y, method.folds, start, device, light))

    def train(self) -> None:
        """Train the further models for an epoch."""
        if self._folds is not None:
            self._folds.train()

    def validate(self, number: int, validation: Output) -> Output:
        """What is said of validation rows after an epoch, from what the model says of them."""
        if self._method is not None:
            self._last = validation if self._folds is None else self._folds.outputs(number)
        return self.of(validation, kept=False, own=True)

    def keep(self) -> None:
        """Remember this epoch as the kept one."""
        self._kept = self._last

    def held_out(self, kept: bool) -> HeldOut | None:
        """What the adjustment of the kept or the last epoch is fitted to; None where nothing is adjusted."""
        held = self._kept if kept else self._last
        return None if self._method is None or held is None else HeldOut(held, self._y, self._weights)

    def tensors(self, kept: bool) -> dict[str, Tensor]:
        """What the adjustment of the kept or the last epoch is fitted to, as `adjust_of` reads it."""
        given = self.held_out(kept)
        if given is None:
            return {}
        arrays = {"out": given.output.out, "pred": given.output.pred, "y": given.y, "weights": given.weights}
        arrays |= {"head": given.output.head} if given.output.head.size else {}
        return {f"{HELD_OUT}.{name}": torch.from_numpy(values.copy()) for name, values in arrays.items()}

    def of(self, output: Output, kept: bool, own: bool) -> Output:
        """What is said of rows, in the kept or the last epoch; `own`: of all the validation rows."""
        given = self.held_out(kept)
        if self._method is None or given is None:
            return output
        return self._crossed(given, self._method) if own and self._folds is None else self._method.adjust(given)(output)

    @staticmethod
    def _crossed(given: HeldOut, method: Adjustment) -> Output:
        """Held-out rows, each part of them mapped by what is fitted to the others; as they are where there is one."""
        count = min(VALIDATION_FOLDS, len(given.y))
        if count < 2:
            return given.output
        fold = folds_of(given.y, count)
        parts = [np.flatnonzero(fold == k) for k in range(count)]
        rest = [np.flatnonzero(fold != k) for k in range(count)]
        return joined(parts, [method.adjust(given.of(r))(given.output.of(p)) for r, p in zip(rest, parts, strict=True)])

    def state_dict(self) -> dict[str, Any]:
        """What the last and the kept epoch said of held-out rows, and the further models: tensors only."""
        said = {"last": self._last, "kept": self._kept}
        outputs = {k: o and [torch.from_numpy(values) for values in (o.out, o.pred, o.head)] for k, o in said.items()}
        return {**outputs, "folds": self._folds.state_dict() if self._folds else []}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from there."""
        self._last, self._kept = (
            None if state[name] is None else Output(*(values.cpu().numpy() for values in state[name]))
            for name in ("last", "kept")
        )
        if self._folds:
            self._folds.load_state_dict(state["folds"])

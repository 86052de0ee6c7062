"""Gradient boosting as a run: trees grown in epochs, with the weights, the records and the selection of a network."""

import math
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, Never

import numpy as np
import torch
from torch import Tensor

from workloads.adjusting import Adjusting, adjust_of
from workloads.diverged import Diverged, finite
from workloads.epoch import Epoch
from workloads.hparams import Value
from workloads.labels import Floats
from workloads.memory import WholeBatch
from workloads.metrics import shot_metrics
from workloads.objectives.boosting import Boosting
from workloads.predictor import Setup
from workloads.ranks import ALONE, Ranks, check_undivided
from workloads.recipe import Recipe, settings_of
from workloads.seam import Adjustment, Batch, Method, NoEffectWarning, Output, Step, TrainLabels
from workloads.seeds import seed_of
from workloads.training import Training
from workloads.workload import Data, Split, Workload

CPU: Final = torch.device("cpu")
LOSSES: Final = {"l1": "regression_l1", "l2": "regression"}
"""Names of the losses in LightGBM."""


START, GROWN = "start", "grown"


def columns(split: Split) -> Floats:
    """Inputs `[N, F]` of a split as columns of numbers, float64; raises ValueError where they are none."""
    return numbers(split.inputs(torch.arange(len(split.y)), CPU))


def numbers(x: Tensor) -> Floats:
    """The same of inputs `[N, …]`."""
    if wrong := Boosting.refuses(x):
        raise ValueError(f"boosting {wrong}")
    return x.flatten(1).numpy().astype(np.float64)


class Trees:
    """One run of gradient boosting, with the interface of `loop.Fit`: iterate it, ask `state_dict`, `predict`.

    Every epoch is a model of its own, which goes on from the sum of those before it; predictions are read from the
    models as text, so that a run that is continued from its state gives the same numbers bit for bit. `device` is not
    used: trees grow on the CPU, on all rows at once.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        workload: Workload,
        data: Data,
        recipe: Recipe,
        settings: Mapping[str, Value],
        seed: int,
        device: torch.device,
        pieces: int = 1,
        ranks: Ranks = ALONE,
    ) -> None:
        if pieces > 1:
            raise WholeBatch([recipe.objective])
        if ranks.size > 1:
            check_undivided([recipe.objective])
        self.hparams = Training.of(settings_of("train", settings), "train")
        self.workload, self.data, self.seed, self.grid = workload, data, seed, workload.grid
        self.metrics = self.hparams.metrics(workload)
        self.curve: list[Epoch] = []
        objective, methods, _ = recipe.build(settings)
        if not isinstance(objective, Boosting):
            raise TypeError(f"trees are grown under boosting, not {recipe.objective}")
        self.boosting = objective.hparams
        self.y = self.grid.learnt(data.train.y.numpy()).astype(np.float64)
        self.x = columns(data.train)
        self.weights = self._weights(methods)
        self.start = _centre(self.y, self.weights, self.boosting.loss)
        self.score = np.full(len(self.y), self.start)  # the sum of all trees so far, of training rows
        self.grown: list[str] = []
        self.best = -1
        self.best_score = math.inf
        self.val_regions = workload.regions(data, data.val)
        self.val_labels = self.labels(data.val)
        self.adjusting = Adjusting.of_run(
            next((method for method in methods.values() if isinstance(method, Adjustment)), None),
            data,
            self.grid,
            lambda rows: Trees(workload, replace(data, train=rows), recipe.trained, settings, seed, device),
            CPU,
        )

    def _weights(self, methods: Mapping[str, Method]) -> Floats:
        """Product of the methods' weights, `[N]`; raises ValueError for those of a method that looks at a network."""
        y = torch.from_numpy(self.y).float()
        bins, rows = torch.from_numpy(self.grid.bin(self.data.train.y.numpy())), torch.arange(len(y))
        none = torch.full((len(y), 1), math.nan)
        step = Step(Batch(none, y, bins, rows, 0, 0), none, none, none, none[:, 0], lambda x: x)
        made = torch.ones(len(y), dtype=torch.float64)
        for name, method in methods.items():
            method.seed(seed_of(self.seed, name), CPU)
            method.fit(TrainLabels(y, self.grid.of_learnt(), self.x.shape[1], len(y)))
            weight = method.weigh(step)
            if weight is None:
                continue
            if not weight.isfinite().all():
                raise ValueError(f"{name} weighs by what a network says, and boosting has none; leave it out")
            if torch.allclose(weight, torch.ones_like(weight), rtol=1e-6):
                warnings.warn(f"{name} changed nothing: the run equals one without it", NoEffectWarning, stacklevel=4)
            made *= weight
        return made.numpy()

    def __iter__(self) -> Iterator[Epoch]:
        while len(self.curve) < self.hparams.epochs:
            yield from self.steps()
            yield self.curve[-1]

    def steps(self) -> Generator[Never, None, None]:
        """Grow the trees of the next epoch, whose results are the last of `curve` at the end; it stops nowhere."""
        epoch = len(self.curve)
        self.grown.append(self._grow(epoch))
        self.score += _said(self.grown[-1], self.x)
        error = np.abs(self.score - self.y)
        loss = float((self.weights * (error if self.boosting.loss == "l1" else error**2)).mean())
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss} in epoch {epoch}")
        when = f"on validation in epoch {epoch}"
        self.adjusting.train()
        said = self.adjusting.validate(epoch, self.outputs(self.data.val, when))
        val = shot_metrics(self.grid.labels(said.pred), self.val_labels, self.val_regions, self.metrics, self.grid.unit)
        result = Epoch(epoch, 0, loss, finite(val, when))
        self._keep(result)
        self.curve.append(result)
        yield from ()

    def _grow(self, epoch: int) -> str:
        """The trees of an epoch as text, fitted to what all before them leave."""
        import lightgbm

        p = self.boosting
        parameters = {
            "objective": LOSSES[p.loss],
            "learning_rate": p.rate,
            "num_leaves": p.leaves,
            "min_data_in_leaf": p.leaf_rows,
            "feature_fraction": p.columns,
            "lambda_l2": p.l2,
            "seed": seed_of(self.seed, "trees", epoch) % 2**31,
            "num_threads": torch.get_num_threads(),
            "deterministic": True,  # the same trees with any number of threads
            "force_row_wise": True,
            "verbosity": -1,
        }
        rows = lightgbm.Dataset(self.x, self.y, weight=self.weights, init_score=self.score, params=parameters)
        grown: str = lightgbm.train(parameters, rows, num_boost_round=p.trees).model_to_string()
        return grown

    def _keep(self, epoch: Epoch) -> None:
        score = self.hparams.judged(epoch)
        if score is not None and score < self.best_score:
            self.best, self.best_score = epoch.epoch, score
            self.adjusting.keep()

    def outputs(self, split: Split, when: str, epochs: int | None = None) -> Output:
        """What the trees of the first epochs say of a split, by default of all; raises Diverged for what is infinite.

        There are no further outputs beside the prediction: an adjustment sees none.
        """
        x = self.x if split is self.data.train else columns(split)
        pred = _summed(self.start, self.grown[:epochs], x)
        if not np.isfinite(pred).all():
            raise Diverged(f"predictions {when} are not finite")
        return Output(pred[:, None], pred)

    def labels(self, split: Split) -> Floats:
        """Labels `[N]` as scores compare predictions with them: in label units, with the digits that are learnt."""
        return self.grid.labels(self.grid.learnt(split.y.numpy()))

    def predict(self, split: Split) -> Floats:
        """Predictions `[N]` float64 in label units by the trees up to the epoch that `train.keep` names."""
        kept = self.best + 1 if self.best >= 0 else len(self.grown)
        said = self.outputs(split, "of the kept epoch", kept)
        return self.grid.labels(self.adjusting.of(said, self.best >= 0, own=split is self.data.val).pred)

    def kept(self) -> Epoch:
        """The epoch up to which `predict` uses trees."""
        return self.curve[self.best]

    def tensors(self) -> dict[str, Tensor]:
        """What predictions need: the trees up to the kept epoch in LightGBM's text format, bytes of an epoch each."""
        kept = self.best + 1 if self.best >= 0 else len(self.grown)
        texts = {f"{GROWN}.{epoch:05d}": _bytes(text) for epoch, text in enumerate(self.grown[:kept])}
        start = torch.tensor(self.start, dtype=torch.float64)
        return {START: start, **texts, **self.adjusting.tensors(kept=self.best >= 0)}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on: tensors, numbers and strings only."""
        return {
            "curve": [asdict(epoch) for epoch in self.curve],
            "grown": list(self.grown),
            "score": torch.from_numpy(self.score.copy()),
            "best": self.best,
            "best_score": self.best_score,
            "adjusting": self.adjusting.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict` of a run that was made with the same arguments."""
        self.curve = [Epoch.of(row) for row in state["curve"]]
        self.grown, self.score = list(state["grown"]), state["score"].cpu().numpy().copy()
        self.best, self.best_score = state["best"], state["best_score"]
        self.adjusting.load_state_dict(state["adjusting"])


class Grown:
    """Trees apart from their data: from columns to predictions in label units, bit for bit those of the run."""

    def __init__(self, setup: Setup, tensors: Mapping[str, Tensor]) -> None:
        """Raises ValueError for tensors that are not those of such a model."""
        self.setup = setup
        texts = sorted(name for name in tensors if name.startswith(f"{GROWN}."))
        if START not in tensors or not texts:
            raise ValueError("tensors of trees are missing")
        self._start = float(tensors[START])
        self._grown = [bytes(tensors[name].tolist()).decode() for name in texts]
        _, methods, _ = Recipe.parse(setup.recipe).build(setup.settings)
        method = next((method for method in methods.values() if isinstance(method, Adjustment)), None)
        self._adjust = None if method is None else adjust_of(method, tensors)

    def predict(self, x: Tensor) -> Floats:
        """Predictions `[N]` of inputs `[N, …]` in label units, float64."""
        pred = _summed(self._start, self._grown, numbers(x))
        said = Output(pred[:, None], pred)
        return self.setup.grid.labels((said if self._adjust is None else self._adjust(said)).pred)


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8).clone()


def _summed(start: float, grown: Sequence[str], x: Floats) -> Floats:
    """The sum of all trees for rows `[N, F]`, epoch by epoch, `[N]`."""
    return sum((_said(text, x) for text in grown), np.full(len(x), start))


def _centre(y: Floats, weights: Floats, loss: str) -> float:
    """The constant with the least weighted loss: where boosting starts."""
    if loss == "l2":
        return float(np.average(y, weights=weights))
    order = np.argsort(y, kind="stable")
    summed = np.cumsum(weights[order])
    return float(y[order[np.searchsorted(summed, summed[-1] / 2)]])


def _said(grown: str, x: Floats) -> Floats:
    """What the trees of one epoch add to the prediction of rows `[N, F]`, `[N]`."""
    import lightgbm

    said = lightgbm.Booster(model_str=grown).predict(x, num_threads=torch.get_num_threads())
    return np.asarray(said, dtype=np.float64)

"""The training loop: it names no method, and an interrupted run continues bit for bit."""

import copy
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from workloads.adjusting import Adjusting
from workloads.batches import in_batches
from workloads.diverged import Diverged, finite
from workloads.epoch import Epoch
from workloads.features import Encoded
from workloads.flat import Flat
from workloads.hparams import Value
from workloads.labels import Floats
from workloads.laws import split_epochs
from workloads.memory import WholeBatch, in_pieces, told
from workloads.metrics import Score, shot_metrics
from workloads.model import Model, tensors
from workloads.ranks import ALONE, Ranks, check_undivided
from workloads.recipe import Recipe, settings_of
from workloads.seam import Batch, Features, Output
from workloads.seeds import seed_of
from workloads.speed import channels_last, compiled
from workloads.training import OPTIMIZERS, PRECISIONS, SCHEDULES, Training
from workloads.views import Rows, viewed
from workloads.workload import Data, Split, Workload, rows_in

ENCODE_ROWS: Final = 1024
ENCODE_VALUES: Final = 1 << 23
"""Most rows, and most input values, in a batch where no gradient is kept: 55 images at 224 px."""


class Fit:
    """One training run: iterate it for its epochs, ask `state_dict` between two of them, `predict` at the end.

    `settings` are complete (`training.settle`): what they do not name has its declared default, whatever the workload
    says.

    All numbers derive from the arguments: the same call gives the same run on the CPU, whatever ran before it in the
    process, and however often it was interrupted and continued from its `state_dict`.

    Batches are trained in `pieces`, whose gradients add up to that of the batch, where one does not fit into memory.
    Raises WholeBatch where a part must see it whole. The processes of `ranks` take a part of every batch each; raises
    Undivided where they cannot.
    """

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
        self.hparams = Training.of(settings_of("train", settings), "train")
        self.workload, self.data, self.device, self.pieces = workload, data, device, pieces
        self.ranks = ranks
        self.metrics = self.hparams.metrics(workload)
        self.curve: list[Epoch] = []
        self.best: dict[str, Tensor] | None = None
        self.best_score = math.inf
        self.best_methods: dict[str, Tensor] = {}
        self.seed = seed

        torch.manual_seed(seed_of(seed, "initial weights"))
        encoder, dim = workload.encoder(data)
        self.grid = workload.grid
        self.model = Model(encoder, dim, recipe, settings, data.units.learnt(self.grid))
        self.model.fit(workload.train_labels(data, dim, self.hparams.batch_size))
        if pieces > 1 and self.model.whole_batches:
            raise WholeBatch(self.model.whole_batches)
        if ranks.size > 1:
            check_undivided(self.model.undivided)
            self.model.encoder = ranks.together(self.model.encoder, device)
        self.model.to(device)
        self.model.seed({name: seed_of(seed, name) for name in ("objective", "plan", *recipe.methods)}, device)
        torch.manual_seed(seed_of(seed, "dropout"))
        self.order = torch.Generator().manual_seed(seed_of(seed, "batch order"))

        self._views: dict[Split, Rows] = {}
        self.train = self._view(data.train)
        if self.hparams.channels_last:
            channels_last(self.model.encoder, self.train.inputs(torch.tensor([0]))[0])
        if self.hparams.compile:
            compiled(self.model.encoder, device)
        self.rows = rows_in(data.train)
        self.val_regions = workload.regions(data, data.val)
        self.val_labels = self.labels(data.val)
        lengths = split_epochs([stage.share for stage in self.model.stages()], self.hparams.epochs)
        self.stages = [stage for stage, length in enumerate(lengths) for _ in range(length)]
        self.starts = [sum(lengths[:stage]) for stage in range(len(lengths))]
        self.optimizer = self._optimizer(self.stages[0])
        alike = replace(workload, encoder=lambda _: workload.encoder(data))  # one of all rows, whatever it looks at
        self.adjusting = Adjusting.of_run(
            self.model.adjustment,
            data,
            self.grid,
            lambda rows: Fit(alike, replace(data, train=rows), recipe.trained, settings, seed, device, pieces, ranks),
            device,
            workload.light,
        )
        self.scaler = torch.amp.GradScaler(
            device.type, enabled=self.hparams.precision == "fp16" and device.type == "cuda"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a record says of how it was trained."""
        return (*told(self.pieces, self.model.encoder), *self.ranks.notes)

    def _optimizer(self, number: int) -> torch.optim.Optimizer:
        """A fresh one for what a stage trains; `rates` are the learning rates of its groups."""
        p = self._settings(number)
        parts = {part: [own for own in part.parameters() if own.requires_grad] for part in self.model.parts()}
        own_rate = {part: rate for part in parts if parts[part] and (rate := part.learning_rate) is not None}
        like_network = [own for part, held in parts.items() if part not in own_rate for own in held]
        of_parts = {id(own) for held in parts.values() for own in held}
        network = [each for each in self.model.parameters() if each.requires_grad and id(each) not in of_parts]
        # In one stage all weights take part in every step; in several, some may rest.
        self.flat = Flat(network) if self.workload.light and len(self.model.stages()) == 1 else None
        optimizer = OPTIMIZERS[p.optimizer]([self.flat.whole] if self.flat else network, p)
        # A noise scale or a class centre is no weight: decay would pull it to an arbitrary 0.
        groups = [(like_network, p.lr)] if like_network else []
        groups += [(parts[part], rate) for part, rate in own_rate.items()]
        for held, _ in groups:
            optimizer.add_param_group({"params": held, "weight_decay": 0.0})
        self.rates = [p.lr, *(rate for _, rate in groups)]
        return optimizer

    def _settings(self, number: int) -> Training:
        """The hyperparameters of training in a stage."""
        return replace(self.hparams, **dict[str, Any](self.model.stages()[number].settings))

    def _enter(self, number: int) -> None:
        """Begin a later stage: its head, what it freezes, and its optimizer."""
        stage = self.model.stages()[number]
        self.model.begin(number)
        if not stage.continues:
            self.model.zero_grad()  # of what rests from here on, too: it would count in the gradient's norm
            self.optimizer = self._optimizer(number)

    def _view(self, split: Split) -> Rows:
        """A split as the loop meets it, made once."""
        if split not in self._views:
            self._views[split] = viewed(split, self.workload, self.device)
        return self._views[split]

    def __iter__(self) -> Iterator[Epoch]:
        while len(self.curve) < self.hparams.epochs:
            for loss in self.steps():
                if loss is not None:
                    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            yield self.curve[-1]

    def steps(self) -> Generator[Tensor | None, None, None]:
        """Train the next epoch, whose results are the last of `curve` at the end.

        It stops between the phases of a step, for a `Pack` to let other runs go as far as this one: at a loss, whose
        gradients it needs to go on, and at None.
        """
        epoch = len(self.curve)
        stage = self.stages[epoch]
        if epoch and self.stages[epoch - 1] != stage:
            if self.model.stages()[stage].start == "best":
                self._return_to_best()
            self._enter(stage)
            self.best, self.best_score = None, math.inf  # a stage is judged by what it trained itself
        with self.ranks.epoch(epoch, self.seed, self.model.parameters(), self.model.parts()):
            loss = yield from self._train(epoch, stage)
        if not math.isfinite(loss):
            raise Diverged(f"the training loss became {loss} in epoch {epoch}")
        self.model.end_epoch(epoch, stage, self._features(epoch))
        self.adjusting.train()
        ends_stage = self.stages[epoch + 1 : epoch + 2] != [stage]
        val = self._validate(epoch, stage) if self.hparams.validates(epoch, ends_stage) else {}
        result = Epoch(epoch, stage, loss, val)
        self._keep(result)
        self.curve.append(result)

    def _validate(self, epoch: int, stage: int) -> Mapping[str, Mapping[str, Score]]:
        """The scores on validation of the weights as they are."""
        when = f"on validation in epoch {epoch}"
        plain = self.outputs(self.data.val, when)
        said = self.adjusting.validate(epoch, plain)
        self.model.adjusted(said, plain)
        self.ranks.unite(self.model.effective)
        self.model.warn_of_idle(epoch, stage, last=epoch + 1 == self.hparams.epochs)
        val = shot_metrics(self.grid.labels(said.pred), self.val_labels, self.val_regions, self.metrics, self.grid.unit)
        return finite(val, when)

    def _train(self, epoch: int, stage: int) -> Generator[Tensor | None, None, float]:
        p = self._settings(stage)
        done = (epoch - self.starts[stage]) / self.stages.count(stage)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * SCHEDULES[p.schedule](self._scheduled(epoch, stage))
        total = torch.zeros((), device=self.device)
        self.model.train()
        batches = in_batches(self.model.drawn(stage, self.order), self.rows, self.hparams.batch_size, self.order)
        for whole, rows, read in self.ranks.ahead(self.train.read, batches, self.device, self.train.read_ahead):
            self.optimizer.zero_grad(set_to_none=True)
            if self.flat:
                self.flat.clear()
            batch = self.train.batch(rows, epoch, stage, done, read)
            yield None
            loss = yield from self._backward(batch, self.ranks.share(batch, whole))
            self.ranks.add_gradients(self.optimizer)
            if p.grad_clip:
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.model.parameters(), p.grad_clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            total += loss * len(whole)
            yield None
        self.ranks.add([total])
        return float(total) / self.rows  # the one synchronisation with the device in an epoch

    def _backward(self, batch: Batch, of: float | Tensor | None) -> Generator[Tensor | None, None, Tensor]:
        """Add the gradient of a batch, a share `of` a larger one, in as many pieces as memory asks for; its loss."""
        parts = []
        for share, piece in in_pieces(batch, self.pieces) if self.pieces > 1 else ((None, batch),):
            if PRECISIONS[self.hparams.precision] is None:
                loss = yield from self.model.phases(piece)
            else:
                with self.hparams.autocast(self.device):
                    loss = self.model.loss(piece)
            loss = loss if share is None else loss * share
            loss = loss if of is None else loss * of
            yield self.scaler.scale(loss)
            parts.append(loss.detach())
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum()

    def _scheduled(self, epoch: int, stage: int) -> float:
        """The share that is done of the stages under one schedule."""
        stages = self.model.stages()
        first = max(at for at in range(stage + 1) if not (at and stages[at].continues))
        end = next((at for at in range(stage + 1, len(stages)) if not stages[at].continues), len(stages))
        return (epoch - self.starts[first]) / sum(self.stages.count(at) for at in range(first, end))

    def _features(self, epoch: int) -> Features:
        """The training set encoded when a method asks, once per mode for all that ask."""

        def batches(train_mode: bool) -> Iterator[tuple[Tensor, Tensor]]:
            self.model.train(train_mode)
            return self._passed(epoch) if train_mode else self._encoded(self.train)

        return Encoded(self.train.y, batches)

    def _passed(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Places and features of the scored labels from a pass in training mode: BatchNorm moves, dropout acts.

        In batches, shuffled and augmented like those of a training epoch: in the order of the table, which is often
        sorted by label, BatchNorm would end with the statistics of the last labels. The order is a stream of its own,
        so that what a method asks for leaves the order of training as it is.
        """
        order = torch.Generator().manual_seed(seed_of(self.seed, "statistics pass", epoch))
        batches = in_batches(self.train.wanted(), self.rows, self.hparams.batch_size, order)
        yield from self._through(self.train, [shuffled.sort().values for shuffled in batches], self.train.seen)

    def _keep(self, epoch: Epoch) -> None:
        score = self.hparams.judged(epoch)
        if score is not None and score < self.best_score:
            self.best_score, self.best = score, copy.deepcopy(self.model.predictor().state_dict())
            self.adjusting.keep()
            following = self.model.stages()[epoch.stage + 1 :]
            if following and following[0].start == "best":
                self.best_methods = {name: held.detach().clone() for name, held in tensors(self.model.methods)}

    def _return_to_best(self) -> None:
        """Put back what the best epoch of a stage left: weights and statistics, of methods too; streams go on."""
        if self.best is None:
            return
        kept = {name: held for name, held in self.best.items() if not name.endswith("_extra_state")}
        self.model.predictor().load_state_dict(kept, strict=False)
        with torch.no_grad():
            for name, held in tensors(self.model.methods):
                held.copy_(self.best_methods[name])

    def tensors(self) -> dict[str, Tensor]:
        """What `predict` uses, on the CPU: weights by module, and what the adjustment is fitted to."""
        found, names = {}, self.model.predicting
        for name, value in (self.model.predictor().state_dict() if self.best is None else self.best).items():
            part, _, rest = name.partition(".")
            if not name.endswith("_extra_state"):  # random streams, which predictions do not draw from
                found[f"{names[int(part)]}.{rest}"] = value.detach().cpu().clone().contiguous()
        return found | self.adjusting.tensors(kept=self.best is not None)

    def _encoded(self, view: Rows) -> Iterator[tuple[Tensor, Tensor]]:
        """Places and features of the scored labels, from as many rows at a time as a device can hold."""
        wanted = view.wanted()
        values = view.split.inputs(wanted[:1], self.device).numel()
        most = max(1, min(ENCODE_ROWS, ENCODE_VALUES // values) // self.pieces)
        yield from self._through(view, torch.split(wanted, most * self.ranks.size), lambda x: x)

    def _through(
        self, view: Rows, batches: Sequence[Tensor], seen: Callable[[Tensor], Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for whole, rows, (x,) in self.ranks.ahead(view.inputs, batches, self.device, view.read_ahead):
            yield view.places(whole), self.ranks.gather(self._encode(view, seen(x), rows), whole, view.places)

    @torch.no_grad()
    def _encode(self, view: Rows, x: Tensor, rows: Tensor) -> Tensor:
        """Features of the scored labels of rows, `[…, D]`, in the precision of training."""
        with self.hparams.autocast(self.device):
            return self.model.mapped(view.scored(self.model.encoder(x), rows))

    def outputs(self, split: Split, when: str) -> Output:
        """What the weights as they are say of a split; raises Diverged where a prediction is not finite."""
        self.model.eval()
        view = self._view(split)
        with torch.no_grad():
            made = [self.model.outputs(z) for _, z in self._encoded(view)]
        out, pred = (self.ranks.first(torch.cat(parts)).cpu().double().numpy() for parts in zip(*made, strict=True))
        wrong = np.flatnonzero(~np.isfinite(pred))
        if len(wrong):
            raise Diverged(f"{len(wrong)} of {len(pred)} predictions {when} are not finite: {pred[wrong[0]]}")
        return Output(out, pred, self.model.linear_head())

    def _predict(self, split: Split, when: str) -> Floats:
        said = self.adjusting.of(self.outputs(split, when), self.best is not None, own=split is self.data.val)
        return self.grid.labels(said.pred)

    def labels(self, split: Split) -> Floats:
        """Labels `[N]` as scores compare predictions with them: in label units, with the digits that are learnt."""
        return self.grid.labels(self.grid.learnt(split.y.numpy()))

    def predict(self, split: Split) -> Floats:
        """Predictions `[N]` float64 in label units, of all rows or of the scored pixels.

        With the weights of the epoch that `train.keep` names, adjusted by what was fitted in it; those of validation
        rows are the ones that were scored. Raises Diverged where one is not finite.
        """
        when = f"of epoch {self.kept().epoch}" if self.curve else "before the first epoch"
        if self.best is None:
            return self._predict(split, when)
        predictor = self.model.predictor()
        last = copy.deepcopy(predictor.state_dict())
        predictor.load_state_dict(self.best)
        try:
            return self._predict(split, when)
        finally:
            predictor.load_state_dict(last)

    def kept(self) -> Epoch:
        """The epoch whose weights `predict` uses."""
        if self.best is None:
            return self.curve[-1]
        stage = self.curve[-1].stage  # an epoch of the stage before may have the very same score
        return next(e for e in self.curve if e.stage == stage and self.hparams.judged(e) == self.best_score)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on: tensors, numbers and strings only."""
        return {
            "curve": [asdict(epoch) for epoch in self.curve],
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "best": self.best,
            "best_score": self.best_score,
            "best_methods": self.best_methods,
            "adjusting": self.adjusting.state_dict(),
            "pieces": self.pieces,
            "order": self.order.get_state(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict` of a run that was made with the same arguments."""
        self.curve = [Epoch.of(row) for row in state["curve"]]
        for stage in range(1, self.curve[-1].stage + 1 if self.curve else 0):
            self._enter(stage)  # one after another: a head is made of the one before
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.best, self.best_score = state["best"], state["best_score"]
        self.best_methods = state.get("best_methods", {})
        if "adjusting" in state:  # older ones have no adjustment
            self.adjusting.load_state_dict(state["adjusting"])
        self.pieces = max(self.pieces, state.get("pieces", 1))
        # The state of a stream lives on the CPU, wherever a checkpoint is read to.
        self.order.set_state(state["order"].cpu())
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)

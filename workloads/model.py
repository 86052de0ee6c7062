"""The equation of the seam as one module: an encoder, a head and the parts of a recipe."""

import itertools
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor, nn

from workloads.hparams import Value
from workloads.labels import Floats
from workloads.recipe import Recipe, objective_of
from workloads.seam import (
    NO_HEAD,
    PENALTIES,
    Adjustment,
    Batch,
    Features,
    Method,
    NoEffectWarning,
    Objective,
    Output,
    Part,
    Stage,
    Step,
    TrainLabels,
    View,
)
from workloads.views import at_size
from workloads.workload import Units


class Model(nn.Module):
    """Encoder, linear head and parts.

        i ~ Π draw   x, y = augment(x_i, y_i)   z = map(encode(x))   h = calibrate(z)
        out = offset + scale · head(h)   pred = decode(out)   L = mean_i( loss_i(Π w_i) ) + Σ penalty

    Offset and scale are those of the labels, and act on the outputs that are labels.

    The mean is a plain one over the batch, as in the published code; weights have mean 1 over the training set, so
    the scale of the loss does not depend on the recipe.

    An encoder of maps gives features `[B, D, h, w]`. Their labelled pixels are gathered right after it, `[P, D]`, and
    are the samples of all that follows: the linear head on them is a 1×1 convolution of the map. An ensemble gives
    features `[B, k, D]` in training: what each member makes of a row is a sample with its label.
    """

    effective: Tensor

    def __init__(
        self, encoder: nn.Module, dim: int, recipe: Recipe, settings: Mapping[str, Value], units: Units
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective, methods, self.plan = recipe.build(settings)
        self.methods = nn.ModuleDict(methods)
        self._methods = methods
        self.register_buffer("effective", torch.zeros(len(methods), dtype=torch.bool))
        self._unproven: set[str] | None = None
        self._warned: set[str] = set()
        self.adjustment = next((m for m in methods.values() if isinstance(m, Adjustment)), None)
        self.dim = dim
        self.units = units
        # Those of stages that have their own; only that of the stage that is on is a part of the state.
        self._objectives = [objective_of(stage, self.objective) for stage in self.stages()]
        names = [stage.objective.removeprefix(PENALTIES) or recipe.objective for stage in self.stages()]
        self._named: dict[str, Part] = {**dict(zip(names, self._objectives, strict=True)), **methods}
        self.head = self.objective.head(dim)
        self._maps = {name: method for name, method in methods.items() if type(method).map is not Method.map}

    def fit(self, train: TrainLabels) -> None:
        """Let every part size its buffers, and give the head the width that the objective asks for."""
        for part in dict.fromkeys((*self._objectives, *self._methods.values())):
            part.fit(train)
        self.objective = self._objectives[0]
        self.fresh_head()
        self._freeze(self.stages()[0])

    @property
    def _weight(self) -> Tensor:
        weight = self.head.weight
        assert isinstance(weight, Tensor)  # torch says: or a module
        return weight

    def seed(self, seeds: Mapping[str, int], device: torch.device) -> None:
        """Give every part its own random stream; `seeds` holds one number per part of the recipe."""
        for objective in self._objectives:
            objective.seed(seeds["objective"], device)
        self.plan.seed(seeds["plan"], device)
        for name, method in self.methods.items():
            method.seed(seeds[name], device)  # type: ignore[operator]  # ModuleDict forgets that these are methods

    def fresh_head(self) -> None:
        """Start the head anew."""
        device = self._weight.device
        self.head = self.objective.head(self.dim).to(device)

    def begin(self, number: int) -> None:
        """Enter a later stage: its objective, its head, and what is trained in it."""
        stage, before = self.stages()[number], self.objective
        self.objective = self._objectives[number].to(self._weight.device)
        if stage.fresh_head or _head_of(before) != _head_of(self.objective):
            self.fresh_head()
        self._freeze(stage)
        if stage.head is not None:
            self.head = stage.head(self.head)

    def _freeze(self, stage: Stage) -> None:
        self.encoder.requires_grad_(stage.trains != "head")
        self.head.requires_grad_(stage.trains != "encoder")

    def parts(self) -> Sequence[Part]:
        """The parts of the recipe, whose own parameters are learned but not decayed."""
        return (self.objective, *self._methods.values(), self.plan)

    def predictor(self) -> nn.ModuleList:
        """The modules that a prediction needs."""
        return nn.ModuleList([self.encoder, self.head, self.objective, *self._maps.values()])

    @property
    def predicting(self) -> list[str]:
        """The names of these modules; a method's is its own."""
        return ["encoder", "head", "objective", *self._maps]

    @property
    def whole_batches(self) -> list[str]:
        """Names of the parts that must see a batch whole."""
        return [name for name, part in self._named.items() if part.batch_matters]

    @property
    def undivided(self) -> list[str]:
        """Names of the parts that must see a batch whole, or all batches: processes cannot share them."""
        return [name for name, part in self._named.items() if part.batch_matters or part.collects]

    def stages(self) -> Sequence[Stage]:
        """The stages of the plan."""
        return self.plan.stages()

    def output(self, h: Tensor) -> Tensor:
        """Head output `[B, K]`, labels on the scale on which they are learnt, in the precision of the head's weights.

        Computed in half precision ages of 35 to 51 would come in steps of ¼ year, and 120 mmHg in steps of ½.
        """
        device = h.device.type
        with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
            out: Tensor = self.head(h.to(self._weight.dtype))
        labels = self.objective.labels
        if labels == 0:
            return out
        made = torch.add(out[:, :labels] * self.units.scale, self.units.offset)
        return made if labels is None else torch.cat([made, out[:, labels:]], dim=1)

    def drawn(self, stage: int, order: torch.Generator) -> Tensor | None:
        """The rows of an epoch `[N]`, on the CPU, where a method says how often each comes; None takes each once."""
        chances = None
        for name, method in self._acting(stage):
            if (chance := method.draw()) is not None:
                self._note(name, chance, torch.zeros_like(chance))
                chances = chance if chances is None else chances * chance
        if chances is None:
            return None
        ends = chances.cpu().double().cumsum(0)  # torch.multinomial takes 2²⁴ rows at most
        at = torch.rand(len(ends), dtype=ends.dtype, generator=order) * ends[-1]
        return torch.searchsorted(ends, at, right=True).clamp_(max=len(ends) - 1)  # a product may round up to the end

    def mapped(self, z: Tensor) -> Tensor:
        """What the methods make of the encoder's features `[…, D]`, in training and evaluation alike."""
        for name, method in self._maps.items():
            moved = method.map(z)
            if self.training:
                self._note(name, moved, z)
            z = moved
        return z

    def encode(self, x: Tensor) -> Tensor:
        """Features of inputs, of an ensemble in training those of every member: `[B k, D]`."""
        z = self.encoder(x)
        return self.mapped(z.flatten(0, 1) if z.dim() == 3 else z)

    def predict(self, z: Tensor) -> Tensor:
        """Predictions `[B]` of features `[B, D]`, on that scale, before any adjustment."""
        return self.objective.decode(self.output(z))

    def outputs(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Head outputs `[B, K]`, `[B, 0]` where no method adjusts them, and predictions `[B]`."""
        out = self.output(z)
        return out if self.adjustment else out.new_empty(len(out), 0), self.objective.decode(out)

    def linear_head(self) -> Floats:
        """Weights of the head and biases `[K, D + 1]`, where a method adjusts what it says."""
        if self.adjustment is None:
            return NO_HEAD
        with torch.no_grad():
            bias = self.head.bias if isinstance(self.head.bias, Tensor) else torch.zeros_like(self._weight[:, 0])
            held = torch.cat([self._weight, bias.unsqueeze(1)], dim=1)
        return np.asarray(held.double().cpu().numpy())

    def forward(self, x: Tensor) -> Tensor:
        """Predictions of inputs: `[B]`, or maps `[B, h, w]`."""
        z = self.encoder(x)
        last = z.movedim(1, -1)
        return self.predict(self.mapped(last.flatten(0, -2))).view(last.shape[:-1])

    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar."""
        phases = self.phases(batch)
        while True:
            try:
                next(phases)
            except StopIteration as end:
                made: Tensor = end.value
                return made

    def phases(self, batch: Batch) -> Generator[None, None, Tensor]:
        """The same, stopping between its phases, for other runs to go as far: encoder, objective, each penalty."""
        acting = self._acting(batch.stage)
        for name, method in acting:
            made = method.augment(batch)
            if made is not batch:
                self._note(name, made.x, batch.x)
                made = replace(made, again=None)
            batch = made
        z, batch = samples(self.encoder(batch.x), batch)
        yield
        z = self.mapped(z)
        h = z
        for name, method in acting:
            moved = method.calibrate(h, batch)
            if moved is not h:
                self._note(name, moved, h)
            h = moved
        out = self.output(h)
        again = None if batch.again is None else cache(partial(self._view, batch.again))
        step = Step(batch, z, h, out, self.objective.decode(out), self.encode, again=again)
        w: Tensor | float = 1.0
        for name, method in acting:
            weight = method.weigh(step)
            if weight is not None:
                self._note(name, weight, torch.ones_like(weight))
                w = weight * w
        step = replace(step, w=w)
        alone = self.stages()[batch.stage].objective == PENALTIES
        total = z.flatten()[:0].sum() if alone else self.objective.weighted(step).mean()
        for name, method in acting:
            yield
            penalty = method.penalty(step)
            if penalty is not None:
                if penalty.requires_grad:
                    self._note(name, penalty, torch.zeros_like(penalty))
                total = total + penalty
        return total

    def _view(self, augmented: Callable[[], Tensor]) -> View:
        z = self.encode(augmented())
        return View(z, self.predict(z))

    def end_epoch(self, epoch: int, stage: int, features: Features) -> None:
        """Let the methods that act in this stage update their statistics."""
        for _, method in self._acting(stage):
            method.end_epoch(epoch, features)

    def adjusted(self, after: Output, before: Output) -> None:
        """Note what was made of the outputs after training."""
        for name in (name for name, method in self._methods.items() if method is self.adjustment):
            for new, old in ((after.pred, before.pred), (after.out, before.out)):
                self._note(name, torch.from_numpy(new), torch.from_numpy(old))

    def warn_of_idle(self, epoch: int, stage: int, last: bool) -> None:
        """Warn of a method of this stage that changed nothing up to the end of an epoch.

        A method may need some epochs to warm up, unless this was the `last` one.
        """
        if self._unproven is None or self._unproven:
            self._unproven = self._without_effect()  # synchronises, once an epoch and only until all had an effect
            for name, method in self._acting(stage):
                if name in self._unproven and name not in self._warned and (last or epoch >= method.warmup):
                    self._warned.add(name)
                    warnings.warn(
                        f"{name} changed nothing up to epoch {epoch}: the run equals one without it",
                        NoEffectWarning,
                        stacklevel=2,
                    )

    def _acting(self, stage: int) -> list[tuple[str, Method]]:
        last = len(self.stages()) - 1
        if not self.stages()[stage].methods:
            return []
        return [(name, method) for name, method in self._methods.items() if stage >= min(method.joins, last)]

    def _note(self, name: str, new: Tensor, old: Tensor) -> None:
        """Remember on the device that a method had an effect; a method is asked until the end of its first such epoch.

        The answer is read once an epoch, and kept in the checkpoint: a continued run must not warn of a method that
        had its effect before.
        """
        if self._unproven is None or name in self._unproven:
            place = list(self._methods).index(name)
            with torch.no_grad():
                self.effective[place] |= changed(new, old)

    def _without_effect(self) -> set[str]:
        return {name for name, seen in zip(self._methods, self.effective.tolist(), strict=True) if not seen}


def _head_of(objective: Objective) -> tuple[object, ...]:
    """What two objectives share that can have one head."""
    return type(objective).head, objective.outputs, objective.labels


def samples(z: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """Features `[P, D]` and labels of the labelled pixels of maps `[B, D, h, w]`; rows `[B, D]` stay as they are.

    Of the members of an ensemble `[B, k, D]`: features `[B k, D]`, each with the label of its row.
    """
    if z.dim() == 2:
        return z, batch
    if z.dim() == 3:
        y, bin_, index = (own.repeat_interleave(z.shape[1]) for own in (batch.y, batch.bin, batch.index))
        return z.flatten(0, 1), replace(batch, y=y, bin=bin_, index=index)
    known = ~batch.y.isnan()  # how many there are decides all later sizes: one synchronisation a step
    row = batch.index.view(-1, 1, 1).expand(known.shape)
    at_labels = at_size(z, known.shape[1:]).movedim(1, -1)
    return at_labels[known], replace(batch, y=batch.y[known], bin=batch.bin[known], index=row[known])


def changed(new: Tensor, old: Tensor) -> Tensor:
    """Whether anything differs by more than rounding: a bool on the device."""
    if new.shape != old.shape:
        return torch.ones((), dtype=torch.bool, device=new.device)
    return ((new - old).abs() > 1e-6 * old.abs()).any()


def tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a module by name."""
    return itertools.chain(module.named_parameters(), module.named_buffers())

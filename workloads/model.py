"""The equation of the seam as one module: an encoder, a head and the parts of a recipe."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from workloads.hparams import Value
from workloads.recipe import Recipe
from workloads.seam import Batch, Features, Stage, Step, TrainLabels
from workloads.workload import Units


class Model(nn.Module):
    """Encoder, linear head and parts.

        z = encode(x)   h = calibrate(z)   out = offset + scale · head(h)   pred = decode(out)
        L = mean_i( Π w_i · loss_i ) + Σ penalty

    The mean is a plain one over the batch, as in the published code; weights have mean 1 over the training set, so
    the scale of the loss does not depend on the recipe.
    """

    def __init__(
        self, encoder: nn.Module, dim: int, recipe: Recipe, settings: Mapping[str, Value], units: Units
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective, methods, self.plan = recipe.build(settings)
        self.methods = nn.ModuleDict(methods)
        self._methods = tuple(methods.values())
        self.dim = dim
        self.units = units
        self.head = nn.Linear(dim, self.objective.outputs)

    def fit(self, train: TrainLabels) -> None:
        """Let every part size its buffers, and give the head the width that the objective asks for."""
        for part in (self.objective, *self._methods):
            part.fit(train)
        self.fresh_head()

    def seed(self, seeds: Mapping[str, int], device: torch.device) -> None:
        """Give every part its own random stream; `seeds` holds one number per part of the recipe."""
        self.objective.seed(seeds["objective"], device)
        self.plan.seed(seeds["plan"], device)
        for name, method in self.methods.items():
            method.seed(seeds[name], device)  # type: ignore[operator]  # ModuleDict forgets that these are methods

    def fresh_head(self) -> None:
        """Start the head anew."""
        device = self.head.weight.device
        self.head = nn.Linear(self.dim, self.objective.outputs).to(device)

    def stages(self) -> Sequence[Stage]:
        """The stages of the plan."""
        return self.plan.stages()

    def output(self, h: Tensor) -> Tensor:
        """Head output `[B, K]` in label units."""
        out: Tensor = self.head(h)
        return torch.add(out * self.units.scale, self.units.offset)

    def forward(self, x: Tensor) -> Tensor:
        """Predictions `[B]` in label units: no method acts outside training."""
        return self.objective.decode(self.output(self.encoder(x)))

    def loss(self, batch: Batch) -> Tensor:
        """The training loss of a batch, a scalar."""
        last = len(self.stages()) - 1
        acting = [method for method in self._methods if batch.stage >= min(method.joins, last)]
        z = self.encoder(batch.x)
        h = z
        for method in acting:
            h = method.calibrate(h, batch)
        out = self.output(h)
        step = Step(batch, z, h, out, self.objective.decode(out), self.encoder)
        losses: Tensor = self.objective(step)
        for method in acting:
            weight = method.weigh(step)
            losses = losses if weight is None else losses * weight
        total = losses.mean()
        for method in acting:
            penalty = method.penalty(step)
            total = total if penalty is None else total + penalty
        return total

    def end_epoch(self, epoch: int, stage: int, features: Features) -> None:
        """Let the methods that act in this stage update their statistics."""
        last = len(self.stages()) - 1
        for method in self._methods:
            if stage >= min(method.joins, last):
                method.end_epoch(epoch, features)

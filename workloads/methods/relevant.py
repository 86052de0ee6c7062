"""Weights by the relevance of a label."""

from typing import Annotated, ClassVar

import numpy as np
from torch import Tensor

from workloads.hparams import Choice, Declared, Float
from workloads.relevance import TAILS, relevance
from workloads.seam import Method, Step, TrainLabels


class RelevanceWeights(Method):
    """Weigh every sample by the relevance of its label: more towards the extremes.

        w_i ∝ φ(y_i) + floor,   mean over the training set 1

    φ is 0 at the median of the training labels and 1 from the fences of their box plot on (`workloads.relevance`). With
    a squared error and `floor = 0` it is SERA as a loss, up to a factor: the squared error relevance area
    ∫₀¹ Σ_{φ(y_i) ≥ t} (pred_i − y_i)² dt equals Σ_i φ(y_i) (pred_i − y_i)² exactly, where published code adds up steps
    of t. The common labels then have no weight at all, so `floor` is above 0 by default (0.1 is ours).
    """

    source: ClassVar[str] = "Silva et al., ECML PKDD 2022, arXiv:2206.09991; φ of Ribeiro & Moniz, Mach. Learn. 2020"
    note: ClassVar[str] = "reference code GPL, not used here"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    joins: ClassVar[int] = 1
    slot: ClassVar[str | None] = "density"

    class Hparams(Declared):
        """`floor`: relevance added to every label; `tails`: the extremes that matter, those with outliers or both."""

        floor: Annotated[float, Float(0.0, 1.0)] = 0.1
        tails: Annotated[str, Choice(*TAILS, tune=False)] = "outliers"

    hparams: Hparams

    def fit(self, train: TrainLabels) -> None:
        """Find the control points of φ and the mean weight of the training labels."""
        labels = np.asarray(train.y.numpy(), dtype=np.float64)
        self.phi = relevance(labels, self.hparams.tails)
        # Labels that are all equal have no relevance: then floor = 0 gives no weights, and no NaN.
        self.mean = max(float(self.phi(labels).mean()) + self.hparams.floor, 1e-12)

    def weigh(self, step: Step) -> Tensor:
        """Weight of every sample, `[B]`."""
        return (self.phi(step.batch.y) + self.hparams.floor) / self.mean

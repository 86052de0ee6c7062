"""τ-normalisation: the weights of a classifier are scaled after training by a power of their length."""

from dataclasses import replace
from typing import ClassVar, Final

import numpy as np

from workloads.labels import Floats
from workloads.seam import Adjust, Adjustment, HeldOut, Output, TrainLabels

POWERS: Final = np.arange(21) / 10
"""Powers τ that are tried, as published: 0, 0.1, …, 2."""


def normalised(output: Output, power: float) -> Floats:
    """Outputs `[N, K]` of a head whose weights are divided by their length to a power, and that has no bias."""
    weight, bias = output.head[:, :-1], output.head[:, -1]
    length = np.linalg.norm(weight, axis=1)
    return np.asarray((output.out - bias) / np.where(length > 0, length, 1.0) ** power)


class TauNorm(Adjustment):
    """Scale the weights of the classes after training, so that those of common ones lose their greater length.

        adjust: pred = the label of the largest w_k · z / ‖w_k‖^τ

    τ is the one of 0, 0.1, …, 2 with which validation rows are best predicted, by the mean accuracy over classes, and
    the least of those that are as good. The published choice is by accuracy on a validation set in which classes are
    equally frequent, where that is the same. The bias is left out, as in the paper.

    The outputs are read as they are: what an objective does to them before it decodes, such as
    `logit_adjust.at = prediction`, does not act.
    """

    source: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217"
    note: ClassVar[str] = "reference code BSD"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    dense: ClassVar[bool] = False
    needs_rows: ClassVar[str] = "keeps the outputs of all held-out labels after every epoch"

    def fit(self, train: TrainLabels) -> None:
        """Keep what the labels of the classes are."""
        self.low, self.width = train.grid.low, train.grid.width

    def adjust(self, held_out: HeldOut) -> Adjust:
        """The scaling that is best on held-out rows."""
        classes = np.round((held_out.y - self.low) / self.width).astype(np.int64)
        _, place, counts = np.unique(classes, return_inverse=True, return_counts=True)
        share = held_out.weights / counts[place]  # every class counts alike
        scores = [share @ (normalised(held_out.output, power).argmax(1) == classes) for power in POWERS]
        best = POWERS[int(np.argmax(np.round(scores, 12)))]

        def adjusted(output: Output) -> Output:
            out = normalised(output, best)
            return replace(output, out=out, pred=self.low + self.width * out.argmax(1))

        return adjusted

"""Gradient boosting as what a recipe starts from: trees in place of a network."""

from typing import Annotated, ClassVar

from torch import Tensor

from workloads.hparams import Choice, Declared, Float, Int
from workloads.seam import Objective, Step


class Boosting(Objective):
    """Gradient-boosted trees on the columns of a table, in place of a network.

        pred(x) = start + rate · Σ_k tree_k(x),   every tree fitted to the gradient of Σ_i w_i · loss_i

    `loss = l1` is |pred − y|, where a leaf holds a weighted median, and `l2` the squared error. An epoch grows `trees`
    of them; with `train.keep = best` the number that validates best is kept, which is early stopping. Weights are those
    of the recipe's density method. Methods that act on batches, features or outputs of a network are refused, and
    recalibration acts as it does on a network.

    Defaults are LightGBM's.
    """

    source: ClassVar[str] = "Ke et al., NeurIPS 2017; the implementation is LightGBM (MIT)"
    trainer: ClassVar[str] = "trees"
    needs: ClassVar[tuple[str, ...]] = ("lightgbm",)
    dense: ClassVar[bool] = False
    needs_rows: ClassVar[str] = "grows trees on the columns of a table"

    @staticmethod
    def refuses(x: Tensor) -> str:
        """Bytes and words."""
        if x.dtype.is_floating_point:
            return ""
        return (
            "grows trees on columns of numbers, and this workload's inputs are bytes or numbers of words: take a "
            "table, or frozen features"
        )

    class Hparams(Declared):
        """`leaf_rows`: fewest rows of a leaf; `columns`: share of them that a tree sees; `l2`: penalty on leaves."""

        loss: Annotated[str, Choice("l2", "l1")] = "l2"
        rate: Annotated[float, Float(0.01, 0.5, log=True)] = 0.1
        leaves: Annotated[int, Int(2, 256, log=True)] = 31
        leaf_rows: Annotated[int, Int(1, 200, log=True)] = 20
        columns: Annotated[float, Float(0.2, 1.0)] = 1.0
        l2: Annotated[float, Float(0.0, 1000.0, tune=False)] = 0.0
        trees: Annotated[int, Int(1, 1000, tune=False)] = 10

    hparams: Hparams

    def forward(self, step: Step) -> Tensor:
        """Loss of every sample, `[B]`, in label units or their square."""
        error = step.pred - step.batch.y
        return error.abs() if self.hparams.loss == "l1" else error.square()

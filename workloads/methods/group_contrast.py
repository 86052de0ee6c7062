"""The contrast of group classification: features are ranked by distance as the groups of their labels are."""

from typing import Annotated, ClassVar

from torch import Tensor
from torch.nn.functional import normalize

from workloads.contrast import contrasted
from workloads.groups import group_of, inner_edges
from workloads.hparams import Declared, Float, Int
from workloads.seam import Method, Step, TrainLabels


class GroupContrast(Method):
    """Contrast every pair of samples with all pairs whose groups of labels are at least as far apart.

        penalty = weight · −1/(m(m−1)) Σ_i Σ_{j≠i} log( e^{s_ij} / Σ_{k≠i, d_ik ≥ d_ij} e^{s_ik} )
        s_ij = cos(z_i, z_j) / t,   d_ij = |g_i − g_j|

    over the m = 2B features of both views where the workload augments its inputs, else over the batch (`rnc` with other
    similarities and labels). g_i is the group of y_i among G equal parts of the range of the training labels. t = 2 is
    that of Rank-N-Contrast, to which the paper refers; the paper gives no weight for the other two terms.

    With its objective, `grc + group_contrast`, it is the paper's model where both have the same number of groups.
    """

    source: ClassVar[str] = "Pu et al., AAAI 2025, arXiv:2412.12327"
    note: ClassVar[str] = "reference code not used here"
    tasks: ClassVar[tuple[str, ...]] = ("regression",)
    dense: ClassVar[bool] = False
    batch_matters: bool = True
    needs_rows: ClassVar[str] = "needs all pairs of a batch"

    class Hparams(Declared):
        """`weight` per unit of the objective's loss; `temperature`: t; `groups`: G."""

        weight: Annotated[float, Float(1e-2, 1e2, log=True)] = 1.0
        temperature: Annotated[float, Float(0.1, 20.0, log=True)] = 2.0
        groups: Annotated[int, Int(2, 50, log=True, tune=False)] = 10

    hparams: Hparams
    edges: Tensor

    def fit(self, train: TrainLabels) -> None:
        """Lay the groups over the training labels: their inner edges, `[G − 1]`."""
        self.register_buffer("edges", inner_edges(train.y, self.hparams.groups))

    def penalty(self, step: Step) -> Tensor | None:
        """The weighted contrast, a scalar; None where nothing of it can be learned."""

        def alike(z: Tensor) -> Tensor:
            unit = normalize(z, dim=1)
            return unit @ unit.T / self.hparams.temperature

        loss = contrasted(step, group_of(step.batch.y, self.edges), alike)
        return None if loss is None else self.hparams.weight * loss

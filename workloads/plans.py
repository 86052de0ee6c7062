"""Plans by name, in canonical order."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

from workloads.hparams import Declared, Float, Law
from workloads.laws import StagesTrain
from workloads.seam import Plan, Stage


class Once(Plan):
    """Train everything for all the epochs."""

    source: ClassVar[str] = "ordinary training"

    def stages(self) -> Sequence[Stage]:
        """One stage."""
        return (Stage(1.0),)


class RRT(Plan):
    """Regressor re-training: train everything, then a fresh head on the frozen encoder.

    As published, the encoder's parameters are frozen in the second stage while its BatchNorm statistics keep moving
    (it stays in training mode), weights act from the second stage on, and both stages have the same learning rate and
    schedule. The second stage starts from the best epoch of the first, its statistics included: published is the
    checkpoint with the lowest validation error, here the epoch that `train.keep` and `train.monitor` name.

    Published runs give each stage all the epochs (90 and 90 for ages); here the two share the trial's, so that every
    recipe has the same budget.
    """

    source: ClassVar[str] = "baseline RRT of Yang et al., ICML 2021, arXiv:2102.09554, Sec. 4.1"
    version: ClassVar[int] = 2  # 2: the second stage starts from the best epoch of the first

    class Hparams(Declared):
        """`head_share`: share of the epochs that trains the fresh head."""

        head_share: Annotated[float, Float(0.1, 0.9, tune=False)] = 0.5

        laws: ClassVar[tuple[Law, ...]] = (StagesTrain("head_share", lambda share: (1.0 - share, share)),)

    hparams: Hparams

    def stages(self) -> Sequence[Stage]:
        """The encoder's stage, then the head's."""
        share = self.hparams.head_share
        return (Stage(1.0 - share), Stage(share, trains="head", fresh_head=True, start="best"))


PLANS: Final[dict[str, type[Plan]]] = {
    "once": Once,
    "rrt": RRT,
}

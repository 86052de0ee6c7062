"""Plans by name, in canonical order."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final

from workloads.heads import Scaled
from workloads.hparams import Choice, Declared, Float, Law
from workloads.laws import StagesTrain
from workloads.seam import PENALTIES, Plan, Stage


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


class TwoStages(Plan):
    """Two stages, each with its own loss, learning rate and optimizer: the second begins where the first was best.

    The first trains everything by `first`: the recipe's own objective, another one (with its defaults), or none, so
    that only the penalties of methods train the encoder and the second stage starts from its last epoch. `methods` says
    whether methods act from the first stage on (those that join in the second do so anyway). The second trains by the
    recipe's objective, everything or a head, at a constant `lr` (0: that of the first, with its schedule).

    It says the protocols of the papers:

        Rank-N-Contrast   l1 + rnc + two_stages         first: none, trains: head, fresh_head: true, own lr
        Balanced MSE      bmse + two_stages             first: l1, trains: head, lr: 1e-4
        Dist Loss         l1 + distloss + two_stages    the defaults: the penalty joins in the second stage
        cRT               cross_entropy + balanced + two_stages    trains: head, fresh_head: true

    The stages share the epochs of the trial, so that every recipe has the same budget; published runs add them.
    """

    source: ClassVar[str] = (
        "two-stage training of Kang et al., ICLR 2020, Ren et al., CVPR 2022, Zha et al., NeurIPS 2023"
    )

    class Hparams(Declared):
        """Of the second stage: its share of the epochs, what it trains, and how."""

        second_share: Annotated[float, Float(0.05, 0.95, tune=False)] = 0.5
        first: Annotated[str, Choice("same", "l1", "mse", "cross_entropy", PENALTIES, tune=False)] = "same"
        methods: Annotated[str, Choice("both", "second", tune=False)] = "both"
        trains: Annotated[str, Choice("all", "head", tune=False)] = "all"
        fresh_head: Annotated[bool, Choice(False, True, tune=False)] = False
        lr: Annotated[float, Float(0.0, 1.0, tune=False)] = 0.0
        optimizer: Annotated[str, Choice("same", "adam", "adamw", "sgd", tune=False)] = "same"
        decay: Annotated[bool, Choice(True, False, tune=False)] = True

        laws: ClassVar[tuple[Law, ...]] = (StagesTrain("second_share", lambda share: (1.0 - share, share)),)

    hparams: Hparams

    def stages(self) -> Sequence[Stage]:
        """The first stage, then the second."""
        p = self.hparams
        alone = p.first == PENALTIES
        return (
            Stage(
                1.0 - p.second_share,
                trains="encoder" if alone else "all",
                objective="" if p.first == "same" else p.first,
                methods=p.methods == "both",
            ),
            Stage(
                p.second_share,
                trains="head" if p.trains == "head" else "all",
                fresh_head=p.fresh_head,
                start="last" if alone else "best",
                settings={
                    **({"lr": p.lr, "schedule": "constant"} if p.lr else {}),
                    **({} if p.optimizer == "same" else {"optimizer": p.optimizer}),
                    **({} if p.decay else {"weight_decay": 0.0}),
                },
            ),
        )


class Deferred(Plan):
    """Deferred re-weighting: weights act in the last part of the training, which otherwise goes on as it was.

    Methods that join in a second stage, as weights by label density and balanced sampling do, act in the last `share`
    of the epochs. Optimizer and schedule go on. In the paper the share is 0.2, the weights are `class_balanced`, and
    the schedule has its drop where they join: `ldam + class_balanced + drw` is LDAM-DRW.
    """

    source: ClassVar[str] = "Cao et al., NeurIPS 2019, arXiv:1906.07413 (DRW)"
    note: ClassVar[str] = "reference code MIT"

    class Hparams(Declared):
        """`share` of the epochs in which weights act."""

        share: Annotated[float, Float(0.05, 0.9, tune=False)] = 0.2

        laws: ClassVar[tuple[Law, ...]] = (StagesTrain("share", lambda share: (1.0 - share, share)),)

    hparams: Hparams

    def stages(self) -> Sequence[Stage]:
        """Without weights, then with them."""
        return (Stage(1.0 - self.hparams.share), Stage(self.hparams.share, continues=True))


class LearnableScale(Plan):
    """Learnable weight scaling (LWS): train everything, then one factor for every output of the frozen head.

        out = f · head(h),   f `[K]` starts at 1

    With `balanced` the second stage draws every class equally often, as published: `cross_entropy + balanced + lws`.
    Published are 10 epochs of it after 90 on ImageNet-LT; here the stages share the epochs.
    """

    source: ClassVar[str] = "Kang et al., ICLR 2020, arXiv:1910.09217"
    note: ClassVar[str] = "reference code BSD"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    class Hparams(Declared):
        """`share` of the epochs that learns the factors; `lr` of them, 0 that of the first stage."""

        share: Annotated[float, Float(0.05, 0.9, tune=False)] = 0.1
        lr: Annotated[float, Float(0.0, 1.0, tune=False)] = 0.0

        laws: ClassVar[tuple[Law, ...]] = (StagesTrain("share", lambda share: (1.0 - share, share)),)

    hparams: Hparams

    def stages(self) -> Sequence[Stage]:
        """Everything, then the factors."""
        p = self.hparams
        settings = {"lr": p.lr} if p.lr else {}
        return (
            Stage(1.0 - p.share),
            Stage(p.share, trains="head", start="best", settings=settings, head=Scaled),
        )


PLANS: Final[dict[str, type[Plan]]] = {
    "once": Once,
    "rrt": RRT,
    "two_stages": TwoStages,
    "drw": Deferred,
    "lws": LearnableScale,
}

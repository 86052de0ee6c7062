"""What of a study a report shows, and how, where somebody asked for a part of it or for another view."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from orchestrator.errors import BadInput, shown
from orchestrator.report.controls import PREFIX
from orchestrator.study.cell_plan import CellPlan
from workloads.hparams import UnknownName
from workloads.labels import Shares, Shots
from workloads.metrics import METRICS
from workloads.workload import Workload

BEST: Final = "best"
CONTROL: Final = "control"


@dataclass(frozen=True)
class Asked:
    """Workloads, recipes and metrics to show, all where none is named; shot regions; what recipes are compared with.

    `regions` are thresholds on the training rows of a bin, many > the first, few < the second; of pixels, on its share
    in percent. `against` is a row of the table, or `best` or `control`, the best recipe or control of a workload.
    """

    workloads: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    regions: tuple[float, float] | None = None
    against: str | None = None

    def of(self, workload: Workload) -> Workload:
        """The workload as it is to be shown; raises BadInput for a metric that nobody knows."""
        for metric in self.metrics:
            if metric not in METRICS:
                raise BadInput(str(UnknownName("metric", metric, METRICS)))
        made = replace(workload, metrics=self.metrics) if self.metrics else workload
        if self.regions is None:
            return made
        many, few = self.regions
        return replace(made, shots=Shares(many / 100, few / 100) if made.dense else Shots(int(many), int(few)))

    def anew(self, workload: Workload) -> bool:
        """Whether scores are made of predictions: records have those of the workload's metrics and regions."""
        return self.regions is not None or not set(self.metrics) <= set(workload.metrics)

    def kept(self, plans: Sequence[CellPlan]) -> list[CellPlan]:
        """The cells to show: those that were named, and the bases that they are compared with; raises BadInput."""
        for word, wanted, known in (
            ("workload", self.workloads, [plan.cell.workload for plan in plans]),
            ("recipe", self.recipes, [name for plan in plans for name in (plan.row, str(plan.cell.recipe))]),
        ):
            for name in wanted:
                if name not in known and not name.startswith(PREFIX):
                    raise BadInput(str(UnknownName(word, name, dict.fromkeys(known), "the report")))
        kept = [plan for plan in plans if not self.workloads or plan.cell.workload in self.workloads]
        if not self.recipes:
            return kept
        named = [plan for plan in kept if {plan.row, str(plan.cell.recipe)} & {*self.recipes, self.against}]
        bases = {(plan.cell.workload, plan.cell.recipe.objective) for plan in named if self.against is None}
        also = {id(plan) for plan in named}
        return [p for p in kept if id(p) in also or (p.cell.workload, str(p.cell.recipe)) in bases]


WHOLE: Final = Asked()


def thresholds(text: str) -> tuple[float, float]:
    """`50,10` as two thresholds; raises BadInput."""
    words = text.split(",")
    try:
        many, few = map(float, words)
    except ValueError:
        raise BadInput(f"regions are two numbers, MANY,FEW, such as 50,10: got {shown(text)}") from None
    if not many >= few > 0:
        raise BadInput(f"regions must have MANY >= FEW > 0, in training rows per bin: got {shown(text)}")
    return many, few

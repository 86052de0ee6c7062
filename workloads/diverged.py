"""What ends a trial that has lost its way: a number that is none."""

import math
from collections.abc import Mapping

from workloads.metrics import Score


class Diverged(Exception):
    """The training loss, a prediction or a score is not a finite number any more."""


def finite(scores: Mapping[str, Mapping[str, Score]], what: str) -> Mapping[str, Mapping[str, Score]]:
    """Scores by region and metric as they are; raises Diverged where one is not a finite number."""
    for region, metrics in scores.items():
        for name, score in metrics.items():
            if score.value is not None and not math.isfinite(score.value):
                raise Diverged(f"{name}/{region} became {score.value} {what}")
    return scores

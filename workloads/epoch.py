"""What an epoch of training gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.metrics import Score


@dataclass(frozen=True)
class Epoch:
    """What an epoch of training gave: mean training loss and validation scores by region and metric.

    The loss is on the scale on which labels are learnt (`LabelGrid`), scores are in label units. `val` is empty where
    no validation followed (`train.validate_every`).
    """

    epoch: int
    stage: int
    loss: float
    val: Mapping[str, Mapping[str, Score]]

    def score(self, name: str) -> float | None:
        """A validation score by its name, `val/mae/few`; None where it has none."""
        _, metric, region = name.split("/")
        return self.val[region][metric].value if self.val else None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Epoch":
        """The epoch that `asdict` made a row of."""
        return cls(**{**row, "val": {r: {n: Score(**s) for n, s in m.items()} for r, m in row["val"].items()}})

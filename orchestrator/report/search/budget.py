"""What a smaller budget would have found: the expected best score after b of the n trials of a search.

Any b of the n trials are equally likely, drawn without replacement. With v_(1), v_(2), … the scores from the best on,
the i-th is the best of b with C(n - i, b - 1) of the C(n, b) choices, so

    E[best of b] = Σ_i v_(i) C(n - i, b - 1) / C(n, b)

which is unbiased (Tang et al., ACL 2020, arXiv:2006.15598, section 3); drawing with replacement is not. Random search
draws its trials alike; TPE does so in its first, random ones only, and the published setting is always the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import gammaln

from orchestrator.report.scores import completed
from orchestrator.report.search.tried import best_of, tried
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.space import sign_of
from workloads.labels import Floats


@dataclass(frozen=True)
class BudgetCurve:
    """`best` `[n]`: the expected best validation score after 1 … n trials; `test`: the mean of the selected setting.

    The test score is known for the whole budget alone, since test is read for the selected setting only.
    """

    best: Floats
    test: float | None


def shares(n: int, b: int) -> Floats:
    """The chance, `[n]`, that the i-th best of n trials is the best of b drawn without replacement."""
    i = np.arange(1, n + 1)
    possible = n - i >= b - 1
    rest = np.where(possible, n - i, b - 1)

    def log_choose(top: Any, below: int) -> Any:
        return gammaln(top + 1) - gammaln(below + 1) - gammaln(top - below + 1)

    return np.where(possible, np.exp(log_choose(rest, b - 1) - log_choose(n, b)), 0.0)


def expected_best(scores: Sequence[float], sign: float = 1.0) -> Floats:
    """The expected best of b of these scores, `[n]` for b = 1 … n; `sign` is -1 where more is better."""
    ordered = np.sort(sign * np.asarray(scores, dtype=np.float64))
    return np.array([sign * float(shares(len(ordered), b) @ ordered) for b in range(1, len(ordered) + 1)])


def budget_curve(plan: CellPlan, rule: str) -> BudgetCurve | None:
    """That of a cell's search; None without completed trials."""
    found = tried(plan, rule)
    if best_of(found, rule) is None:
        return None
    name = f"test/{rule.partition('/')[2]}"
    tests = [value for record in completed(plan) if (value := record.score(name)) is not None]
    return BudgetCurve(
        expected_best([one.score for one in found], sign_of(rule)),
        float(np.mean(tests)) if tests else None,
    )

"""Recipes over several workloads: mean ranks with Friedman's test, and the probability of improvement.

With N workloads and k recipes, r_j is the mean rank of a recipe (1 is best, ties share theirs). Friedman's test asks
whether any two differ; two do when their mean ranks differ by more than Nemenyi's q √(k(k + 1) / 6N), with q the 95 %
point of the studentised range over √2 (Demšar, JMLR 7 (2006)). The probability that a run of X beats one of Y, averaged
over workloads, is

    P(X < Y) = 1/N Σ_w U_w / (S_X S_Y)        U: Mann-Whitney's, ties count half; of errors, less is better

with a bootstrap of runs within every workload (Agarwal et al., NeurIPS 2021, arXiv:2108.13264).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.report.comparisons import ALPHA
from orchestrator.report.escape import markdown_text
from orchestrator.report.formats import NOTHING, grid
from orchestrator.report.intervals import Interval
from workloads.labels import Floats

NEEDED: Final = 3
"""Workloads below which nothing is said: no general claim rests on two."""
DRAWS: Final = 2000
SEED: Final = 0
Runs = Mapping[str, Mapping[str, Sequence[float]]]
"""By workload and recipe: the error of every run, less is better."""


@dataclass(frozen=True)
class Across:
    """Recipes in the order of their mean ranks; `p` of Friedman's test and the critical difference from three on.

    `improvement` has the probability that a run of a recipe is better than one of `base`, for all recipes but the base.
    """

    workloads: tuple[str, ...]
    ranks: Mapping[str, float]
    p: float | None
    critical: float | None
    base: str | None
    improvement: Mapping[str, Interval]


def across(runs: Runs, base: str | None) -> Across | str:
    """What recipes that all workloads have are worth over all of them; a sentence where nothing can be said."""
    if len(runs) < NEEDED:
        return (
            f"Ranks and probabilities of improvement are told over at least {NEEDED} workloads: this report has "
            f"{len(runs)}."
        )
    from scipy.stats import friedmanchisquare, rankdata  # half a second to import, and most commands rank nothing

    first, *others = runs.values()
    recipes = [recipe for recipe in first if first[recipe] and all(other.get(recipe) for other in others)]
    if len(recipes) < 2:
        return "Ranks and probabilities of improvement need two recipes with results in every workload."
    means = np.array([[np.mean(by_recipe[recipe]) for recipe in recipes] for by_recipe in runs.values()])
    ranks = rankdata(means, axis=1).mean(axis=0)
    order = sorted(range(len(recipes)), key=lambda j: (ranks[j], j))
    p = float(friedmanchisquare(*means.T).pvalue) if len(recipes) >= NEEDED else None
    compared = [recipe for recipe in recipes if recipe != base] if base in recipes else []
    return Across(
        tuple(runs),
        {recipes[j]: float(ranks[j]) for j in order},
        None if p is None or np.isnan(p) else p,
        critical_difference(len(recipes), len(runs)) if p is not None else None,
        base if compared else None,
        {recipe: probability_of_improvement([(r[recipe], r[str(base)]) for r in runs.values()]) for recipe in compared},
    )


def critical_difference(recipes: int, workloads: int) -> float:
    """Nemenyi's: mean ranks that differ by more differ at the 5 % level."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - ALPHA, recipes, np.inf)) / 2**0.5
    return float(q * (recipes * (recipes + 1) / (6 * workloads)) ** 0.5)


def wins(ours: Sequence[float], theirs: Sequence[float]) -> Floats:
    """`[S, T]`: 1 where our run has the smaller error, ½ where both have the same."""
    x, y = np.asarray(ours)[:, None], np.asarray(theirs)[None, :]
    return np.asarray((x < y) + 0.5 * (x == y), dtype=np.float64)


def probability_of_improvement(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Interval:
    """Over workloads, each with our runs and theirs; the ends are percentiles of the bootstrap, with a fixed seed."""
    rng = np.random.default_rng(SEED)
    tables = [wins(*pair) for pair in pairs]
    draws = np.zeros(DRAWS)
    for table in tables:
        ours, theirs = (rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) / n for n in table.shape)
        draws += np.einsum("rs,st,rt->r", ours, table, theirs, optimize=True) / len(tables)
    low, high = np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2])
    return Interval(float(np.mean([table.mean() for table in tables])), float(low), float(high))


def across_markdown(found: Across | str) -> str:
    """Ranks and probabilities as a Markdown table, with how to read it; or why there are none."""
    if isinstance(found, str):
        return f"{found}\n"
    lines = []
    for recipe, rank in found.ranks.items():
        better = found.improvement.get(recipe)
        shown = NOTHING if better is None else f"{better.value:.2f} [{better.low:.2f}, {better.high:.2f}]"
        lines.append([markdown_text(recipe), f"{rank:.2f}", shown])
    against = f"Better than `{found.base}`" if found.base else "Better than the base"
    return (
        "\n".join(grid(["Recipe", "Mean rank", against], lines))
        + "\n\n"
        + "".join(f"- {line}\n" for line in across_explained(found))
    )


def across_explained(found: Across) -> list[str]:
    """How to read ranks and probabilities."""
    lines = [f"Over {len(found.workloads)} workloads, in the primary column of each; rank 1 is best."]
    if found.p is not None and found.critical is not None:
        lines.append(
            f"Friedman's test that all recipes are alike: p = {found.p:.3g}; two differ when their mean ranks do by "
            f"more than {found.critical:.2f} (Nemenyi, 5 %)."
        )
    if found.improvement:
        lines.append(
            "Better: the probability that a run has a smaller error than one of the base, averaged over workloads "
            "[95 %, bootstrap of runs within workloads]."
        )
    return lines

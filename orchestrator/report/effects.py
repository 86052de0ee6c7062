"""What each component of a factorial study contributes: main effects, pair interactions, and the error of tuning.

A study of every subset of k methods on one objective is a 2^k factorial. An effect is a contrast of the cells' errors,

    E_A = mean over cells with A - mean over cells without A
    E_AB = half of (what A does in presence of B - what A does in absence of B)

both with weights ±1 / 2^(k-1), so each has an interval over seeds and rows like any paired difference. Every cell was
tuned once, so a contrast also holds the luck of 2^k tunings, which is in no such interval. Interactions of three and
more methods estimate it: V_T is their mean square. With k ≤ 3 there are too few, and Lenth's pseudo standard error
takes their place (Technometrics 31 (1989) 469-473). An effect is reported when it clears both errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

import numpy as np
from scipy.special import stdtrit

from orchestrator.report.comparisons import ALPHA, Column, Scores
from orchestrator.report.intervals import Estimate, Interval, estimate
from orchestrator.report.stats import holm
from workloads.labels import Floats
from workloads.recipe import Recipe

ENOUGH: Final = 4
"""Methods from which on interactions of three and more are numerous enough to estimate the error of tuning."""
Cells = Mapping[frozenset[str], str]
"""The recipe of every subset of the methods."""


@dataclass(frozen=True)
class Effect:
    """One effect in one column: `parts` is a method, or a pair whose interaction it is.

    `tuning` is the half width of a 95 % interval of the error of tuning alone; `p` is adjusted for all effects of the
    column.
    """

    parts: tuple[str, ...]
    column: Column
    estimate: Estimate
    tuning: float
    p: float = 1.0

    @property
    def interval(self) -> Interval:
        """The 95 % interval over seeds and rows, without tuning."""
        return self.estimate.interval()

    @property
    def clear(self) -> bool:
        """Whether it clears both errors."""
        return self.p <= ALPHA and abs(self.estimate.value) > self.tuning

    @property
    def name(self) -> str:
        """`lds`, or `lds × fds`."""
        return " × ".join(self.parts)


def factorial(recipes: Sequence[str]) -> tuple[tuple[str, ...], Cells] | None:
    """The methods of which the recipes have every subset on one objective and plan, and its cells.

    The largest such set of at least two methods; None where there is none.
    """
    parsed = {recipe: Recipe.parse(recipe) for recipe in recipes}
    best: tuple[tuple[str, ...], Cells] | None = None
    for base in dict.fromkeys((r.objective, r.plan) for r in parsed.values()):
        cells = {frozenset(r.methods): name for name, r in parsed.items() if (r.objective, r.plan) == base}
        for methods in sorted(cells, key=len, reverse=True):
            subsets = [frozenset(s) for n in range(len(methods) + 1) for s in combinations(sorted(methods), n)]
            if len(methods) >= 2 and all(s in cells for s in subsets):
                if best is None or len(methods) > len(best[0]):
                    order = next(parsed[name].methods for name in [cells[methods]])
                    best = (tuple(order), {s: cells[s] for s in subsets})
                break
    return best


def _contrast(cells: Cells, parts: tuple[str, ...], tables: Mapping[str, Floats]) -> Floats:
    """`[S, U]`: the contrast of `parts`, by seed and unit."""
    scale = 2.0 ** (len(cells).bit_length() - 2)
    total = np.zeros_like(next(iter(tables.values())))
    for subset, recipe in cells.items():
        sign = (-1.0) ** sum(part not in subset for part in parts)
        total = total + sign * tables[recipe]
    return np.asarray(total / scale)


def lenth(effects: Sequence[float]) -> tuple[float, float]:
    """Lenth's pseudo standard error of effects of which most are zero, and its degrees of freedom, m / 3."""
    sizes = np.abs(effects)
    first = 1.5 * float(np.median(sizes))
    kept = sizes[sizes < 2.5 * first]
    return 1.5 * float(np.median(kept)) if len(kept) else 0.0, max(1.0, len(sizes) / 3)


def effects(scores: Scores, column: Column, methods: tuple[str, ...], cells: Cells) -> list[Effect]:
    """Main effects and pair interactions in one column, in the order of the methods; empty with fewer than two seeds.

    Of a metric that is a ratio, effects are differences of logarithms.
    """
    metric, region = column
    if region not in scores or metric not in scores[region].sums:
        return []
    view = scores[region]
    by_recipe = view.sums[metric]
    shared = sorted(set.intersection(*(set(by_recipe.get(recipe, {})) for recipe in cells.values())))
    if len(shared) < 2:
        return []
    tables = {r: np.stack([by_recipe[r][number] for number in shared]) for r in cells.values()}
    contrasts = {
        parts: _contrast(cells, parts, tables) for n in range(1, len(methods) + 1) for parts in combinations(methods, n)
    }
    total = float(view.units.rows.sum())
    values = {parts: float(c.sum(axis=1).mean() / total) for parts, c in contrasts.items()}
    high = [value for parts, value in values.items() if len(parts) > 2]
    if len(methods) >= ENOUGH:
        se, df = float(np.sqrt(np.mean(np.square(high)))), float(len(high))
    else:
        se, df = lenth(list(values.values()))
    tuning = float(stdtrit(df, 1 - ALPHA / 2)) * se
    found = []
    for parts, contrast in contrasts.items():
        made = estimate(contrast, view.units) if len(parts) <= 2 else None
        if made is not None:
            found.append(Effect(parts, column, made, tuning))
    return [replace(e, p=p) for e, p in zip(found, holm([e.estimate.p() for e in found]), strict=True)]


def simple_effects(
    scores: Scores, effect: Effect, methods: tuple[str, ...], cells: Cells
) -> list[tuple[str, Estimate]]:
    """What each method of a pair does without and with the other, for an interaction that is clear."""
    a, b = effect.parts
    found = []
    for part, other in ((a, b), (b, a)):
        for present in (False, True):
            kept = {s - {other}: recipe for s, recipe in cells.items() if (other in s) == present}
            rest = tuple(m for m in methods if m != other)
            word = f"{part} {'with' if present else 'without'} {other}"
            found += [(word, e.estimate) for e in effects(scores, effect.column, rest, kept) if e.parts == (part,)]
    return found


def share(scores: Scores, column: Column, base: str, part: str, whole: str) -> Interval | None:
    """The share of a recipe's gain that another one has: (base - part) / (base - whole), with its 95 % interval.

    The interval is Fieller's: all shares θ for which (base - part) - θ (base - whole) cannot be told from zero. None
    where the gain itself cannot be told from zero, since then every share is possible.
    """
    metric, region = column
    if region not in scores or metric not in scores[region].sums:
        return None
    view = scores[region]
    by_recipe = view.sums[metric]
    numbers = sorted(set.intersection(*(set(by_recipe.get(recipe, {})) for recipe in (base, part, whole))))
    if len(numbers) < 2:
        return None
    of = {r: np.stack([by_recipe[r][number] for number in numbers]) for r in (base, part, whole)}
    gain_part, gain_whole = of[base] - of[part], of[base] - of[whole]
    if (certain := estimate(gain_whole, view.units)) is None or certain.p() > ALPHA:
        return None
    middle = float(gain_part.sum() / gain_whole.sum())

    def outside(theta: float) -> bool:
        made = estimate(gain_part - theta * gain_whole, view.units)
        return made is not None and made.p() <= ALPHA

    ends = []
    for sign in (-1.0, 1.0):
        step = 0.01
        while not outside(middle + sign * step) and step < 100:
            step *= 2
        near, far = 0.0, step
        for _ in range(40):
            half = (near + far) / 2
            near, far = (near, half) if outside(middle + sign * half) else (half, far)
        ends.append(middle + sign * far)
    return Interval(middle, *ends)

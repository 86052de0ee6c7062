"""How often a table marks what is not there, and finds what is: made-up tables with the errors of a real one.

The errors are those of the quickstart (blood pressure, MAE in mmHg): sd of a recipe's difference to its base by seed,
by test row and left over, in three regions of 210, 140 and 123 rows. `rates` draws many tables in which every recipe
differs from the base by a given amount in every region, and puts them through the functions that make real tables.
"""

import sys
from dataclasses import dataclass

import numpy as np

from orchestrator.report.comparisons import Scores, View, against_base, best_set
from orchestrator.report.intervals import tail, units_of
from workloads.labels import REGIONS, Floats

ROWS = {"many": 210, "medium": 140, "few": 123}
PARTS = {"many": (1.6, 3.0, 2.0), "medium": (1.2, 4.0, 2.5), "few": (1.67, 6.85, 4.12)}
"""By region: sd by seed, by row and of the rest, of a recipe that re-weights."""
RECIPES = 16
PRIMARY = ("mae", "few")


@dataclass(frozen=True)
class Rates:
    """Shares of tables and of intervals, over many made-up tables."""

    marked: float
    """Tables with at least one mark."""
    coverage: dict[str, float]
    """By region: intervals that hold the true difference."""
    found: float
    """Recipes that are marked in the primary column."""
    best_kept: float
    """Tables whose set of best recipes in the primary column holds the truly best one."""


def draw(rng: np.random.Generator, seeds: int, effects: Floats, shared: bool) -> Scores:
    """A table of a base and 16 recipes; with `shared`, half of what a recipe does to seeds and rows all recipes do."""
    stratum = np.repeat([REGIONS.index(region) for region in ROWS], list(ROWS.values()))
    scale = {i: np.array([PARTS[region][i] for region in ROWS]) for i in range(3)}
    of_row = np.repeat(np.arange(len(ROWS)), list(ROWS.values()))

    def effect() -> Floats:
        by_seed = rng.normal(size=(seeds, 1)) * scale[0][of_row]
        by_row = rng.normal(size=len(of_row)) * scale[1][of_row]
        rest = rng.normal(size=(seeds, len(of_row))) * scale[2][of_row]
        return np.asarray(by_seed + by_row + rest)

    base = 20.0 + effect()
    common = effect() if shared else np.zeros_like(base)
    share = 0.5 if shared else 0.0
    made: dict[str, dict[int, Floats]] = {"base": dict(enumerate(base))}
    for i in range(RECIPES):
        own = np.sqrt(share) * common + np.sqrt(1 - share) * effect()
        made[f"r{i}"] = dict(enumerate(base + effects[i] + own))
    views: dict[str, View] = {}
    for region in ("all", *ROWS):
        here = np.flatnonzero((stratum == REGIONS.index(region)) if region in ROWS else np.ones_like(stratum))
        units, _ = units_of(stratum[here], None)
        views[region] = View(
            units, {"mae": {name: {s: r[here] for s, r in rows.items()} for name, rows in made.items()}}
        )
    return views


def rates(seeds: int, tables: int, effects: Floats | None = None, shared: bool = True, number: int = 0) -> Rates:
    """Draw `tables` tables and count."""
    rng = np.random.default_rng([number, seeds])
    truth = np.zeros(RECIPES) if effects is None else effects
    marked = found = kept = 0
    held = dict.fromkeys(("all", *ROWS), 0)
    bases = {f"r{i}": "base" for i in range(RECIPES)}
    for _ in range(tables):
        scores = draw(rng, seeds, truth, shared)
        made = against_base(scores, bases, PRIMARY, margin=0.0)
        marked += any(c.stars for c in made.values())
        found += sum(bool(made[f"r{i}", PRIMARY].stars) for i in range(RECIPES))
        for (recipe, (_, region)), comparison in made.items():
            e = comparison.estimate
            assert e is not None
            off = abs(e.value - truth[int(recipe[1:])])
            held[region] += tail(off, e.by_seed, e.by_row, e.seeds - 1) >= 0.05  # the interval holds it
        best = best_set(scores, PRIMARY, ["base", *bases])
        kept += ("base" if truth.min() >= 0 else f"r{int(truth.argmin())}") in best
    coverage = {region: n / tables / RECIPES for region, n in held.items()}
    return Rates(marked / tables, coverage, found / tables / RECIPES, kept / tables)


def main(tables: int = 400) -> list[tuple[str, str]]:
    """Rates for 3, 5 and 10 seeds, in tables without differences and with planted ones."""
    lines = []
    for seeds in (3, 5, 10):
        for shared in (True, False):
            null = rates(seeds, tables, shared=shared)
            word = "shared errors" if shared else "independent errors"
            lines.append(
                (
                    f"null tables, {seeds} seeds, {word}",
                    f"{null.marked:.1%} marked, coverage ≥ {min(null.coverage.values()):.1%}",
                )
            )
        planted = rates(seeds, tables // 4, np.full(RECIPES, -10.0))
        lines.append((f"gain of 10 of 20 mmHg, {seeds} seeds", f"found in {planted.found:.0%}"))
    return lines


if __name__ == "__main__":
    for name, value in main():
        sys.stdout.write(f"{name:46} {value}\n")

"""What each component of a study contributes, as the report tells it: effects, re-weighting alone, sources of error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.report.comparisons import ALPHA, Scores
from orchestrator.report.effects import Effect, effects, factorial, share, simple_effects
from orchestrator.report.formats import NOTHING, grid, title
from orchestrator.report.intervals import Estimate
from orchestrator.report.row_scores import PERCENT
from orchestrator.report.tables import TITLES, Table
from orchestrator.report.variance import typical

REWEIGHTING: Final = ("sqinv", "inv")
"""Methods that weigh by label frequency alone, without smoothing: the first that the study has is the yardstick."""
WORTH: Final = 0.02
"""Of the base's error: the gain whose price in seeds is reported."""


@dataclass(frozen=True)
class Contributions:
    """By region of the primary metric: the effects of a factorial; simple effects; sentences."""

    metric: str
    regions: tuple[str, ...]
    effects: dict[str, list[Effect]]
    simple: list[tuple[str, str, Estimate]]
    lines: list[str]
    decimals: int
    reweighting: tuple[str, ...] = ()
    """What re-weighting by label frequency alone explains: a sentence of the verdict."""

    @property
    def names(self) -> list[str]:
        """Effects in order, by name."""
        return [effect.name for effect in next(iter(self.effects.values()), [])]

    @property
    def explained(self) -> list[str]:
        """How to read the table of effects; nothing where there is none."""
        if not self.effects:
            return []
        points = " in percentage points" if self.metric in PERCENT else ""
        return [
            f"Effect on the test {TITLES.get(self.metric, self.metric)}{points}, averaged over the other methods [95 % "
            "interval over seeds and rows] ± error of tuning (from the interactions of "
            "three and more, or Lenth's). Bold: clears both, corrected for all effects of its column."
        ]

    def effect(self, name: str, region: str) -> Effect | None:
        """An effect by its name."""
        return next((effect for effect in self.effects.get(region, []) if effect.name == name), None)

    def cell(self, effect: Effect | None) -> str:
        """`-6.50 [-9.68, -3.46] ± 1.20`: an effect, its interval, the error of tuning."""
        if effect is None:
            return NOTHING
        return f"{value_of(effect.estimate, self.decimals)} ± {effect.tuning:.{self.decimals}f}"


def value_of(estimate: Estimate, digits: int) -> str:
    """`-6.50 [-9.68, -3.46]`."""
    interval = estimate.interval()
    return f"{interval.value:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"


def contributions(table: Table, scores: Scores) -> Contributions:
    """Effects of the study's largest factorial, what re-weighting alone explains, where the error comes from."""
    metric = table.primary[0]
    regions = tuple(region for m, region in table.columns if m == metric and region in scores)
    recipes = [row.recipe for row in table.recipes if not row.study]
    found: dict[str, list[Effect]] = {}
    simple: list[tuple[str, str, Estimate]] = []
    factors = factorial(recipes)
    if factors is not None:
        for region in regions:
            made = effects(scores, (metric, region), *factors)
            if made:
                found[region] = made
            for effect in made:
                if effect.clear and len(effect.parts) == 2 and region == table.primary[1]:
                    simple += [(region, word, e) for word, e in simple_effects(scores, effect, *factors)]
    digits = table.decimals(metric)
    alone = tuple(_alone(table, scores, recipes))
    return Contributions(metric, tuple(found), found, simple, _error_sources(table, scores, digits), digits, alone)


def _alone(table: Table, scores: Scores, recipes: Sequence[str]) -> list[str]:
    """The share of the leader's gain that re-weighting alone has."""
    column = table.primary
    if table.leader is None:
        return []
    leader = table.leader.recipe
    compared = table.comparisons.get((leader, column))
    base = None if compared is None else compared.base
    for method in REWEIGHTING:
        plain = f"{base} + {method}"
        if base is not None and plain in recipes and plain != leader:
            found = share(scores, column, base, plain, leader)
            if found is None:
                return [f"`{leader}` cannot be told from `{base}` in {title(column)}: there is no gain to explain."]
            return [
                f"`{plain}` alone has {100 * found.value:.0f} % [{100 * found.low:.0f}, {100 * found.high:.0f}] of the "
                f"gain of `{leader}` in {title(column)} (Fieller)."
            ]
    return []


def _error_sources(table: Table, scores: Scores, digits: int) -> list[str]:
    """Shares of the error of a typical comparison, and what a gain of 2 % would need."""
    column = table.primary
    ours = {row.recipe for row in table.recipes}
    compared = [made for made in table.comparisons.values() if made.recipe in ours]
    pairs = list(dict.fromkeys((made.recipe, made.base) for made in compared))
    found = typical(scores, column, pairs)
    if found is None:
        return []
    by_seed, by_row, rest = (100 * part for part in found.shares)
    among = found.detectable(ALPHA / max(1, len(pairs)))
    line = (
        f"Error of a typical change in {title(column)}, with {found.seeds} seeds and {found.rows} test rows: "
        f"{by_seed:.0f} % by seed, {by_row:.0f} % by test row, {rest:.0f} % of both together. It finds "
        f"{found.detectable(ALPHA):.{digits}f} with 80 % power, {among:.{digits}f} where {len(pairs)} comparisons are "
        "corrected for."
    )
    base = next((made.reference for (_, c), made in table.comparisons.items() if c == column), None)
    if base is None:
        return [line]
    size = WORTH * abs(base)
    seeds = found.seeds_for(size, ALPHA)
    need = f"{seeds} seeds" if seeds is not None else "more test rows: no number of seeds will do"
    return [f"{line} A gain of {100 * WORTH:.0f} % ({size:.{digits}f}) needs {need}."]


def contributions_markdown(found: Contributions) -> str:
    """Effects as a Markdown table, then simple effects and sentences; empty where there is nothing to say."""
    parts = []
    if found.effects:
        head = ["Effect", *(region.capitalize() for region in found.regions)]
        lines = [[name, *(_marked(found, name, region) for region in found.regions)] for name in found.names]
        parts.append("\n".join(grid(head, lines)) + "\n")
    notes = [*found.explained, *found.lines]
    notes += [f"{region.capitalize()}: {word} {value_of(e, found.decimals)}." for region, word, e in found.simple]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes) + "\n")
    return "\n".join(parts)


def _marked(found: Contributions, name: str, region: str) -> str:
    effect = found.effect(name, region)
    return f"**{found.cell(effect)}**" if effect is not None and effect.clear else found.cell(effect)

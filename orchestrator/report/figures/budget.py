"""What a smaller tuning budget would have found."""

from collections.abc import Mapping
from itertools import product
from typing import Final

from matplotlib.ticker import MaxNLocator

from orchestrator.report.escape import figure_text
from orchestrator.report.figures.drawing import BLUE, GREEN, INK, PURPLE, VERMILION, Drawing, lines, panels
from orchestrator.report.search.budget import BudgetCurve

STYLES: Final = tuple(product(("-", "--", ":", "-."), (BLUE, VERMILION, GREEN, PURPLE, INK)))
"""Lines that are told apart by colour and by dashes; more recipes than these have numbers only."""


def budget_curves(curves: Mapping[str, BudgetCurve], rule: str) -> Drawing:
    """The expected best validation score by the number of trials; beside it the test score of what was selected."""
    figure, (left, right) = panels(10.0, 4.2, 2)
    for number, (recipe, curve) in enumerate(curves.items(), start=1):
        dashes, colour = STYLES[(number - 1) % len(STYLES)]
        label = f"{number}  {figure_text(recipe)}"
        left.plot(range(1, len(curve.best) + 1), curve.best, marker=".", linestyle=dashes, color=colour, label=label)
        left.annotate(
            str(number), (len(curve.best), curve.best[-1]), xytext=(4, -3), textcoords="offset points", fontsize=8
        )
        if curve.test is not None:
            right.plot(curve.best[-1], curve.test, "o", color=colour)
            right.annotate(
                str(number), (float(curve.best[-1]), curve.test), xytext=(4, 3), textcoords="offset points", fontsize=8
            )
    left.set_xlabel("tuning trials")
    left.set_ylabel(f"expected best {rule}")
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.set_xlabel(f"best {rule} of the search")
    right.set_ylabel("test of the selected setting, mean of seeds")
    for axes in (left, right):
        lines(axes)
    right.legend(
        *left.get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=7, frameon=False
    )
    longest = max((len(curve.best) for curve in curves.values()), default=0)
    text = (
        f"For {len(curves)} recipes, the best validation score to expect of 1 to {longest} trials, and its test score."
    )
    return Drawing("budget", "Budget curves", text, figure)

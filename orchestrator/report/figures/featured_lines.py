"""How the featured rows look in every figure: by colour, by dash and by width."""

from typing import Any, Final

from orchestrator.report.escape import figure_text
from orchestrator.report.featured import Featured, Role
from orchestrator.report.figures.drawing import BLUE, INK, VERMILION

LOOKS: Final[dict[Role, dict[str, Any]]] = {
    "best": {"color": BLUE, "linewidth": 2.2, "zorder": 4},
    "also": {"color": BLUE, "linewidth": 0.8, "alpha": 0.55, "zorder": 2},
    "base": {"color": INK, "linewidth": 1.6, "linestyle": (0, (5, 2)), "zorder": 3},
    "control": {"color": VERMILION, "linewidth": 1.6, "linestyle": (0, (1, 1.2)), "zorder": 3},
}
WORDS: Final[dict[Role, str]] = {
    "best": "best mean: {}",
    "also": "not told apart from the best",
    "base": "base: {}",
    "control": "best {}",
}


def look(shown: Featured, first: bool = True) -> dict[str, Any]:
    """Keywords of a line; of lines that look alike only the `first` stands in the legend."""
    label = WORDS[shown.role].format(figure_text(shown.recipe))
    return {**LOOKS[shown.role], "label": label if first else "_", "gid": f"line-{shown.recipe}"}

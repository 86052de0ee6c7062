"""How the featured rows look in every figure: by colour, by dash and by width."""

from collections.abc import Sequence
from typing import Any, Final

from orchestrator.report.escape import figure_text
from orchestrator.report.featured import Featured, Role
from orchestrator.report.figures.drawing import BLUE, INK, VERMILION

LOOKS: Final[dict[Role, dict[str, Any]]] = {
    "best": {"color": BLUE, "linewidth": 2.2, "zorder": 4},
    "also": {"color": BLUE, "linewidth": 0.8, "alpha": 0.55, "zorder": 2},
    "base": {"color": INK, "linewidth": 1.6, "zorder": 3},
    "control": {"color": VERMILION, "linewidth": 1.6, "linestyle": (0, (1, 1.2)), "zorder": 3},
}
WORDS: Final[dict[Role, str]] = {
    "best": "best mean: {}",
    "also": "not told apart from the best",
    "base": "base: {}",
    "control": "best {}",
}


DASHES: Final = ((0, (5, 2)), (0, (8, 2, 2, 2)), (0, (2, 4)))
"""Of several bases."""


def looks(every: Sequence[Featured]) -> list[dict[str, Any]]:
    """Keywords of every row's line; of those that cannot be told from the best only the first is in the legend."""
    found: list[dict[str, Any]] = []
    roles: list[Role] = []
    for place, one in enumerate(every):
        line = {**LOOKS[one.role], "label": WORDS[one.role].format(figure_text(one.recipe)), "gid": f"line-{place}"}
        before = roles.count(one.role)
        if one.role == "also" and before:
            line["label"] = "_"
        if one.role == "base":
            line["linestyle"] = DASHES[before % len(DASHES)]
        found.append(line)
        roles.append(one.role)
    return found

"""The selected setting of every cell as YAML: its `space` and `train` go into a study file as they are."""

from collections.abc import Sequence
from typing import Any, Final

import yaml

from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.hyperparameters import declared
from workloads.hparams import Value

HEAD: Final = """\
# The selected setting of every cell, in full precision. Put the `space` and `train` of a cell into a study of its
# workload and recipe: nothing is left to search then, and the same seed trains the very same trial.
"""


def settings_in_full(plan: CellPlan) -> dict[str, Value] | None:
    """Every hyperparameter of the selected trial by its full name, those with their default included; None without."""
    if plan.selected is None:
        return None
    chosen = plan.selected.settings
    return {
        f"{part}.{name}": chosen.get(f"{part}.{name}", hparam.default)
        for part in (*plan.cell.recipe.parts, "train")
        for name, hparam in declared(part).items()
    }


def best_yaml(plans: Sequence[CellPlan], rule: str) -> str:
    """The document; a cell without a selected trial says why."""
    cells: dict[str, Any] = {}
    for plan in plans:
        found = settings_in_full(plan)
        if found is None or plan.chosen is None:
            cells[plan.cell.name] = {"missing": plan.missing() or "the search has not ended"}
            continue
        cells[plan.cell.name] = {
            "trial": plan.chosen.record.number,
            rule: plan.chosen.score,
            "space": {name: value for name, value in found.items() if not name.startswith("train.")},
            "train": {name.partition(".")[2]: v for name, v in found.items() if name.startswith("train.")},
        }
    return HEAD + yaml.safe_dump(cells, sort_keys=False, allow_unicode=True, width=120)

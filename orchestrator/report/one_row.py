"""A study of one row: the selected setting of a cell, fixed, so that nothing is left to search."""

from typing import Any

import yaml

from orchestrator.errors import BadInput
from orchestrator.report.search.best import settings_in_full
from orchestrator.study.cell_plan import CellPlan
from orchestrator.study.spec import PLACES, Study

HEAD = """\
# One row of the study {study}: {row}, with the setting that was selected.
# In the storage of that study all of its trials are there already; elsewhere the same seeds train the very same ones.
"""


def one_row(study: Study, plan: CellPlan, name: str) -> dict[str, Any]:
    """The study as a mapping, under a name of its own; raises BadInput where no setting was selected.

    Of a study that repeats its tuning it is a row's first replicate: the others have settings of their own.
    """
    found = settings_in_full(plan)
    if found is None:
        why = plan.missing() or "its search has not ended"
        raise BadInput(f"{plan.cell.name} must have a selected setting: {why}; tailsweep sweep goes on with it")
    tree = study.model_dump(mode="json", exclude={*PLACES, "recipes", "space", "train", "first"}, exclude_none=True)
    items = zip(
        tree["workloads"], (item if isinstance(item, str) else item.name for item in study.workloads), strict=True
    )
    return {
        **tree,
        "study": name,
        "workloads": [item for item, of in items if of == plan.cell.workload],
        "recipes": {"also": [str(plan.cell.recipe)]},
        "tune": {**tree["tune"], "trials": 1, "replicates": 1},
        "report": {**tree["report"], "names": {}},
        "space": {name: value for name, value in found.items() if not name.startswith("train.")},
        "train": {name.partition(".")[2]: value for name, value in found.items() if name.startswith("train.")},
        **({"plugins": list(study.plugins)} if study.plugins else {}),
    }


def one_row_yaml(study: Study, plan: CellPlan, name: str) -> str:
    """The same as a file."""
    tree = one_row(study, plan, name)
    return HEAD.format(study=study.study, row=plan.cell.name) + yaml.safe_dump(
        tree, sort_keys=False, allow_unicode=True, width=110
    )

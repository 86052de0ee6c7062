"""How a row is made again: the study's definition as a file, and the command that trains one recipe of it."""

import json
import re
import shlex
from typing import Any, Final

import yaml

from orchestrator.report.controls import PREFIX
from orchestrator.study.allowance import PER_AXIS, tries
from orchestrator.study.cells import Cell, sketch
from orchestrator.study.spec import PLACES, Study

PLAIN: Final = re.compile(r"(?!(null|true|false)$)[A-Za-z]([A-Za-z0-9_ /+.-]*[A-Za-z0-9_])?", re.IGNORECASE)
"""Text that no reader of YAML takes for anything else; the rest stands in quotes."""


class _Writer(yaml.SafeDumper):
    """Writes text that is read back as text by YAML 1.1 and 1.2."""


def _text(writer: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style=None if PLAIN.fullmatch(value) else '"')


_Writer.add_representer(str, _text)


def definition(study: Study) -> str:
    """The study as YAML: everything but where it runs and where its files lie."""
    tree = study.model_dump(mode="json", exclude=set(PLACES), exclude_none=True)
    return yaml.dump(tree, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def file_name(study: Study) -> str:
    """What the commands call the file of the definition."""
    return f"{study.study}.yaml"


def command(study: Study, cell: Cell, row: int) -> str:
    """The command that makes one row again from the file of the definition, under a name of its own.

    A storage knows a study by its name; trials that it has are used. What belongs to other recipes is left out.
    """
    tree = study.model_dump(mode="json", exclude_none=True)
    changes: dict[str, Any] = {"study": f"{study.study[:70]}-row-{row}", "recipes": {"also": [str(cell.recipe)]}}
    if len(study.names) > 1:
        items = zip(tree["workloads"], study.names, strict=True)
        changes["workloads"] = [item for item, name in items if name == cell.workload]
        others = set(study.names) - {cell.workload}
        changes["train"] = {name: value for name, value in tree["train"].items() if name not in others}
    named = {*cell.recipe.parts, "train"}
    for key in ("space", "first"):
        changes[key] = {name: value for name, value in tree[key].items() if name.partition(".")[0] in named}
    titles = tree["report"]["names"]
    kept = {name: title for name, title in titles.items() if name == str(cell.recipe) or name.startswith(PREFIX)}
    if kept != titles:
        changes["report.names"] = kept
    if study.tune.budget == PER_AXIS:  # in proportion to the other cells, which are left out
        changes["tune.trials"] = tries(study, sketch(study))[cell.name]
    words = [
        f"--set {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in changes.items() if value != tree.get(key)
    ]
    return " ".join(["tailsweep sweep", shlex.quote(file_name(study)), *words])

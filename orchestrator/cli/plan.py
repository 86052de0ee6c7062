"""tailsweep plan: cells, budgets and ranges of a study, before anything is trained."""

import argparse
import json
from typing import TYPE_CHECKING

from orchestrator.cli.console import say
from orchestrator.cli.guard import COMPLETE
from orchestrator.cli.study import study_of

if TYPE_CHECKING:
    from orchestrator.api import Outcome
    from orchestrator.study.spec import Study


def add_plan(command: argparse.ArgumentParser) -> None:
    """What `plan` takes beside the study."""
    command.add_argument("--json", action="store_true", help="machine-readable")
    command.add_argument(
        "--detect", metavar="SHARE", help="seeds and rows that a change of the base needs, such as 2%%"
    )


def plan(args: argparse.Namespace) -> int:
    """Cells, trials and ranges."""
    study = study_of(args)
    from orchestrator.api import outcome

    if args.detect is not None:
        return _detect(study, args.detect, args.json)
    state = outcome(study, write=False)
    if args.json:
        say(json.dumps(_tree(study, state), indent=1))
        return COMPLETE
    _say(study, state)
    say_notes(study)
    return COMPLETE


def _detect(study: "Study", asked: str, as_json: bool) -> int:
    """What a change of a share of the base needs."""
    from orchestrator.api import outcome
    from orchestrator.report.detection import detections, lines, share_of, tree_of

    share = share_of(asked)
    state = outcome(study, write=False)
    found = detections(study, state.planner, state.ledger, share)
    if as_json:
        command = f"tailsweep plan {study.study} --detect {asked} --json"
        say(json.dumps({"study": study.study, "command": command, "share": share, "detect": tree_of(found)}, indent=1))
        return COMPLETE
    for each in found:
        for line in lines(each, share):
            say(line)
    return COMPLETE


def _tree(study: "Study", state: "Outcome") -> dict[str, object]:
    """The plan for programs."""
    from orchestrator.report.budgets import spent
    from orchestrator.report.settings import ranges

    cells = [
        {
            "cell": p.cell.name,
            "workload": p.cell.workload,
            "recipe": str(p.cell.recipe),
            "fixed": dict(p.cell.fixed),
            "published": dict(p.cell.published),
            "search": [dict(zip(("name", "range", "first", "only"), axis, strict=True)) for axis in ranges(p.cell)],
            "settings": state.planner.tries(p.cell),
            "priority": state.planner.priorities[p.cell.name],
            "trials": state.planner.planned(p),
            "epochs": p.trials["tune"][0].epochs,
            "used": vars(spent([p])),
        }
        for p in state.planner.plans
    ]
    return {"study": study.study, "budget": state.planner.budget, "trials": state.planner.total, "cells": cells}


def _say(study: "Study", state: "Outcome") -> None:
    """The plan for people."""
    from orchestrator.report.budgets import budget, costs
    from orchestrator.report.settings import ranges
    from orchestrator.study import allowance
    from orchestrator.study.stopping import told

    plans = state.planner.plans
    say(
        f"{study.study}: {len(plans)} cells, {state.planner.total} trials, selected by {study.tune.select_by}; storage "
        f"{state.ledger.store.uri}"
    )
    say(f"{budget(study, state.planner, plans)}{f' {used}' if (used := costs(plans)) else ''}")
    for line in allowance.told(study, [p.cell for p in plans], state.planner.spending.rate):
        say(line)
    for line in told(study.tune, [p.cell for p in plans], [state.planner.tries(p.cell) for p in plans]):
        say(line)
    for p in state.planner.in_order:
        tries = f", {state.planner.tries(p.cell)} settings" if study.tune.budget == allowance.PER_AXIS else ""
        first = f", priority {priority:g}" if (priority := state.planner.priorities[p.cell.name]) else ""
        say(f"  {p.cell.name}{tries}{first}: {', '.join(axis.name for axis in p.cell.axes) or 'nothing to search'}")
        if p.cell.published:
            beside = ", ".join(f"{name} = {value}" for name, value in p.cell.published.items())
            say(f"    the first trial also has the paper's {beside}")
    shown: set[str] = set()
    for p in plans:
        for name, limits, first, only in ranges(p.cell):
            if name not in shown:
                shown.add(name)
                say(f"  {name:22} {limits:34} first {first}{f'  only if {only}' if only else ''}")


def say_notes(study: "Study") -> None:
    """What was made of the data that people may not expect."""
    from orchestrator.study.cells import notes

    for note in notes(study):
        say(f"note: {note}")

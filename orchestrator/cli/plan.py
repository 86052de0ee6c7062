"""tailsweep plan: cells, budgets and ranges of a study, before anything is trained."""

import argparse
import json
import math
import os
from typing import TYPE_CHECKING, Final

from orchestrator.cli.console import progress, say
from orchestrator.cli.guard import COMPLETE
from orchestrator.cli.study import cluster_of, study_of
from orchestrator.errors import shown

if TYPE_CHECKING:
    from clusters.profile import Profile
    from orchestrator.api import Outcome
    from orchestrator.report.forecast import Forecast
    from orchestrator.report.pace import Paces
    from orchestrator.study.spec import Study

PROBE_S: Final = 60.0
"""Of a probe of all recipes together."""


def add_plan(command: argparse.ArgumentParser) -> None:
    """What `plan` takes beside the study."""
    command.add_argument("--json", action="store_true", help="machine-readable")
    command.add_argument("--price", type=_price, metavar="P", help="of a device hour: 1.20 (budget.price_per_hour)")
    command.add_argument(
        "--probe",
        type=_seconds,
        nargs="?",
        const=PROBE_S,
        metavar="S",
        help=f"train an epoch or two of every recipe here, in at most S seconds ({PROBE_S:g}), to tell hours",
    )
    command.add_argument(
        "--detect", metavar="SHARE", help="seeds and rows that a change of the base needs, such as 2%%"
    )


def plan(args: argparse.Namespace) -> int:
    """Cells, trials, ranges, hours, money and disk of a study, before it is trained."""
    place = cluster_of(args, "local") if args.cluster else None
    study = study_of(args, place)
    from orchestrator.api import outcome

    if args.detect is not None:
        return _detect(study, args.detect, args.json)
    from orchestrator.report.forecast import forecast

    state = outcome(study, write=False)
    price = args.price if args.price is not None else _price_of(study, place)
    paces = _paces(study, state, args.probe)
    made = forecast(study, state.planner, state.ledger.store.uri, paces, _at_once(study), price)
    if args.json:
        say(made.model_dump_json(indent=1))
        return COMPLETE
    _say(study, state, made)
    say_notes(study)
    return COMPLETE


def _price(text: str) -> float:
    """A price; raises ArgumentTypeError."""
    return _number(text, "a price of a device hour", 0.0)


def _seconds(text: str) -> float:
    """A time; raises ArgumentTypeError."""
    return _number(text, "seconds of a probe", 1.0)


def _number(text: str, what: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{what} must be a number of at least {least:g}: got {shown(text)}")
    return value


def _price_of(study: "Study", place: "Profile | None") -> float | None:
    """The price of a device hour: the study's, or that of a machine of the cluster, shared by the trials on it."""
    from orchestrator.engine.capacity import fits

    options = {} if place is None else place.options
    price, cores, gpus = (options.get(name) for name in ("price_per_hour", "vcpus", "gpus"))
    if study.budget.price_per_hour is not None or not isinstance(price, int | float):
        return study.budget.price_per_hour
    there = {"CPU": cores, "GPU": gpus}
    node = {name: float(count) for name, count in there.items() if isinstance(count, int | float)}
    return float(price) / (max(1, fits(study.largest, node)) * study.largest.devices)


def _at_once(study: "Study") -> int:
    """Trials at once on this machine, unless the study bounds them."""
    import torch

    from orchestrator.engine.capacity import fits

    node = {"CPU": len(os.sched_getaffinity(0)), "GPU": torch.cuda.device_count()}
    return study.resources.concurrent or max(1, *(fits(study.resources.share(name), node) for name in study.names))


def _paces(study: "Study", state: "Outcome", probe_s: float | None) -> "Paces":
    """Seconds of an epoch as the ledger has them, and as a probe finds them where it has none."""
    from orchestrator.report.pace import Pace, measured

    known = measured(state.ledger)
    if probe_s is None:
        return known
    from orchestrator.engine.probe import probe

    first = {(p.cell.workload, str(p.cell.recipe)): p.trials["tune"][0] for p in state.planner.plans}
    asked = [trial for name, trial in first.items() if name not in known]
    found = probe(study, asked, probe_s, progress)
    return known | {name: Pace(seconds, "probe") for name, seconds in found.items()}


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


def _say(study: "Study", state: "Outcome", made: "Forecast") -> None:
    """The plan for people."""
    from orchestrator.report.budgets import budget, costs
    from orchestrator.report.expected import expected
    from orchestrator.report.settings import ranges_by_workload
    from orchestrator.study import allowance
    from orchestrator.study.stopping import told

    plans = state.planner.plans
    say(
        f"{study.study}: {len(plans)} cells, {state.planner.total} trials, selected by {study.tune.select_by}; storage "
        f"{state.ledger.store.uri}"
    )
    say(f"{budget(study, state.planner, plans)}{f' {used}' if (used := costs(plans)) else ''}")
    for line in allowance.told(study, [p.cell for p in plans], made.device_hours):
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
    for line in (*ranges_by_workload([p.cell for p in plans]), *expected(made)):
        say(line)


def say_notes(study: "Study") -> None:
    """What was made of the data that people may not expect."""
    from orchestrator.study.cells import notes

    for note in notes(study):
        say(f"note: {note}")

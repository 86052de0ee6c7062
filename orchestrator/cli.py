"""tailsweep plan | sweep | status | report | track: parse, call one function each.

Nothing heavy is imported before a command is known.
"""

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from orchestrator.cli_data import DATA_COMMANDS, add_actions

if TYPE_CHECKING:
    from orchestrator.api import Outcome
    from orchestrator.spec import Study

COMPLETE, BAD_INPUT, SOME_FAILED, STORAGE_FAILED, INTERRUPTED = 0, 2, 3, 4, 130


def _study(args: argparse.Namespace) -> "Study":
    from orchestrator.spec import Study

    short = {"storage": args.storage, "tune.trials": args.trials, "evaluate.seeds": args.seeds}
    given = [f"{name}={value}" for name, value in short.items() if value is not None]
    if args.plugin:
        given.append(f"plugins={json.dumps(args.plugin)}")
    return Study.load(args.study, [*args.set, *given])


def _say(text: str) -> None:
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def _code(outcome: "Outcome") -> int:
    return SOME_FAILED if outcome.failed else COMPLETE


def plan(args: argparse.Namespace) -> int:
    """Cells, trials and ranges."""
    study = _study(args)
    from orchestrator.api import outcome
    from orchestrator.outputs import ranges

    state = outcome(study)
    budget = state.planner.budget
    if args.json:
        cells = [
            {
                "cell": p.cell.name,
                "workload": p.cell.workload,
                "recipe": str(p.cell.recipe),
                "fixed": dict(p.cell.fixed),
                "search": [dict(zip(("name", "range", "first", "only"), axis, strict=True)) for axis in ranges(p.cell)],
            }
            for p in state.planner.plans
        ]
        _say(
            json.dumps(
                {"study": study.study, "budget": budget, "trials": state.planner.total, "cells": cells}, indent=1
            )
        )
        return COMPLETE
    _say(
        f"{study.study}: {len(state.planner.plans)} cells × ({budget['tune']} tuning trials + {budget['evaluate']} "
        f"seeds) = {state.planner.total} trials, selected by {study.tune.select_by}; storage {state.ledger.store.uri}"
    )
    shown: set[str] = set()
    for p in state.planner.plans:
        _say(f"  {p.cell.name}: {', '.join(axis.name for axis in p.cell.axes) or 'nothing to search'}")
    for p in state.planner.plans:
        for name, limits, first, only in ranges(p.cell):
            if name not in shown:
                shown.add(name)
                _say(f"  {name:22} {limits:34} first {first}{f'  only if {only}' if only else ''}")
    return COMPLETE


def sweep(args: argparse.Namespace) -> int:
    """Train what is missing, print and write the table."""
    study = _study(args)
    from clusters import profile
    from orchestrator.errors import BadInput
    from orchestrator.store import open_store

    try:
        cluster = profile(args.cluster or ("ray" if args.address else "local"), args.address)
        cluster.check()
    except ValueError as err:
        raise BadInput(str(err)) from None
    open_store(study.storage)

    from rich.console import Console

    from orchestrator.api import sweep as run

    console = Console()
    outcome = run(study, cluster, console, args.retry_failed, args.replace)
    _print_tables(outcome, console)
    return _code(outcome)


def _print_tables(outcome: "Outcome", console: Any) -> None:
    from orchestrator.terminal import show

    show(outcome, console)


def status(args: argparse.Namespace) -> int:
    """How far a study is, and what failed."""
    study = _study(args)
    from orchestrator.api import outcome

    state = outcome(study)
    planned = sum(state.planner.budget.values())
    for p in state.planner.plans:
        records = [*p.records("tune"), *p.records("evaluate")]
        done = sum(record.status != "failed" for record in records)
        chosen = f", best {study.tune.select_by} {p.selected.score(study.tune.select_by):.4g}" if p.selected else ""
        reason = f", {p.missing()}" if p.missing() else ""
        _say(f"{p.cell.name}: {done}/{planned}{chosen}{reason}")
    total = sum(len(p.records("tune")) + len(p.records("evaluate")) for p in state.planner.plans)
    _say(f"{total}/{state.planner.total} trials in the ledger, {state.failed} failed; storage {state.ledger.store.uri}")
    return COMPLETE if not state.failed else SOME_FAILED


def report(args: argparse.Namespace) -> int:
    """Tables and page again, from the ledger."""
    study = _study(args)
    from rich.console import Console

    from orchestrator.api import outcome
    from orchestrator.outputs import write_outputs

    state = outcome(study)
    write_outputs(study, state.planner, state.ledger)
    _print_tables(state, Console())
    return _code(state)


def track(args: argparse.Namespace) -> int:
    """Bring MLflow up to date with the ledger."""
    study = _study(args)
    from orchestrator.ledger import Ledger
    from orchestrator.tracking import follow, tracking_uri
    from orchestrator.tracking import track as project

    sent = (follow if args.follow else project)(study, Ledger(study.storage))
    _say(f"{sent} trials sent to {tracking_uri(study)}")
    return COMPLETE


def data(args: argparse.Namespace) -> int:
    """Data sets: list, check, fetch, preview, make-fixture."""
    return COMPLETE if DATA_COMMANDS[args.action](args) else BAD_INPUT


COMMANDS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "plan": plan,
    "sweep": sweep,
    "status": status,
    "report": report,
    "track": track,
    "data": data,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="tailsweep",
        description="Hyperparameter studies for learning from imbalanced targets.",
        epilog="exit codes: 0 complete; 2 bad input; 3 some trials failed; 4 the storage failed; 130 interrupted, "
        "and the same command continues",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, function in COMMANDS.items():
        doc = (function.__doc__ or "").strip()
        command = commands.add_parser(name, help=doc[0].lower() + doc[1:].rstrip("."), description=doc)
        if name == "data":
            add_actions(command)
            continue
        command.add_argument("study", nargs="?", default="quickstart", metavar="STUDY", help="a shipped name or a file")
        command.add_argument("--storage", metavar="DIR", help="folder for everything a study makes (default: results)")
        command.add_argument("--trials", type=int, metavar="N", help="tuning trials per cell")
        command.add_argument("--seeds", type=int, metavar="N", help="evaluation seeds per cell")
        command.add_argument("--set", action="append", default=[], metavar="A.B=C", help="override a key of the study")
        command.add_argument("--plugin", action="append", metavar="MODULE", help="a module with methods of its own")
        if name == "plan":
            command.add_argument("--json", action="store_true", help="machine-readable")
        if name == "sweep":
            command.add_argument("--address", metavar="HOST:PORT", help="a running Ray cluster, or auto")
            command.add_argument("--cluster", metavar="NAME", help="a cluster profile")
            command.add_argument("--retry-failed", action="store_true", help="train failed trials again")
            command.add_argument("--replace", action="store_true", help="give a study's name to another definition")
        if name == "track":
            command.add_argument("--follow", action="store_true", help="until standard input ends")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    gc.set_threshold(100_000, 50, 50)  # imports make a million objects that live on: fewer looks through them
    args = parser().parse_args(argv)
    from orchestrator.errors import BadInput, ClusterFailed, StorageFailed

    try:
        return COMMANDS[args.command](args)
    except BadInput as err:
        sys.stderr.write(f"tailsweep: {err}\n")
        return BAD_INPUT
    except StorageFailed as err:
        sys.stderr.write(f"tailsweep: the storage failed: {err}\n")
        return STORAGE_FAILED
    except ClusterFailed as err:
        sys.stderr.write(f"tailsweep: the cluster failed: {err}\n")
        return SOME_FAILED
    except KeyboardInterrupt:
        sys.stderr.write("tailsweep: interrupted; the same command continues\n")
        return INTERRUPTED


def entry() -> None:
    """The console script: leaves without tearing down libraries that take half a second to forget themselves."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `tailsweep plan | head` ends without a traceback
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    entry()

"""tailsweep report and compare: parse, call one function each."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.cli.console import say
from orchestrator.cli.guard import COMPLETE, SOME_FAILED
from orchestrator.cli.study import add_overrides, study_of
from orchestrator.errors import BadInput

if TYPE_CHECKING:
    from orchestrator.api import Outcome
    from orchestrator.report.asked import Asked
    from orchestrator.report.sections import Results

TERMINAL: Final = "terminal"
PRINTED: Final = (TERMINAL, "md", "csv", "json", "parquet", "tex", "html")
"""Beside the terminal, those of `orchestrator.report.outputs.FORMATS`, which is slow to import."""
SHOWN: Final = ("workload", "recipe", "metrics", "regions", "against")
"""Options that make it another report than that of the whole study, which is kept in the storage."""


def report(args: argparse.Namespace) -> int:
    """Tables and page again, from the ledger: of studies, or of a part of them."""
    from rich.console import Console

    from orchestrator.api import tidy
    from orchestrator.cli.terminal import show, written
    from orchestrator.report.outputs import keep, outputs

    asked = _asked(args)
    outcomes = _outcomes(args, args.study or ["quickstart"])
    code = COMPLETE if all(outcome.whole for outcome in outcomes) else SOME_FAILED
    first, console = outcomes[0], Console()
    if len(outcomes) > 1 or any(getattr(args, name) for name in SHOWN) or args.format != TERMINAL:
        from orchestrator.api import merged

        results, place, kept = merged(outcomes, asked), "", False
    else:
        results, place, kept = first.results, written(first), True
    files = outputs(results) if kept or args.out else {}
    if kept:
        keep(files, first.study.study, first.ledger.store)
        tidy(first.ledger, console)  # shards leave that to the report
    if args.out:
        place = _write(files, Path(args.out))
    if args.track:
        _track(args, outcomes)
    if args.format == TERMINAL:
        show(results, console, place)
    else:
        _print(results, args.format)
    return code


def compare(args: argparse.Namespace) -> int:
    """Two recipes, or controls, against each other in every column, with interval, p and verdict."""
    from rich.console import Console

    from orchestrator.api import merged
    from orchestrator.cli.terminal import show_comparison
    from orchestrator.report.asked import Asked

    outcomes = _outcomes(args, args.of or ["quickstart"])
    asked = Asked(tuple(args.workload), (args.a, args.b), _metrics(args), _regions(args), args.b)
    results = merged(outcomes, asked)
    for section in results.sections:
        for name in (args.a, args.b):
            rows = [row.recipe for row in section.table.rows]
            if name not in rows:
                raise BadInput(
                    f"no row {name!r} in the table of {section.table.workload}; there are: {', '.join(rows)}"
                )
    show_comparison(results, args.a, args.b, Console())
    return COMPLETE


def _metrics(args: argparse.Namespace) -> tuple[str, ...]:
    return tuple(name for name in (args.metrics or "").split(",") if name)


def _regions(args: argparse.Namespace) -> tuple[float, float] | None:
    from orchestrator.report.asked import thresholds

    return None if args.regions is None else thresholds(args.regions)


def _asked(args: argparse.Namespace) -> "Asked":
    from orchestrator.report.asked import Asked

    return Asked(tuple(args.workload), tuple(args.recipe), _metrics(args), _regions(args), args.against)


def _outcomes(args: argparse.Namespace, names: Sequence[str]) -> "list[Outcome]":
    """The studies with what their storages hold; raises BadInput where one holds nothing."""
    from orchestrator.api import outcome

    places = args.storage or [None]
    if len(places) not in {1, len(names)}:
        raise BadInput(f"--storage is given once, or once for each study: got {len(places)} for {len(names)} studies")
    found = []
    for number, name in enumerate(names):
        place = places[number % len(places)]
        study = study_of(argparse.Namespace(**{**vars(args), "study": name, "storage": place}))
        state = outcome(study, write=False)
        if not any(plan.records(phase) for plan in state.planner.plans for phase in ("tune", "evaluate")):
            raise BadInput(
                f"there must be something to report: {state.ledger.store.uri} holds no trial of study {study.study}; "
                "is it the storage of its sweep (--storage)?"
            )
        found.append(state)
    return found


def _write(files: Mapping[str, str | bytes], folder: Path) -> str:
    """Every file of a report into a folder; returns what was written, in words."""
    from orchestrator.report.outputs import encoded

    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(content))
    return f"{folder}/ {', '.join(name for name in files if not name.startswith('figures/'))}, figures/"


def _print(results: "Results", name: str) -> None:
    """A report in one format, to standard output; raises BadInput for bytes on a terminal."""
    from orchestrator.report.outputs import FORMATS

    content = FORMATS[name](results)
    if isinstance(content, str):
        say(content)
        return
    if sys.stdout.isatty():
        raise BadInput(
            f"--format {name} writes bytes, which are nothing for a terminal; redirect it to a file: > tidy.{name}"
        )
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _track(args: argparse.Namespace, outcomes: "Sequence[Outcome]") -> None:
    from orchestrator.tracking import track, tracker

    for outcome in outcomes:
        if outcome.study.tracking.enabled:
            sent = track(outcome.study, outcome.ledger)
            say(f"{sent} trials sent to {tracker(outcome.study).address(outcome.study)}")


def add_report(command: argparse.ArgumentParser) -> None:
    """The studies of a report, and what of them it shows."""
    command.add_argument("study", nargs="*", metavar="STUDY", help="shipped names or files; several become one report")
    _add_view(command)
    command.add_argument("--recipe", action="append", default=[], metavar="NAME", help="only this recipe; repeatable")
    command.add_argument("--against", metavar="ROW", help="compare with a recipe or control, or with best or control")
    command.add_argument("--format", choices=PRINTED, default=TERMINAL, help="print this and write nothing (terminal)")
    command.add_argument("--out", metavar="FOLDER", help="write the files of what is shown there")
    command.add_argument("--track", action="store_true", help="bring MLflow up to date as well")


def add_compare(command: argparse.ArgumentParser) -> None:
    """The two rows, and the studies that they are from."""
    command.add_argument("a", metavar="A", help="a recipe, or a control as `control: ridge`")
    command.add_argument("b", metavar="B", help="what it is compared with")
    command.add_argument("--of", action="append", metavar="STUDY", help="the study, or several of them (quickstart)")
    _add_view(command)


def _add_view(command: argparse.ArgumentParser) -> None:
    add_overrides(command, stores="append")
    command.add_argument("--workload", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    command.add_argument("--metrics", metavar="A,B", help="these metrics, computed from kept predictions where new")
    command.add_argument("--regions", metavar="MANY,FEW", help="shot regions with other thresholds, without training")

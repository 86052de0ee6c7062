"""tailsweep data list | check | fetch | preview | advise | make-fixture: parse, call one function each."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.cli.console import progress, say

if TYPE_CHECKING:
    from workloads.workload import Workload


def _asked(args: argparse.Namespace) -> "tuple[Workload, Path | None]":
    """The workload of the arguments and the data root on this machine."""
    from orchestrator.catalogue.data import declared, named
    from orchestrator.storage.data_roots import local_root, needed

    if args.study:
        return declared(args.name, args.study, args.root)
    workload = named(args.name)
    return workload, local_root(args.root, needed(workload))


def data_list(args: argparse.Namespace) -> bool:
    """Known data sets, which are at hand, their terms, and where to get them."""
    from orchestrator.catalogue.data import listing

    for found in listing(args.root):
        say(f"{found.name:20} {'at hand' if found.at_hand else '-':8} {found.title}")
        say(f"{'':29} {found.licence}; {found.where}")
    return True


def data_check(args: argparse.Namespace) -> bool:
    """Counts per split and region beside the expected ones, problems, what the test set is, rows in train and test."""
    from rich.console import Console

    from orchestrator.catalogue.data import check
    from orchestrator.engine.progress import preparing

    with preparing(Console(stderr=True)):
        workload, root = _asked(args)
        found = check(workload, root)
    for problem in found.problems:
        say(problem)
    if not found.problems:
        say(f"{args.name}, fingerprint {found.fingerprint}")
        whose = {"published": "published", "ours": "expected of our split"}[workload.counted]
        for name, count in found.counts.items():
            expected = found.expected.get(name)
            beside = "" if expected is None else f"  {whose} {expected}{'' if expected == count else '  DIFFERS'}"
            say(f"  {name:14} {count:8}{beside}")
        say(f"  test rows whose inputs are in train too: {found.duplicates}")
        for line in found.test_set:
            say(f"  {line}")
        for note in found.notes:
            say(f"  note: {note}")
    return found.passed


def data_fetch(args: argparse.Namespace) -> bool:
    """Fetch and unpack what may be redistributed; for the rest, the steps and the terms."""
    from orchestrator.catalogue.data import fetch, named
    from orchestrator.errors import BadInput
    from orchestrator.storage.store import remote

    if args.root is None or remote(args.root):
        raise BadInput(
            f"data are fetched into a folder: got {args.root or 'none'}; name one with --root or TAILSWEEP_DATA"
        )
    for path in fetch(named(args.name), Path(args.root), progress):
        say(str(path))
    return True


def data_preview(args: argparse.Namespace) -> bool:
    """Labels by shot region and pictures as a PNG, and some rows."""
    from rich.console import Console

    from orchestrator.catalogue.preview import preview
    from orchestrator.engine.progress import preparing

    target = Path(args.out or f"{args.name}.png")
    with preparing(Console(stderr=True)):
        workload, root = _asked(args)
        found = preview(workload, root, target)
    say("\n".join([*map(str, found), f"Written: {target}"]))
    return True


def data_advise(args: argparse.Namespace) -> bool:
    """Bins, window of LDS, shot thresholds and relevance that the labels suggest, with reasons and a picture."""
    from rich.console import Console

    from orchestrator.catalogue.advise import advice
    from orchestrator.engine.progress import preparing

    target = Path(args.out or f"{args.name}-advice.png")
    with preparing(Console(stderr=True)):
        workload, root = _asked(args)
        found = advice(workload, root, target)
    say("\n".join([*found, f"# Written: {target}"]))
    return True


def data_make_fixture(args: argparse.Namespace) -> bool:
    """Small made-up files in the official layout."""
    from orchestrator.catalogue.data import make_fixture, named

    make_fixture(named(args.name), args.dir)
    say(f"Written below {args.dir}; use it with TAILSWEEP_DATA={args.dir}")
    return True


DATA_COMMANDS: Final[dict[str, Callable[[argparse.Namespace], bool]]] = {
    "list": data_list,
    "check": data_check,
    "fetch": data_fetch,
    "preview": data_preview,
    "advise": data_advise,
    "make-fixture": data_make_fixture,
}


def add_actions(command: argparse.ArgumentParser) -> None:
    """Give the command its actions and their options."""
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    root = os.environ.get("TAILSWEEP_DATA")
    for name, function in DATA_COMMANDS.items():
        doc = (function.__doc__ or "").strip()
        action = actions.add_parser(name, help=doc[0].lower() + doc[1:].rstrip("."), description=doc)
        if name != "list":
            action.add_argument("name", metavar="NAME", help="a workload")
        if name == "make-fixture":
            action.add_argument("dir", type=Path, metavar="DIR", help="the data root to make")
            continue
        action.add_argument("--root", default=root, metavar="DIR", help="the data root (TAILSWEEP_DATA)")
        if name in {"check", "preview", "advise"}:
            action.add_argument("--study", metavar="FILE", help="a study that declares the data set NAME")
        if name == "preview":
            action.add_argument("--out", metavar="FILE", help="the PNG to write (default: NAME.png)")
        if name == "advise":
            action.add_argument("--out", metavar="FILE", help="PNG, SVG or PDF (default: NAME-advice.png)")
